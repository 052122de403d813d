import { BlockList } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { IpNetwork, NetAddress } from "effect/net"
import * as fc from "fast-check"
import * as OutboundUrl from "../../src/security/OutboundUrl.ts"
import { specialUseOf } from "../../src/security/SpecialUseAddresses.ts"

/** The ranges once more, in the words of the registries, for an oracle that shares no code: Node's own list. */
const SPECIAL4 = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["168.63.129.16", 32],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
] as const
const SPECIAL6 = [
  ["::", 128],
  ["::1", 128],
  ["64:ff9b::", 96],
  ["64:ff9b:1::", 48],
  ["100::", 64],
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
  ["5f00::", 16],
  ["fc00::", 7],
  ["fe80::", 10],
  ["fec0::", 10],
  ["ff00::", 8],
] as const
const list = new BlockList()
for (const [network, prefix] of SPECIAL4) list.addSubnet(network, prefix, "ipv4")
for (const [network, prefix] of SPECIAL6) list.addSubnet(network, prefix, "ipv6")

const bytesOf = (text: string) => {
  const address = NetAddress.ipFromStringUnsafe(text)
  return NetAddress.isIpv4Address(address)
    ? NetAddress.ipv4ToOctets(address)
    : NetAddress.ipv6ToOctets(address)
}
/** Any address of a network: its prefix, then random bits. */
const within = ([network, prefix]: readonly [string, number]) => {
  const base = bytesOf(network)
  return fc.uint8Array({ minLength: base.length, maxLength: base.length }).map((random) =>
    Uint8Array.from(base, (byte, i) => {
      const hostBits = Math.min(8, Math.max(0, 8 * (i + 1) - prefix))
      return byte | (random[i]! & (2 ** hostBits - 1))
    }),
  )
}
const special4 = fc.constantFrom(...SPECIAL4).chain(within)
const special6 = fc.constantFrom(...SPECIAL6).chain(within)
const public4 = fc
  .uint8Array({ minLength: 4, maxLength: 4 })
  .filter((bytes) => !list.check(bytes.join("."), "ipv4"))
const public6 = within(["2000::", 3]).filter(
  (bytes) => !list.check(NetAddress.formatIp(NetAddress.ipv6FromBytesUnsafe(bytes)), "ipv6"),
)

/** How a number may be written in a host. */
const written = (value: number) =>
  fc.constantFrom(
    String(value),
    `0x${value.toString(16)}`,
    `0X${value.toString(16).toUpperCase()}`,
    `0${value.toString(8)}`,
    `0x000${value.toString(16)}`,
  )
const fullWidth = (text: string) =>
  text.replace(/[0-9]/g, (digit) => String.fromCodePoint(0xff10 + Number(digit)))

/** Every way to write an IPv4 address as the host of a URL: in 1 to 4 parts, each in any base, and in other scripts. */
const hosts4 = ([a = 0, b = 0, c = 0, d = 0]: Uint8Array) => {
  const parts = [
    [a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d],
    [a, b * 2 ** 16 + c * 2 ** 8 + d],
    [a, b, c * 2 ** 8 + d],
    [a, b, c, d],
  ]
  return fc
    .constantFrom(...parts)
    .chain((numbers) => fc.tuple(...numbers.map(written)))
    .chain((texts) =>
      fc.constantFrom(
        texts.join("."),
        `${texts.join(".")}.`,
        texts.join("\u3002"),
        texts.join("\uff0e"),
        fullWidth(texts.join(".")),
      ),
    )
}
/** Every way to write an IPv6 address as the host of a URL. */
const hosts6 = (bytes: Uint8Array) => {
  const words = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!)
  const hex = words.map((word) => word.toString(16))
  const short = NetAddress.formatIp(NetAddress.ipv6FromBytesUnsafe(bytes))
  return fc
    .constantFrom(
      short,
      short.toUpperCase(),
      hex.join(":"),
      hex.map((word) => word.padStart(4, "0")).join(":"),
      `${hex.slice(0, 6).join(":")}:${bytes.slice(12).join(".")}`,
    )
    .map((text) => `[${text}]`)
}
/** IPv6 addresses that carry an IPv4 address. */
const wrapped = (four: Uint8Array) => {
  const [a = 0, b = 0, c = 0, d = 0] = four
  const zeros = (count: number) => Array.from({ length: count }, () => 0)
  return fc
    .constantFrom(
      [...zeros(10), 0xff, 0xff, a, b, c, d],
      [...zeros(12), a, b, c, d],
      [...zeros(8), 0xff, 0xff, 0, 0, a, b, c, d],
      [0, 0x64, 0xff, 0x9b, ...zeros(8), a, b, c, d],
      [0, 0x64, 0xff, 0x9b, 0, 1, a, b, 0, c, d, ...zeros(5)],
      [0x20, 0x02, a, b, c, d, ...zeros(10)],
      [0x20, 0x01, 0, 0, 8, 8, 8, 8, ...zeros(4), a ^ 255, b ^ 255, c ^ 255, d ^ 255],
      [0x20, 0x01, 0, 0, a, b, c, d, ...zeros(4), 1, 1, 1, 1],
      [0x26, 0x06, 0x47, 0, ...zeros(4), 0, 0, 0x5e, 0xfe, a, b, c, d],
      [0x26, 0x06, 0x47, 0, ...zeros(4), 2, 0, 0x5e, 0xfe, a, b, c, d],
    )
    .map((bytes) => Uint8Array.from(bytes))
}

const RULES = OutboundUrl.rules({ http: true })
const RUNS = { numRuns: 2_000 }
const refused = (host: string) => {
  const result = OutboundUrl.parse(`https://${host}/`, RULES)
  assert.isTrue(Result.isFailure(result), `${host} was let through`)
  if (Result.isFailure(result)) assert.strictEqual(result.failure.refusal, "address", host)
}
const allowedAs = (host: string, address: string) => {
  const result = OutboundUrl.parse(`https://${host}/`, RULES)
  assert.isTrue(Result.isSuccess(result), `${host} was refused`)
  if (Result.isSuccess(result)) assert.strictEqual(String(result.success.host), address)
}

describe("a special-use address", () => {
  it("of IPv4 is refused, however it is written", () => {
    fc.assert(fc.property(special4.chain(hosts4), refused), RUNS)
  })

  it("of IPv6 is refused, however it is written", () => {
    fc.assert(fc.property(special6.chain(hosts6), refused), RUNS)
  })

  it("of IPv4 is refused inside every IPv6 address that carries it, however that is written", () => {
    fc.assert(fc.property(special4.chain(wrapped).chain(hosts6), refused), RUNS)
  })

  it("is refused at both ends of its range", () => {
    for (const [network, prefix] of [...SPECIAL4, ...SPECIAL6]) {
      const range = IpNetwork.fromStringUnsafe(`${network}/${prefix}`)
      for (const address of [IpNetwork.firstAddress(range), IpNetwork.lastAddress(range)]) {
        assert.isDefined(specialUseOf(address), NetAddress.formatIp(address))
      }
    }
  })

  it("is anything of IPv6 that was never handed out", () => {
    // Neither 2000::/3 nor, with 0xff in the eleventh byte, perhaps a mapped address.
    const elsewhere = fc
      .uint8Array({ minLength: 16, maxLength: 16 })
      .filter(([first = 0, , , , , , , , , , eleventh]) => first >> 5 !== 1 && eleventh !== 0xff)
    fc.assert(fc.property(elsewhere.chain(hosts6), refused), RUNS)
  })
})

describe("a public address", () => {
  it("of IPv4 is let through as itself, however it is written", () => {
    const both = public4.chain((bytes) => fc.tuple(hosts4(bytes), fc.constant(bytes.join("."))))
    fc.assert(
      fc.property(both, ([host, address]) => allowedAs(host, address)),
      RUNS,
    )
  })

  it("of IPv6 is let through as itself, however it is written", () => {
    const both = public6.chain((bytes) =>
      fc.tuple(hosts6(bytes), fc.constant(NetAddress.formatIp(NetAddress.ipv6FromBytesUnsafe(bytes)))),
    )
    fc.assert(
      fc.property(both, ([host, address]) => allowedAs(host, address)),
      RUNS,
    )
  })

  it("of IPv4 that is mapped into IPv6 is reached over IPv4", () => {
    allowedAs("[::ffff:8.8.8.8]", "8.8.8.8")
  })
})

describe("an allowed network", () => {
  const nat64 = [IpNetwork.fromStringUnsafe("64:ff9b::/96")]
  const use = (text: string, allowed: ReadonlyArray<IpNetwork.IpNetwork>) =>
    specialUseOf(NetAddress.ipFromStringUnsafe(text), allowed)?.purpose

  it("exempts its own addresses and no others", () => {
    const one = [IpNetwork.fromStringUnsafe("127.0.0.1/32")]
    assert.isUndefined(use("127.0.0.1", one))
    assert.isUndefined(use("::ffff:127.0.0.1", one))
    assert.strictEqual(use("127.0.0.2", one), "loopback")
    assert.strictEqual(use("::1", one), "loopback")
  })

  it("does not exempt what its addresses carry", () => {
    assert.isUndefined(use("64:ff9b::8.8.8.8", nat64))
    fc.assert(
      fc.property(special4, ([a = 0, b = 0, c = 0, d = 0]) => {
        assert.isDefined(use(`64:ff9b::${a}.${b}.${c}.${d}`, nat64))
      }),
    )
  })

  it("of each kind of tunnel still has to lead to a public address", () => {
    const all = ["::/0"].map(IpNetwork.fromStringUnsafe)
    const each = special4.chain((four) => wrapped(four))
    fc.assert(
      fc.property(each, (bytes) => {
        assert.isDefined(specialUseOf(NetAddress.ipv6FromBytesUnsafe(bytes), all))
      }),
      RUNS,
    )
  })
})
