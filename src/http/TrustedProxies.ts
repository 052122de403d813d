/**
 * The address of the client behind the proxies that the operator names. Nobody else is believed: without proxies, and for whoever
 * connects from elsewhere, it is the address of the connection. Proxies that are asked in a row each add whom they were asked by,
 * so the client is the last one that is not a proxy itself; what stands before it is the client's own tale.
 *
 * Most proxies write `X-Forwarded-For` and pass `Forwarded` (RFC 7239) through as it came, some do the opposite. Where both are
 * there and disagree, somebody lies, and it is not said who: then the proxy's own address counts.
 */
import { Effect, Layer, Option, Result, type Types } from "effect"
import { type Headers, HttpRouter, HttpServerRequest, type HttpServerResponse } from "effect/http"
import { IpNetwork, NetAddress } from "effect/net"

/** Addresses that one header is read for, from its end. */
const HOPS_MAX = 32

/** Gives requests that come through these networks (CIDR blocks) the address of their client, before any route sees them. */
export const layer = (networks: ReadonlyArray<string>): Layer.Layer<never, never, HttpRouter.HttpRouter> => {
  if (networks.length === 0) return Layer.empty
  const trusted = new TrustedProxies(networks)
  return HttpRouter.middleware(
    (handler: Effect.Effect<HttpServerResponse.HttpServerResponse, Types.unhandled>) =>
      Effect.updateService(handler, HttpServerRequest.HttpServerRequest, (request) => {
        const client = trusted.clientOf(Option.getOrUndefined(request.peerAddress), request.headers)
        return client === undefined
          ? request
          : request.modify({ remoteAddress: Option.some(client), peerAddress: request.peerAddress })
      }),
    { global: true },
  )
}

/** The proxies that are believed. */
export class TrustedProxies {
  readonly #networks: ReadonlyArray<IpNetwork.IpNetwork>

  constructor(networks: ReadonlyArray<string>) {
    this.#networks = networks.map(IpNetwork.fromStringUnsafe)
  }

  /** The client's address, if the connection comes from a proxy and the proxy says whose request it is. */
  clientOf(peer: string | undefined, headers: Headers.Headers): string | undefined {
    const proxy = parse(peer)
    if (proxy === undefined || !this.#isProxy(proxy)) return undefined
    const { forwarded, "x-forwarded-for": forwardedFor } = headers
    const byList = forwardedFor === undefined ? undefined : this.#clientIn(forwardedFor.split(","))
    if (forwarded === undefined) return byList
    const byPairs = this.#clientIn(forwarded.split(",").map(forOf))
    return forwardedFor === undefined || byList === byPairs ? byPairs : undefined
  }

  /** The last that is no proxy; the first, if all are. One that cannot be read hides all before it. */
  #clientIn(hops: ReadonlyArray<string | undefined>): string | undefined {
    let client: string | undefined
    for (const hop of hops.slice(-HOPS_MAX).toReversed()) {
      const address = parse(hop?.trim())
      if (address === undefined) return client
      client = NetAddress.formatIp(address)
      if (!this.#isProxy(address)) return client
    }
    return client
  }

  #isProxy(address: NetAddress.IpAddress): boolean {
    return this.#networks.some((network) => IpNetwork.contains(network, address))
  }
}

const FOR = /(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^\s;"]+))\s*(?:;|$)/i

/** The `for` of one element of `Forwarded`. */
const forOf = (element: string): string | undefined => {
  const match = FOR.exec(element)
  return match?.[1] ?? match?.[2]
}

/** An address with or without brackets and port; IPv4 inside of IPv6 is the IPv4 address that it is. */
const parse = (text: string | undefined): NetAddress.IpAddress | undefined => {
  if (text === undefined) return undefined
  const bare = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(text)?.[1] ?? /^([\d.]+):\d{1,5}$/.exec(text)?.[1] ?? text
  const address = Result.getOrUndefined(NetAddress.ipFromString(bare))
  return address === undefined ? undefined : NetAddress.toCanonical(address)
}
