/**
 * Which addresses count as one client. An IPv4 address does; of IPv6 it is the /64, which is the least that a client has to
 * itself: whoever counted single addresses of it would count none twice.
 */
import { Option, Result } from "effect"
import { IpNetwork, NetAddress } from "effect/net"

const IPV6_CLIENT_BITS = 64
const UNKNOWN = "unknown"

/** The client behind an address, as text. Those whose address is not known are one. */
export const clientNetwork = (address: string | undefined): string => {
  if (address === undefined) return UNKNOWN
  // IPv4 needs no parsing: it comes from the socket in its one spelling.
  if (!address.includes(":")) return address
  const parsed = Result.getOrUndefined(NetAddress.ipFromString(withoutZone(address)))
  if (parsed === undefined) return UNKNOWN
  if (!NetAddress.isIpv6Address(parsed)) return address
  return Option.match(NetAddress.fromIpv4Mapped(parsed), {
    onNone: () => IpNetwork.format(IpNetwork.fromAddressUnsafe(parsed, IPV6_CLIENT_BITS)),
    onSome: NetAddress.formatIp,
  })
}

/** `fe80::1%eth0`: the interface is ours, and not the client's. */
const withoutZone = (address: string): string => {
  const zone = address.indexOf("%")
  return zone === -1 ? address : address.slice(0, zone)
}
