/**
 * The one client for URLs that came from outside (webhooks, assets): a request reaches only what the rules of `OutboundUrl`
 * and the list of special-use addresses let it reach. A name is resolved once for each request; all its addresses are
 * checked, and the connection goes to one of those and to nothing else, so that a second answer of the DNS has no effect.
 * Redirects are followed here, each one checked like the first URL. Time, headers and body of an answer are bounded.
 */
import { Context, Duration, Effect, Layer, type Scope, Semaphore, Stream } from "effect"
import { Headers } from "effect/http"
import { Dns, NetAddress } from "effect/net"
import * as NodeStream from "@effect/platform-node/NodeStream"
import type { IncomingMessage } from "node:http"
import {
  AddressRefused,
  AnswerBroken,
  AnswerTooLarge,
  OutboundError,
  type Reason,
  TooManyRedirects,
  TooSlow,
} from "./OutboundError.ts"
import * as HostAddresses from "./HostAddresses.ts"
import { type Message, messageAfter, messageOf, redirectOf } from "./OutboundMessage.ts"
import * as OutboundUrl from "./OutboundUrl.ts"
import * as PinnedRequest from "./PinnedRequest.ts"
import { specialUseOf } from "./SpecialUseAddresses.ts"

/** What one request may take. */
export interface Limits {
  /** Name, connection and TLS, for each address that is tried. */
  readonly connect: Duration.Input
  /** From the call to the last byte of the body, redirects and the wait for a free place included. */
  readonly total: Duration.Input
  readonly headerBytesMax: number
  readonly bodyBytesMax: number
  /** With 0 an answer that redirects is an answer like any other. */
  readonly redirectsMax: number
}

export const DEFAULT_LIMITS: Limits = {
  connect: "5 seconds",
  total: "30 seconds",
  headerBytesMax: 16 * 1024,
  bodyBytesMax: 1024 * 1024,
  redirectsMax: 3,
}

/** Requests at a time; the others wait, within their own time. */
const CONCURRENT_REQUESTS_MAX = 64
/** Addresses of one name that are tried when the ones before do not answer. All of them are checked. */
const ADDRESSES_TRIED_MAX = 4

export interface Options extends OutboundUrl.OutboundRulesOptions {
  readonly limits?: Partial<Limits>
  /** Certificate authorities in PEM, in place of those that Node comes with. */
  readonly authorities?: ReadonlyArray<string>
}

export interface FetchRequest {
  readonly url: string
  /** Default: GET. */
  readonly method?: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE"
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array | string
  /** In place of the client's. */
  readonly limits?: Partial<Limits>
}

export interface FetchResponse {
  readonly status: number
  readonly headers: Headers.Headers
  /** Where the answer came from, after redirects. */
  readonly url: URL
  readonly redirects: number
  /** As it was sent: nothing is decompressed, so that it cannot grow. Can be read once. */
  readonly body: Stream.Stream<Uint8Array, OutboundError>
}

export class SafeFetch extends Context.Service<
  SafeFetch,
  {
    /** The connection lives as long as the scope, and no longer than the limit of the total time. */
    readonly fetch: (request: FetchRequest) => Effect.Effect<FetchResponse, OutboundError, Scope.Scope>
    /** Whether a request to the URL would be let through now: for telling early, and never in place of `fetch`'s own check. */
    readonly check: (url: string) => Effect.Effect<void, OutboundError>
  }
>()("renderowl/security/SafeFetch") {
  static readonly layer = (options: Options = {}): Layer.Layer<SafeFetch, never, Dns.Dns> =>
    Layer.effect(
      SafeFetch,
      Effect.flatMap(Effect.service(Dns.Dns), (dns) => make(dns, options)),
    )
}

/** The whole body. */
export const bytes = ({ body }: FetchResponse): Effect.Effect<Uint8Array, OutboundError> =>
  Effect.map(Stream.runCollect(body), (chunks) => new Uint8Array(Buffer.concat(chunks)))

const make = (dns: Dns.Dns["Service"], options: Options): Effect.Effect<SafeFetch["Service"]> =>
  Effect.sync(() => {
    const rules = OutboundUrl.rules(options)
    const places = Semaphore.makeUnsafe(CONCURRENT_REQUESTS_MAX)

    const destinations = Effect.fnUntraced(function* (target: OutboundUrl.OutboundUrl) {
      const { host, port, url } = target
      const name = typeof host === "string" ? host : undefined
      const addresses = typeof host === "string" ? yield* HostAddresses.resolve(dns, host) : [host]
      for (const address of addresses) {
        const use = specialUseOf(address, rules.allow)
        if (use !== undefined) {
          return yield* new AddressRefused({
            host: url.hostname,
            address: NetAddress.formatIp(address),
            purpose: use.purpose,
          })
        }
      }
      return addresses.map(
        (address): PinnedRequest.Destination => ({
          url,
          address: NetAddress.toCanonical(address),
          port,
          name,
          authorities: options.authorities,
        }),
      )
    })

    const exchange = Effect.fnUntraced(function* (
      target: OutboundUrl.OutboundUrl,
      message: Message,
      limits: Limits,
    ) {
      const all = yield* withinConnectTime(destinations(target), limits)
      const [connection, ...others] = all
        .slice(0, ADDRESSES_TRIED_MAX)
        .map((destination) =>
          Effect.map(
            withinConnectTime(PinnedRequest.connect(destination), limits),
            (socket) => [socket, destination] as const,
          ),
        )
      const [socket, destination] = yield* others.reduce(
        (tried, next) => Effect.catchTags(tried, { NotConnected: () => next, TooSlow: () => next }),
        connection!,
      )
      return yield* PinnedRequest.send(socket, destination, message, limits.headerBytesMax)
    })

    const follow = Effect.fnUntraced(function* (request: FetchRequest, limits: Limits, deadline: Deadline) {
      let redirects = 0
      const failed = (reason: Reason) => new OutboundError({ reason, redirects })
      let target = yield* OutboundUrl.parse(request.url, rules).pipe(
        Effect.fromResult,
        Effect.mapError(failed),
      )
      let message = yield* Effect.mapError(messageOf(request), failed)
      yield* Effect.annotateCurrentSpan({ "server.address": target.url.hostname, "server.port": target.port })
      for (;;) {
        const response = yield* Effect.mapError(exchange(target, message, limits), failed)
        const location = redirectOf(response)
        if (location === undefined || limits.redirectsMax === 0) {
          yield* Effect.annotateCurrentSpan({ "http.response.status_code": response.statusCode })
          return yield* answer(response, {
            method: message.method,
            url: target.url,
            redirects,
            limits,
            deadline,
          })
        }
        response.destroy()
        if (redirects === limits.redirectsMax) {
          return yield* failed(new TooManyRedirects({ redirects_max: limits.redirectsMax }))
        }
        redirects++
        deadline.late = outOfTime(limits, redirects)
        const next = yield* OutboundUrl.redirected(target.url, location, rules).pipe(
          Effect.fromResult,
          Effect.mapError(failed),
        )
        message = messageAfter(response.statusCode!, message, target.url.origin === next.url.origin)
        target = next
      }
    })

    return SafeFetch.of({
      fetch: Effect.fn("SafeFetch.fetch")(function* (request) {
        const limits = { ...DEFAULT_LIMITS, ...options.limits, ...request.limits }
        const deadline: Deadline = { over: false, response: undefined, late: outOfTime(limits, 0) }
        // One sleep from the call on, and no reading of the time: a wall clock may be set.
        yield* Effect.sleep(limits.total).pipe(
          Effect.andThen(
            Effect.sync(() => {
              deadline.over = true
              deadline.response?.destroy(deadline.late)
            }),
          ),
          Effect.forkScoped,
        )
        return yield* places.takeScoped(1).pipe(
          Effect.andThen(follow(request, limits, deadline)),
          Effect.timeoutOrElse({
            duration: limits.total,
            orElse: () => Effect.fail(deadline.late),
          }),
        )
      }),
      check: Effect.fn("SafeFetch.check")(function* (url) {
        yield* OutboundUrl.parse(url, rules).pipe(
          Effect.fromResult,
          Effect.flatMap((target) =>
            withinConnectTime(destinations(target), { ...DEFAULT_LIMITS, ...options.limits }),
          ),
          Effect.mapError((reason) => new OutboundError({ reason, redirects: 0 })),
        )
      }),
    })
  })

/** The answer that is being read when the time is up, and what its reader is told. */
interface Deadline {
  over: boolean
  response: IncomingMessage | undefined
  late: OutboundError
}

const outOfTime = ({ total }: Limits, redirects: number): OutboundError =>
  new OutboundError({
    reason: new TooSlow({ phase: "total", limit_ms: Duration.toMillis(total) }),
    redirects,
  })

const withinConnectTime = <A, E, R>(self: Effect.Effect<A, E, R>, { connect }: Limits) =>
  Effect.timeoutOrElse(self, {
    duration: connect,
    orElse: () => Effect.fail(new TooSlow({ phase: "connect", limit_ms: Duration.toMillis(connect) })),
  })

/** Bytes that are taken from Node in one go, in units of its buffer (64 KiB): bounds what comes in before it is counted. */
const READS_AT_ONCE = 8

const answer = Effect.fnUntraced(function* (
  response: IncomingMessage,
  {
    deadline,
    limits,
    method,
    redirects,
    url,
  }: {
    readonly method: string
    readonly url: URL
    readonly redirects: number
    readonly limits: Limits
    readonly deadline: Deadline
  },
) {
  const failed = (reason: Reason) => new OutboundError({ reason, redirects })
  const tooLarge = failed(new AnswerTooLarge({ part: "body", bytes_max: limits.bodyBytesMax }))
  // A body that is said to be too large is not begun with; HEAD says a length and sends nothing.
  if (method !== "HEAD" && Number(response.headers["content-length"] ?? 0) > limits.bodyBytesMax) {
    return yield* tooLarge
  }
  if (deadline.over) return yield* deadline.late
  deadline.response = response
  return {
    status: response.statusCode!,
    headers: Headers.fromInput(response.headers as Record<string, string | Array<string>>),
    url,
    redirects,
    body: NodeStream.fromReadable<Uint8Array, OutboundError>({
      evaluate: () => response,
      chunkSize: READS_AT_ONCE,
      onError: (error) =>
        error instanceof OutboundError
          ? error
          : failed(new AnswerBroken({ code: PinnedRequest.codeOf(error) })),
    }).pipe(
      Stream.mapAccumEffect(
        () => 0,
        (before: number, chunk) => {
          const total = before + chunk.byteLength
          return total > limits.bodyBytesMax
            ? Effect.fail(tooLarge)
            : Effect.succeed([total, [chunk]] as const)
        },
      ),
    ),
  } satisfies FetchResponse
})
