import { assert, describe, it } from "@effect/vitest"
import { Headers } from "effect/http"
import { TrustedProxies } from "../../src/http/TrustedProxies.ts"

const proxies = new TrustedProxies(["10.0.0.0/8", "2001:db8:ffff::/48"])
const clientOf = (peer: string | undefined, headers: Record<string, string>) =>
  proxies.clientOf(peer, Headers.fromInput(headers))

describe("the client behind proxies", () => {
  for (const [name, peer, headers, client] of [
    ["nobody but a proxy is believed", "192.0.2.1", { "x-forwarded-for": "198.51.100.1" }, undefined],
    [
      "a connection without an address is nobody",
      undefined,
      { "x-forwarded-for": "198.51.100.1" },
      undefined,
    ],
    ["a proxy that says nothing is the client", "10.0.0.1", {}, undefined],
    ["a proxy says who asked it", "10.0.0.1", { "x-forwarded-for": "198.51.100.1" }, "198.51.100.1"],
    ["also over IPv6, mapped", "::ffff:10.0.0.1", { "x-forwarded-for": "198.51.100.1" }, "198.51.100.1"],
    [
      "what the client says itself stands before, and is not believed",
      "10.0.0.1",
      { "x-forwarded-for": "10.0.0.9, 203.0.113.9, 198.51.100.1" },
      "198.51.100.1",
    ],
    [
      "proxies in a row are passed over",
      "10.0.0.1",
      { "x-forwarded-for": "203.0.113.9, 198.51.100.1, 10.2.2.2 ,10.3.3.3" },
      "198.51.100.1",
    ],
    [
      "where all are proxies, the first asked",
      "10.0.0.1",
      { "x-forwarded-for": "10.1.1.1, 10.2.2.2" },
      "10.1.1.1",
    ],
    ["with a port", "10.0.0.1", { "x-forwarded-for": "198.51.100.1:4711" }, "198.51.100.1"],
    ["IPv6 with brackets and port", "10.0.0.1", { "x-forwarded-for": "[2001:db8::1]:4711" }, "2001:db8::1"],
    ["in its one spelling", "10.0.0.1", { "x-forwarded-for": "2001:DB8:0:0::1" }, "2001:db8::1"],
    ["mapped", "10.0.0.1", { "x-forwarded-for": "::ffff:198.51.100.1" }, "198.51.100.1"],
    [
      "what is no address hides what is before it",
      "10.0.0.1",
      { "x-forwarded-for": "198.51.100.1, unknown" },
      undefined,
    ],
    [
      "behind it, the last proxy that is known stands for it",
      "10.0.0.1",
      { "x-forwarded-for": "198.51.100.1, unknown, 10.2.2.2" },
      "10.2.2.2",
    ],
    ["an empty header", "10.0.0.1", { "x-forwarded-for": "" }, undefined],
    ["Forwarded", "10.0.0.1", { forwarded: "for=198.51.100.1;proto=https;by=10.0.0.1" }, "198.51.100.1"],
    ["Forwarded, quoted", "10.0.0.1", { forwarded: 'proto=https; For="[2001:db8::1]:4711"' }, "2001:db8::1"],
    [
      "Forwarded through several",
      "2001:db8:ffff::1",
      { forwarded: "for=203.0.113.9, for=198.51.100.1, for=10.2.2.2" },
      "198.51.100.1",
    ],
    [
      "Forwarded with an obfuscated name",
      "10.0.0.1",
      { forwarded: "for=198.51.100.1, for=_hidden" },
      undefined,
    ],
    ["Forwarded without for", "10.0.0.1", { forwarded: "proto=https" }, undefined],
    [
      "both that agree",
      "10.0.0.1",
      { "x-forwarded-for": "203.0.113.9, 198.51.100.1", forwarded: "for=198.51.100.1" },
      "198.51.100.1",
    ],
    [
      "both that disagree: one of them is the client's own",
      "10.0.0.1",
      { "x-forwarded-for": "198.51.100.1", forwarded: "for=203.0.113.9" },
      undefined,
    ],
  ] as const)
    it(`${name}`, () => {
      assert.strictEqual(clientOf(peer, headers), client)
    })

  it("reads no more of a list than it has to", () => {
    const many = Array.from({ length: 100 }, () => "10.1.1.1").join(",")
    assert.strictEqual(clientOf("10.0.0.1", { "x-forwarded-for": `198.51.100.1,${many}` }), "10.1.1.1")
  })
})
