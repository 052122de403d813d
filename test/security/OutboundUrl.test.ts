import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import * as OutboundUrl from "../../src/security/OutboundUrl.ts"

/** Plain http too, so that it is the host that is refused and not the scheme. */
const HTTP = OutboundUrl.rules({ http: true })
const HTTPS = OutboundUrl.rules()
const refusalOf = (url: string, rules = HTTP): string => {
  const result = OutboundUrl.parse(url, rules)
  return Result.isFailure(result) ? result.failure.refusal : `let through as ${result.success.url.href}`
}

describe("a hostile URL", () => {
  it.each([
    // loopback, in every literal form
    ["http://127.0.0.1/", "address"],
    ["http://127.1/", "address"],
    ["http://127.0.1/", "address"],
    ["http://127.255.255.254/", "address"],
    ["http://2130706433/", "address"],
    ["http://0x7f000001/", "address"],
    ["http://0x7f.1/", "address"],
    ["http://0x7F.0x0.0x0.0x1/", "address"],
    ["http://017700000001/", "address"],
    ["http://0177.0.0.1/", "address"],
    ["http://0177.0.0.0x1/", "address"],
    ["http://00000177.0.0.01/", "address"],
    ["http://127.0.0.1./", "address"],
    ["http://①②⑦.⓪.⓪.①/", "address"],
    ["http://127。0。0。1/", "address"],
    ["http://１２７.0.0.1/", "address"],
    ["http://[::1]/", "address"],
    ["http://[0:0:0:0:0:0:0:1]/", "address"],
    ["http://[0000:0000:0000:0000:0000:0000:0000:0001]/", "address"],
    ["http://[::ffff:127.0.0.1]/", "address"],
    ["http://[::ffff:7f00:1]/", "address"],
    ["http://[0:0:0:0:0:FFFF:7F00:0001]/", "address"],
    ["http://[::127.0.0.1]/", "address"],
    ["http://[::ffff:0:127.0.0.1]/", "address"],
    ["http://[64:ff9b::127.0.0.1]/", "address"],
    ["http://[64:ff9b:1::7f00:1]/", "address"],
    ["http://[2002:7f00:1::]/", "address"],
    ["http://[2001:0:808:808::80ff:fffe]/", "address"],
    ["http://[2606:4700::5efe:127.0.0.1]/", "address"],
    // the unspecified address, which Linux takes for loopback
    ["http://0.0.0.0/", "address"],
    ["http://0/", "address"],
    ["http://0x0/", "address"],
    ["http://[::]/", "address"],
    ["http://[::ffff:0.0.0.0]/", "address"],
    // private, link-local and metadata
    ["http://10.0.0.1/", "address"],
    ["http://167772161/", "address"],
    ["http://172.16.0.1/", "address"],
    ["http://172.31.255.255/", "address"],
    ["http://192.168.0.1/", "address"],
    ["http://100.64.0.1/", "address"],
    ["http://100.100.100.200/latest/meta-data/", "address"],
    ["http://169.254.169.254/latest/meta-data/", "address"],
    ["http://2852039166/latest/meta-data/", "address"],
    ["http://0xa9fea9fe/", "address"],
    ["http://[::ffff:169.254.169.254]/", "address"],
    ["http://[fd00:ec2::254]/", "address"],
    ["http://[fe80::1]/", "address"],
    ["http://[fec0::1]/", "address"],
    ["http://168.63.129.16/", "address"],
    ["http://192.0.0.192/", "address"],
    ["http://198.18.0.1/", "address"],
    ["http://224.0.0.1/", "address"],
    ["http://255.255.255.255/", "address"],
    ["http://[ff02::1]/", "address"],
    ["http://[4000::1]/", "address"],
    // names of the inside
    ["http://localhost/", "host"],
    ["http://LOCALHOST/", "host"],
    ["http://localhost./", "host"],
    ["http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "host"],
    ["http://anything.localhost/", "host"],
    ["http://localhost.localdomain/", "host"],
    ["http://printer.local/", "host"],
    ["http://metadata.google.internal/computeMetadata/v1/", "host"],
    ["http://metadata.google.internal./", "host"],
    ["http://kubernetes.default.svc.cluster.local/", "host"],
    ["http://host.docker.internal/", "host"],
    ["http://router.home.arpa/", "host"],
    ["http://1.0.0.127.in-addr.arpa/", "host"],
    ["http://intranet/", "host"],
    ["http://metadata/", "host"],
    ["http://facebookwkhpilnemxj7asaniu7vnjjbiltxjqhye3mhbshg7kx5tfyd.onion/", "host"],
    // hosts that are none, or not what they seem
    ["http://%31%32%37.0.0.1/", "host"],
    ["http://%6cocalhost/", "host"],
    ["http://a..example.com/", "host"],
    ["http://example.com../", "host"],
    ["http://localhost../", "host"],
    ["http://-example.com/", "host"],
    ["http://exa$mple.com/", "host"],
    ["http://./", "host"],
    ["http://127.0.0.1.1/", "malformed"],
    ["http://256.256.256.256/", "malformed"],
    ["http://example.0x7f/", "malformed"],
    ["http://[::1%25eth0]/", "host"],
    ["http://[::1/", "malformed"],
    ["http://1.2.3.4\u0000.example.com/", "malformed"],
    ["http://exa\tmple.com/", "malformed"],
    ["http://example.com\r\nHost: localhost/", "malformed"],
    [" http://example.com/", "malformed"],
    ["http:\\\\127.0.0.1\\", "malformed"],
    ["http://127.0.0.1:80\\@example.com/", "malformed"],
    // user names, the oldest trick
    ["http://example.com@127.0.0.1/", "credentials"],
    ["http://127.0.0.1@example.com/", "credentials"],
    ["http://user:password@example.com/", "credentials"],
    ["http://@example.com/", "credentials"],
    ["http://:@example.com/", "credentials"],
    ["http://example.com:80@127.0.0.1/", "credentials"],
    // ports and schemes
    ["http://example.com:22/", "port"],
    ["http://example.com:6379/", "port"],
    ["http://example.com:0/", "port"],
    ["https://example.com:9200/", "port"],
    ["http://example.com:65536/", "malformed"],
    ["file:///etc/passwd", "malformed"],
    ["file://example.com/etc/passwd", "scheme"],
    ["ftp://example.com/", "scheme"],
    ["gopher://example.com:70/_", "scheme"],
    ["ws://example.com/", "scheme"],
    ["dict://example.com:11211/stat", "scheme"],
    ["unix://example.com/var/run/docker.sock", "scheme"],
    ["data:text/plain,hello", "malformed"],
    ["javascript:alert(1)", "malformed"],
    ["//example.com/", "malformed"],
    ["/path", "malformed"],
    ["example.com", "malformed"],
    ["http:/example.com/", "malformed"],
    ["http:example.com", "malformed"],
    ["http:///example.com/", "malformed"],
    ["", "malformed"],
    [`https://example.com/${"x".repeat(2_048)}`, "too_long"],
  ])("%j is refused", (url, refusal) => {
    assert.strictEqual(refusalOf(url), refusal)
  })

  it("is refused for any text at all, or comes out as an https URL of a public host", () => {
    const texts = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.webUrl(),
      fc
        .tuple(fc.string(), fc.string(), fc.string())
        .map(([a, b, c]) => `https://${a}.${b}${c.startsWith(":") ? "" : "/"}${c}`),
    )
    fc.assert(
      fc.property(texts, (text) => {
        const result = OutboundUrl.parse(text, HTTPS)
        if (Result.isFailure(result)) return
        const { host, port, url } = result.success
        assert.strictEqual(url.protocol, "https:")
        assert.strictEqual(port, 443)
        assert.strictEqual(url.username + url.password + url.hash, "")
        if (typeof host === "string") assert.match(host, /^[a-z0-9_-]+(\.[a-z0-9_-]+)+$/)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe("a good URL", () => {
  it.each([
    ["https://example.com", "https://example.com/"],
    ["https://example.com/a/b?c=d%20e&f=@#fragment", "https://example.com/a/b?c=d%20e&f=@"],
    ["HTTPS://EXAMPLE.COM:443/Path", "https://example.com/Path"],
    ["https://example.com./path", "https://example.com/path"],
    ["http://example.com:80/", "http://example.com/"],
    ["https://hooks.bücher.de/", "https://hooks.xn--bcher-kva.de/"],
    ["https://例え.jp/パス", "https://xn--r8jz45g.jp/%E3%83%91%E3%82%B9"],
    ["https://127.0.0.1.nip.io/", "https://127.0.0.1.nip.io/"],
    ["https://internal.example.com/", "https://internal.example.com/"],
    ["https://localhost.com/", "https://localhost.com/"],
    ["https://_dmarc.example.com/", "https://_dmarc.example.com/"],
    ["https://8.8.8.8/", "https://8.8.8.8/"],
    ["https://[2606:4700:4700::1111]/", "https://[2606:4700:4700::1111]/"],
  ])("%s is let through as %s", (text, href) => {
    assert.strictEqual(refusalOf(text), `let through as ${href}`)
  })

  it("is https alone, at its own port, unless the rules say more", () => {
    assert.strictEqual(refusalOf("http://example.com/", HTTPS), "scheme")
    assert.strictEqual(refusalOf("https://example.com:8443/", HTTPS), "port")
    const more = OutboundUrl.rules({ ports: [8443] })
    assert.strictEqual(
      refusalOf("https://example.com:8443/", more),
      "let through as https://example.com:8443/",
    )
    assert.strictEqual(refusalOf("https://example.com/", more), "port")
  })

  it("reaches an allowed network by its address, and by no name of the inside", () => {
    const rules = OutboundUrl.rules({ http: true, ports: [9000], allow: ["127.0.0.1/32"] })
    assert.strictEqual(refusalOf("http://127.0.0.1:9000/", rules), "let through as http://127.0.0.1:9000/")
    assert.strictEqual(refusalOf("http://127.0.0.2:9000/", rules), "address")
    assert.strictEqual(refusalOf("http://localhost:9000/", rules), "host")
  })

  it("cannot be asked for with rules that make no sense", () => {
    assert.throws(() => OutboundUrl.rules({ allow: ["127.0.0.1/8"] }))
    assert.throws(() => OutboundUrl.rules({ allow: ["localhost"] }))
  })
})

describe("a redirect", () => {
  const from = new URL("https://example.com/a/b?c")
  const to = (location: string, base = from): string => {
    const result = OutboundUrl.redirected(base, location, HTTP)
    return Result.isFailure(result) ? result.failure.refusal : result.success.url.href
  }

  it.each([
    ["/d", "https://example.com/d"],
    ["d", "https://example.com/a/d"],
    ["?e", "https://example.com/a/b?e"],
    ["", "https://example.com/a/b?c"],
    ["//example.org/x", "https://example.org/x"],
    ["https://example.org", "https://example.org/"],
    ["//127.0.0.1/", "address"],
    ["//0x7f.1/", "address"],
    ["https://[::1]/", "address"],
    ["//localhost/", "host"],
    ["//%6cocalhost/", "host"],
    ["https://user@example.org/", "credentials"],
    ["//example.org:8443/", "port"],
    ["http://example.org/", "downgrade"],
    ["file:///etc/passwd", "scheme"],
    ["javascript:alert(1)", "scheme"],
    ["\\\\127.0.0.1\\", "malformed"],
    ["/\t/127.0.0.1/", "malformed"],
  ])("to %j ends at %s", (location, end) => {
    assert.strictEqual(to(location), end)
  })

  it("may lead from http to https", () => {
    assert.strictEqual(to("https://example.org/", new URL("http://example.com/")), "https://example.org/")
  })
})
