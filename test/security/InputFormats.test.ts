import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as fc from "fast-check"
import { fieldErrors } from "../../src/http/FieldError.ts"
import { EmailAddress } from "../../src/security/EmailAddress.ts"
import { FileName } from "../../src/security/FileName.ts"
import * as HtmlText from "../../src/security/HtmlText.ts"
import * as MediaType from "../../src/security/MediaType.ts"
import * as OutboundUrl from "../../src/security/OutboundUrl.ts"
import { WebUrl } from "../../src/security/WebUrl.ts"

/** What a caller reads about the field, or the value that comes in. */
const said = (schema: Schema.Codec<string>, value: unknown): string => {
  const result = Schema.decodeUnknownResult(schema)(value)
  return Result.isSuccess(result) ? `ok: ${result.success}` : fieldErrors(result.failure.issue)[0]!.message
}

describe("an email address", () => {
  it.each([
    "name@example.com",
    "first.last+tag@mail.example.co.uk",
    "o'brien@example.com",
    "!#$%&'*+/=?^_`{|}~-@example.com",
    "UPPER@EXAMPLE.COM",
    "a@b.cd",
    "x@xn--bcher-kva.de",
    `${"l".repeat(64)}@example.com`,
  ])("%s is one", (text) => {
    assert.strictEqual(said(EmailAddress, text), `ok: ${text}`)
  })

  const form = "must be an email address such as name@example.com"
  const local = "must have only letters, digits, single dots and !#$%&'*+/=?^_`{|}~- before the @"
  const domain = "must have a domain such as example.com after the @"
  it.each([
    ["", form],
    ["name", form],
    ["@example.com", form],
    ["a b@example.com", local],
    [".a@example.com", local],
    ["a.@example.com", local],
    ["a..b@example.com", local],
    ["a@b@example.com", local],
    ['"a b"@example.com', local],
    ["Name <name@example.com>", local],
    ["name@example.com\nbcc: all@example.com", local],
    ["name@example.com\n", domain],
    ["n\u00e4me@example.com", local],
    ["name@", domain],
    ["name@localhost", domain],
    ["name@example.com.", domain],
    ["name@example..com", domain],
    ["name@-example.com", domain],
    ["name@exa_mple.com", domain],
    ["name@127.0.0.1", domain],
    ["name@[127.0.0.1]", domain],
    ["name@b\u00fccher.de", domain],
    [`${"l".repeat(65)}@example.com`, "must have at most 64 characters before the @"],
    [`name@${"a.".repeat(130)}com`, "must have at most 254 characters"],
  ])("%j: %s", (text, message) => {
    assert.strictEqual(said(EmailAddress, text), message)
  })

  it("is decided in no time, however long the text", () => {
    assert.strictEqual(said(EmailAddress, `${"a.".repeat(5_000_000)}@`), "must have at most 254 characters")
  })
})

describe("a URL of the web", () => {
  const form =
    "must be a URL such as https://example.com/path, without spaces, control characters or backslashes"
  it.each([
    ["https://example.com", "ok: https://example.com"],
    ["http://localhost:3000/a?b#c", "ok: http://localhost:3000/a?b#c"],
    ["https://b\u00fccher.de/\u00e4", "ok: https://b\u00fccher.de/\u00e4"],
    ["", form],
    ["example.com", form],
    ["//example.com", form],
    ["https:example.com", form],
    ["https://", form],
    ["https://exa mple.com", form],
    ["java\nscript://example.com", form],
    ["https://example.com\\@evil.com", form],
    ["javascript:alert(1)", form],
    ["javascript://example.com/%0aalert(1)", "must start with https:// or http://"],
    ["ftp://example.com", "must start with https:// or http://"],
    ["https://user:pass@example.com", "must not carry a user name or password"],
    ["https://%65xample.com", "must not have percent signs in its host"],
    [`https://example.com/${"a".repeat(2_029)}`, "must have at most 2048 characters"],
  ])("%j: %s", (text, message) => {
    assert.strictEqual(said(WebUrl, text), message)
  })

  it("that is to be requested says what the rules want", () => {
    const schema = OutboundUrl.schema(OutboundUrl.rules())
    assert.strictEqual(said(schema, "https://example.com/"), "ok: https://example.com/")
    assert.strictEqual(said(schema, "http://example.com/"), "must start with https://")
    assert.strictEqual(said(schema, "ftp://example.com/"), "must start with https://")
    assert.strictEqual(said(schema, "https://example.com:22/"), "must be at port 443")
    assert.strictEqual(said(schema, "https://localhost/"), "must have a public name for its host")
    assert.strictEqual(said(schema, "https://0x7f.1/"), "must not be at a special address (loopback)")
  })
})

describe("a file name", () => {
  it.each([
    "video.mp4",
    "My holiday (1).mov",
    ".gitignore",
    "\u5199\u771f.png",
    "\u{1f469}\u200d\u{1f680}.gif",
    "console.log",
    "com10.txt",
    "a..b",
    "x".repeat(255),
  ])("%s is one", (name) => {
    assert.strictEqual(said(FileName, name), `ok: ${name}`)
  })

  const control = "must not have control characters"
  const punctuation = 'must not have any of / \\ < > : " | ? *'
  const edges = "must not begin with a space, or end with a space or a dot"
  const device = "must not be the name of a device"
  it.each([
    ["", "must not be empty"],
    [".", "must not be the name of a folder"],
    ["..", "must not be the name of a folder"],
    ["../../etc/passwd", punctuation],
    ["/etc/passwd", punctuation],
    ["a\\b", punctuation],
    ["C:autoexec.bat", punctuation],
    ["file.txt:stream", punctuation],
    ["what?.txt", punctuation],
    ["a\u0000.png", control],
    ["a\r\nSet-Cookie: x", control],
    ["a\u0085b", control],
    ["invoice\u202egpj.exe", control],
    ["a\u2028b", control],
    [" a", edges],
    ["a ", edges],
    ["a.", edges],
    ["\u00a0a", edges],
    ["CON", device],
    ["nul.txt", device],
    ["Com1.tar.gz", device],
    ["lpt\u00b9", device],
    ["aux .txt", device],
    ["\ud800.txt", "must be well-formed Unicode"],
    ["x".repeat(256), "must have at most 255 bytes in UTF-8"],
    ["\u00e4".repeat(128), "must have at most 255 bytes in UTF-8"],
  ])("%j: %s", (name, message) => {
    assert.strictEqual(said(FileName, name), message)
  })

  it("is the same name in composed and in decomposed form, and is measured in the composed one", () => {
    assert.strictEqual(said(FileName, "a\u0308.txt"), "ok: \u00e4.txt")
    assert.strictEqual(said(FileName, "a\u0308".repeat(127)), `ok: ${"\u00e4".repeat(127)}`)
  })

  it("stays in its folder, whatever the text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const result = Schema.decodeUnknownResult(FileName)(text)
        if (Result.isFailure(result)) return
        const resolved = new URL(encodeURIComponent(result.success), "file:///folder/")
        assert.strictEqual(decodeURIComponent(resolved.pathname), `/folder/${result.success}`)
        assert.isAtMost(Buffer.byteLength(result.success), 255)
        assert.strictEqual(said(FileName, result.success), `ok: ${result.success}`)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe("a content type", () => {
  const parsed = (text: string) => {
    const found = MediaType.parse(text)
    return found && { ...found, parameters: Object.fromEntries(found.parameters) }
  }

  it.each([
    ["text/html", "text", "html", {}],
    ["Text/HTML;Charset=UTF-8", "text", "html", { charset: "UTF-8" }],
    ['text/html; charset="utf-8"', "text", "html", { charset: "utf-8" }],
    [
      "application/vnd.api+json;\tprofile=x ; ext=y",
      "application",
      "vnd.api+json",
      { profile: "x", ext: "y" },
    ],
    ['multipart/form-data; boundary="a \\"b\\";c"', "multipart", "form-data", { boundary: 'a "b";c' }],
    ["text/plain;", "text", "plain", {}],
    ["text/plain;;charset=a", "text", "plain", { charset: "a" }],
    ['text/plain; x=""', "text", "plain", { x: "" }],
  ])("%j has parts", (text, type, subtype, parameters) => {
    assert.deepStrictEqual(parsed(text), { type, subtype, parameters })
    assert.strictEqual(said(MediaType.MediaType, text), `ok: ${text}`)
  })

  it.each([
    "",
    "text",
    "text/",
    "/html",
    "text/html/x",
    "text /html",
    " text/html",
    "text/html ",
    "text/html, text/plain",
    "text/html charset=utf-8",
    "text/html; charset",
    "text/html; charset=",
    "text/html; charset =utf-8",
    "text/html; charset=utf-8; Charset=utf-7",
    'text/html; x="open',
    'text/html; x="a"b',
    "text/html\r\nx: y",
    "t\u00e4xt/html",
    `text/html${"; a=b".repeat(60)}`,
    `text/html; ${Array.from({ length: 17 }, (_, i) => `p${i}=x`).join(";")}`,
    `text/${"x".repeat(128)}`,
  ])("%j is none", (text) => {
    assert.isUndefined(parsed(text))
    assert.include(said(MediaType.MediaType, text), "must be a content type such as text/html; charset=utf-8")
  })

  it("keeps any value that quotes can hold", () => {
    const value = fc.string({
      unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
      maxLength: 50,
    })
    fc.assert(
      fc.property(value, (value) => {
        const quoted = `"${value.replace(/["\\]/g, "\\$&")}"`
        assert.deepStrictEqual(parsed(`a/b; c=${quoted}`)?.parameters, { c: value })
      }),
    )
  })
})

describe("text in HTML", () => {
  it("is shown as it is, in elements and in attributes", () => {
    assert.strictEqual(
      HtmlText.escape(`<img src=x onerror='alert("1")'> & &amp;`),
      "&lt;img src=x onerror=&#39;alert(&quot;1&quot;)&#39;&gt; &amp; &amp;amp;",
    )
  })

  it("opens nothing and closes nothing, and can be read back", () => {
    const entities: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'" }
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."&<>\"';ampltgquo#39 x") }), (text) => {
        const escaped = HtmlText.escape(text)
        assert.notMatch(escaped, /[<>"']/)
        assert.strictEqual(
          escaped.replace(/&([^;]+);/g, (_, name: string) => entities[name]!),
          text,
        )
      }),
    )
  })
})
