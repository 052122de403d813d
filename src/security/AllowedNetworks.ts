/**
 * The network addresses from which a credential may be used, as CIDR blocks. IPv4 addresses inside of IPv6 ones
 * (`::ffff:192.0.2.1`, as a socket for both names its IPv4 callers) are taken for the IPv4 addresses that they are.
 */
import { Option, Result, Schema } from "effect"
import { IpNetwork, NetAddress } from "effect/net"

/** Blocks of one list. */
export const NETWORKS_MAX = 32
/** `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128`. */
const NETWORK_CHARACTERS_MAX = 49

const EXPECTED = "must be an address or a CIDR block such as 192.0.2.0/24 or 2001:db8::/32"

/** The block in its one spelling; a single address is a block of itself. The failure is for people. */
export const canonical = (text: string): Result.Result<string, string> => {
  if (text.length > NETWORK_CHARACTERS_MAX) return Result.fail(EXPECTED)
  const network = parse(text)
  if (Result.isFailure(network)) {
    return Result.fail(
      network.failure.message.includes("host bits")
        ? "must be zero behind its prefix, as in 192.0.2.0/24"
        : EXPECTED,
    )
  }
  const { address } = network.success
  return NetAddress.isIpv6Address(address) && NetAddress.isIpv4Mapped(address)
    ? Result.fail("must be an IPv4 block in IPv4 notation")
    : Result.succeed(IpNetwork.format(network.success))
}

const parse = (text: string) =>
  text.includes("/")
    ? IpNetwork.fromString(text)
    : Result.flatMap(NetAddress.ipFromString(text), (address) =>
        IpNetwork.make(address, NetAddress.width(address)),
      )

/** A block as people write it. */
export const NetworkText = Schema.String.check(
  Schema.makeFilter(
    (text) => Result.match(canonical(text), { onFailure: (message) => message, onSuccess: () => true }),
    { toJsonSchema: () => [{ maxLength: NETWORK_CHARACTERS_MAX }, true] },
  ),
).annotate({ examples: ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"] })

/** Whether everything in `inner` is in `outer` too; both as {@link canonical} writes them. */
export const contain = (outer: ReadonlyArray<string>, inner: ReadonlyArray<string>): boolean => {
  const around = outer.map(IpNetwork.fromStringUnsafe)
  return inner
    .map(IpNetwork.fromStringUnsafe)
    .every((network) => around.some((block) => IpNetwork.containsNetwork(block, network)))
}

/** One list, ready to be asked with every request. */
export class AllowedNetworks {
  readonly #networks: ReadonlyArray<IpNetwork.IpNetwork>
  /** A caller mostly has one address, and to compare text costs a hundredth of parsing it. */
  #admitted: string | undefined

  constructor(networks: ReadonlyArray<string>) {
    this.#networks = networks.map(IpNetwork.fromStringUnsafe)
  }

  /** Whether the address is in one of the blocks; one that is not known is in none. */
  admits(address: string | undefined): boolean {
    if (address === undefined) return false
    if (address === this.#admitted) return true
    const parsed = Result.getOrUndefined(NetAddress.ipFromString(address))
    if (parsed === undefined) return false
    const plain = NetAddress.isIpv6Address(parsed)
      ? Option.getOrElse(NetAddress.fromIpv4Mapped(parsed), () => parsed)
      : parsed
    if (!this.#networks.some((network) => IpNetwork.contains(network, plain))) return false
    this.#admitted = address
    return true
  }
}
