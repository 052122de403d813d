/**
 * Which URLs from outside this server may send requests to, as far as the URL itself tells: scheme, port, and a host that is
 * a public name or a public address. It is decided on the parsed form, so that every other way to write a host
 * (`2130706433`, `0x7f.1`, `①②⑦.0.0.1`) is judged as the address that it means. What a name resolves to is for
 * `SafeFetch` to check, at the time of each request.
 */
import { Result, Schema } from "effect"
import { Host, IpNetwork, NetAddress } from "effect/net"
import { specialUseOf } from "./SpecialUseAddresses.ts"
import * as WebUrl from "./WebUrl.ts"

/** What the outside may be asked for. */
export interface OutboundRules {
  readonly schemes: ReadonlyArray<"http:" | "https:">
  readonly ports: ReadonlyArray<number>
  /** Networks that are exempt from the list of special-use addresses: an operator's decision, and empty unless made. */
  readonly allow: ReadonlyArray<IpNetwork.IpNetwork>
}

export interface OutboundRulesOptions {
  /** Also plain http, at port 80. Default: https alone. */
  readonly http?: boolean
  /** Ports in place of 443 (and 80 with http). */
  readonly ports?: ReadonlyArray<number>
  /** Networks to exempt in CIDR notation, such as `127.0.0.1/32` for a receiver on the same machine. */
  readonly allow?: ReadonlyArray<string>
}

/** Rules from a configuration; throws when a network is not one. */
export const rules = ({ allow = [], http = false, ports }: OutboundRulesOptions = {}): OutboundRules => ({
  schemes: http ? ["https:", "http:"] : ["https:"],
  ports: ports ?? (http ? [443, 80] : [443]),
  allow: allow.map(IpNetwork.fromStringUnsafe),
})

/** The rule that a URL breaks. */
export const Refusal = Schema.Literals([
  "malformed",
  "too_long",
  "scheme",
  "downgrade",
  "credentials",
  "port",
  "host",
  "address",
])
export type Refusal = typeof Refusal.Type

/** The URL may not be requested. The message names the rule, never an address that a name stands for. */
export class UrlRefused extends Schema.TaggedError<UrlRefused>()("UrlRefused", {
  refusal: Refusal,
  /** What the URL must be, to be read after its name or that of its field. */
  detail: Schema.String,
}) {
  override get message(): string {
    return `the URL ${this.detail}`
  }
}

/** A URL that keeps the rules. */
export interface OutboundUrl {
  /** Without a fragment and without a dot at the end of the host. */
  readonly url: URL
  /** An address that was checked, or a name whose addresses are still to be. */
  readonly host: NetAddress.IpAddress | Host.DomainName
  readonly port: number
}

/**
 * Names that are answered inside of a machine or a network, or by nobody (RFC 6761 and its registry, ICANN's `internal`,
 * and the customary ones); with everything below them.
 */
const INSIDE_DOMAINS: ReadonlySet<string> = new Set([
  "alt",
  "arpa",
  "corp",
  "example",
  "home",
  "internal",
  "intranet",
  "invalid",
  "lan",
  "local",
  "localdomain",
  "localhost",
  "onion",
  "private",
  "test",
])

/** The text as a URL to request, or the rule against it. */
export const parse = (text: string, rules: OutboundRules): Result.Result<OutboundUrl, UrlRefused> =>
  read(text, undefined, rules)

/** URLs to request, as input; what is wrong with others is said in the words of the rule. */
export const schema = (rules: OutboundRules): Schema.Codec<string> =>
  Schema.String.check(
    Schema.makeFilter(
      (text) =>
        Result.match(parse(text, rules), {
          onFailure: ({ detail }) => detail,
          onSuccess: () => true as const,
        }),
      { toJsonSchema: () => [{ format: "uri", maxLength: WebUrl.URL_CHARACTERS_MAX }, true] },
    ),
  )

/** Where a redirect leads: `location` may be relative, and must not leave https. */
export const redirected = (
  from: URL,
  location: string,
  rules: OutboundRules,
): Result.Result<OutboundUrl, UrlRefused> =>
  Result.flatMap(read(location, from, rules), (to) =>
    from.protocol === "https:" && to.url.protocol !== "https:"
      ? refuse("downgrade", "must not lead from https to http")
      : Result.succeed(to),
  )

const read = (
  text: string,
  base: URL | undefined,
  rules: OutboundRules,
): Result.Result<OutboundUrl, UrlRefused> =>
  Result.flatMap(
    Result.mapError(WebUrl.parse(text, base), (fault) =>
      refused(fault, fault === "scheme" ? schemesOf(rules) : WebUrl.messages[fault]),
    ),
    (url) => check(url, rules),
  )

const schemesOf = ({ schemes }: OutboundRules) =>
  `must start with ${schemes.map((scheme) => `${scheme}//`).join(" or ")}`

const check = (url: URL, rules: OutboundRules): Result.Result<OutboundUrl, UrlRefused> => {
  const { ports, schemes } = rules
  if (!(schemes as ReadonlyArray<string>).includes(url.protocol)) return refuse("scheme", schemesOf(rules))
  const port = url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port)
  if (!ports.includes(port)) return refuse("port", `must be at port ${ports.join(" or ")}`)
  url.hash = ""
  return Result.map(checkHost(url, rules), (host) => ({ url, host, port }))
}

const checkHost = (url: URL, { allow }: OutboundRules): Result.Result<OutboundUrl["host"], UrlRefused> => {
  const literal = NetAddress.ipFromString(url.hostname.replace(/^\[(.*)\]$/, "$1"))
  if (Result.isSuccess(literal)) {
    const use = specialUseOf(literal.success, allow)
    return use === undefined
      ? Result.succeed(NetAddress.toCanonical(literal.success))
      : refuse("address", `must not be at a special address (${use.purpose})`)
  }
  const name = url.hostname.replace(/\.$/, "")
  if (!Host.isDomainName(name) || name.endsWith("."))
    return refuse("host", "must have a domain name or an address for its host")
  const top = name.slice(name.lastIndexOf(".") + 1)
  // A name of one label is completed by the search list of the machine: it means something inside, or nothing.
  if (top === name || INSIDE_DOMAINS.has(top)) return refuse("host", "must have a public name for its host")
  url.hostname = name
  return Result.succeed(name)
}

const refused = (refusal: Refusal, detail: string) => new UrlRefused({ refusal, detail })
const refuse = (refusal: Refusal, detail: string) => Result.fail(refused(refusal, detail))
