/**
 * Callers within the operator's own network: those who sign their requests with a shared secret in Standard Webhooks form, and,
 * where the operator has said so, whoever calls from this very machine. A signature is over the id, the time and the exact
 * bytes of the body, not over the method and the path: it belongs on a network that is the operator's, or inside TLS.
 */
import { Context, Effect, Layer, Option, Result } from "effect"
import type { HttpServerRequest } from "effect/http"
import { NetAddress } from "effect/net"
import { Principal } from "../security/Principal.ts"
import { type SignatureRefused, type WebhookSecret, WebhookSignature } from "../security/WebhookSignature.ts"
import type { Replayed, ReplayGuardFull } from "../security/ReplayGuard.ts"

type Request = HttpServerRequest.HttpServerRequest

export interface InternalCallersOptions {
  /** Any of them is good, so that they can be changed; with none, no signature is. */
  readonly secrets: ReadonlyArray<WebhookSecret>
  /** Whether calls from this machine need no credentials. */
  readonly loopback: "open" | "closed"
}

const internal = (id: string) =>
  new Principal({ id, kind: "internal", owner: "internal", scopes: ["admin"], tier: "enterprise" })

/** Who signed, in the audit trail. All who hold a secret are one. */
const SIGNER = internal("internal:signature")
/** Who called from this machine. */
const NEIGHBOUR = internal("internal:loopback")

/** What a proxy adds: then the address is the proxy's. */
export const FORWARDED = [
  "forwarded",
  "via",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
] as const

/** `localhost`, and addresses that are it, with any port. */
const LOCAL_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i

export class InternalCallers extends Context.Service<
  InternalCallers,
  {
    /** Whoever calls without credentials from where none are needed. */
    readonly neighbour: (request: Request) => Principal | undefined
    /**
     * Hands a signed request over to whoever carries it out. A message is carried out once: what fails may be sent again under
     * the same id, and what succeeded is refused.
     */
    readonly receive: <A, E, R>(
      request: Request,
      handle: (signer: Principal) => Effect.Effect<A, E, R>,
    ) => Effect.Effect<A, E | SignatureRefused | Replayed | ReplayGuardFull, R>
  }
>()("renderowl/http/InternalCallers") {
  static readonly layerWith = (
    options: InternalCallersOptions,
  ): Layer.Layer<InternalCallers, never, WebhookSignature> =>
    Layer.effect(
      InternalCallers,
      Effect.map(WebhookSignature, (webhooks) =>
        InternalCallers.of({
          neighbour: (request) =>
            options.loopback === "open" && isFromHere(request) ? NEIGHBOUR : undefined,
          receive: (request, handle) =>
            // What cannot be read is no matter of signatures: the edge knows what to say of it.
            Effect.flatMap(Effect.orDie(request.arrayBuffer), (bytes) =>
              webhooks.receive(
                { headers: request.headers, body: new Uint8Array(bytes) },
                options.secrets,
                SIGNER.id,
                () => handle(SIGNER),
              ),
            ),
        }),
      ),
    )
}

/**
 * Straight from this machine. Not by way of a proxy, whose address is no caller's; and not from a page in a browser on it, which
 * says where it is from, or has a name of its own for this address.
 */
const isFromHere = ({ headers, peerAddress }: Request): boolean =>
  Option.exists(peerAddress, isLoopback) &&
  FORWARDED.every((name) => headers[name] === undefined) &&
  headers["origin"] === undefined &&
  LOCAL_HOST.test(headers["host"] ?? "")

const isLoopback = (text: string): boolean => {
  const address = Result.getOrUndefined(NetAddress.ipFromString(text))
  if (address === undefined) return false
  const unmapped = NetAddress.isIpv6Address(address)
    ? Option.getOrUndefined(NetAddress.fromIpv4Mapped(address))
    : undefined
  return NetAddress.isLoopback(unmapped ?? address)
}
