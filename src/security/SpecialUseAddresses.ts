/**
 * The IP addresses that a URL from outside must never reach: loopback, private, link-local, and everything else that the
 * registries of special-purpose addresses keep out of the public Internet. An IPv6 address that carries an IPv4 address
 * (mapped, NAT64, 6to4, Teredo, IPv4-compatible, ISATAP) is judged together with the address inside it.
 *
 * @source https://www.iana.org/assignments/iana-ipv4-special-registry, https://www.iana.org/assignments/iana-ipv6-special-registry
 * (RFC 6890 and its successors)
 */
import { IpNetwork, NetAddress } from "effect/net"

/** A range of addresses with a purpose of its own. */
export interface SpecialUse {
  readonly network: IpNetwork.IpNetwork
  readonly purpose: string
}

const ranges: ReadonlyArray<SpecialUse> = (
  [
    ["0.0.0.0/8", "this network"],
    ["10.0.0.0/8", "private"],
    ["100.64.0.0/10", "carrier-grade NAT"],
    ["127.0.0.0/8", "loopback"],
    // An ordinary address by the registry, but every virtual machine of Azure finds its host's services there.
    ["168.63.129.16/32", "platform of a cloud"],
    ["169.254.0.0/16", "link-local"],
    ["172.16.0.0/12", "private"],
    ["192.0.0.0/24", "protocol assignments"],
    ["192.0.2.0/24", "documentation"],
    ["192.88.99.0/24", "6to4 relay"],
    ["192.168.0.0/16", "private"],
    ["198.18.0.0/15", "benchmarking"],
    ["198.51.100.0/24", "documentation"],
    ["203.0.113.0/24", "documentation"],
    ["224.0.0.0/4", "multicast"],
    ["240.0.0.0/4", "reserved"],
    ["::/128", "unspecified"],
    ["::1/128", "loopback"],
    ["::/96", "IPv4-compatible"],
    ["64:ff9b::/96", "NAT64"],
    ["64:ff9b:1::/48", "NAT64"],
    ["100::/64", "discard"],
    ["2001::/32", "Teredo"],
    ["2001::/23", "protocol assignments"],
    ["2001:db8::/32", "documentation"],
    ["2002::/16", "6to4"],
    ["3fff::/20", "documentation"],
    ["5f00::/16", "segment routing"],
    ["fc00::/7", "private"],
    ["fe80::/10", "link-local"],
    ["ff00::/8", "multicast"],
  ] as const
).map(([network, purpose]) => ({ network: IpNetwork.fromStringUnsafe(network), purpose }))

/** All IPv6 addresses that are handed out for the public Internet are in here; the rest is held back (RFC 4291). */
const GLOBAL_UNICAST = IpNetwork.fromStringUnsafe("2000::/3")
const OUTSIDE_GLOBAL_UNICAST: SpecialUse = {
  network: IpNetwork.fromStringUnsafe("::/0"),
  purpose: "outside of the public Internet",
}

/**
 * Why the address must not be reached; undefined when it may. The networks in `allowed` are exempt, but not what an address
 * in one of them carries: with `64:ff9b::/96` allowed (a network with NAT64), `64:ff9b::127.0.0.1` is still refused.
 */
export const specialUseOf = (
  address: NetAddress.IpAddress,
  allowed: ReadonlyArray<IpNetwork.IpNetwork> = [],
): SpecialUse | undefined => {
  for (const each of [NetAddress.toCanonical(address), ...embeddedIn(address)]) {
    if (allowed.some(IpNetwork.contains(each))) continue
    const range = ranges.find(({ network }) => IpNetwork.contains(network, each))
    if (range !== undefined) return range
    if (NetAddress.isIpv6Address(each) && !IpNetwork.contains(GLOBAL_UNICAST, each))
      return OUTSIDE_GLOBAL_UNICAST
  }
  return undefined
}

/** The IPv4 addresses that packets to an IPv6 address may end at, by the forms that wrap one in the other. */
const embeddedIn = (address: NetAddress.IpAddress): ReadonlyArray<NetAddress.Ipv4Address> => {
  if (!NetAddress.isIpv6Address(address)) return []
  const segments = NetAddress.ipv6ToSegments(address)
  const [a, b, c, d, e, f, g, h] = segments
  const found: Array<NetAddress.Ipv4Address> = []
  // NAT64 at a /96 prefix (RFC 6052), IPv4-compatible (RFC 4291), IPv4-translated (RFC 2765): the last 32 bits.
  if (a === 0x64 && b === 0xff9b) found.push(ipv4(g, h))
  if (a === 0 && b === 0 && c === 0 && d === 0 && (e === 0 || e === 0xffff) && f === 0) found.push(ipv4(g, h))
  // NAT64 of a network's own, at the /48 of RFC 8215: around the bits 64 to 71, which are zero.
  if (a === 0x64 && b === 0xff9b && c === 1) found.push(ipv4(d, ((e & 0xff) << 8) | (f >> 8)))
  // 6to4 (RFC 3056): after the first 16 bits.
  if (a === 0x2002) found.push(ipv4(b, c))
  // Teredo (RFC 4380): the server, and the client with its bits flipped.
  if (a === 0x2001 && b === 0) found.push(ipv4(c, d), ipv4(g ^ 0xffff, h ^ 0xffff))
  // ISATAP (RFC 5214): an interface identifier under any prefix.
  if ((e & ~0x200) === 0 && f === 0x5efe) found.push(ipv4(g, h))
  return found
}

const ipv4 = (high: number, low: number): NetAddress.Ipv4Address =>
  NetAddress.ipv4FromBytesUnsafe(Uint8Array.of(high >> 8, high & 0xff, low >> 8, low & 0xff))
