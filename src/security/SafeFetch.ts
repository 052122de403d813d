/**
 * The one client for URLs that came from outside (webhooks, assets): a request reaches only what the rules of `OutboundUrl`
 * and the list of special-use addresses let it reach. A name is resolved once for each request; all its addresses are
 * checked, and the connection goes to one of those and to nothing else, so that a second answer of the DNS has no effect.
 * Redirects are followed here, each one checked like the first URL. Time, headers and body of an answer are bounded.
 */
import { Context, Duration, Effect, Layer, Result, type Scope, Semaphore, Stream } from "effect"
import { Headers } from "effect/http"
import { Dns, NetAddress } from "effect/net"
import * as NodeStream from "@effect/platform-node/NodeStream"
import type { IncomingMessage } from "node:http"
import {
  AddressRefused,
  AnswerBroken,
  AnswerTooLarge,
  HostUnresolved,
  OutboundError,
  type Reason,
  RequestRefused,
  TooManyRedirects,
  TooSlow,
} from "./OutboundError.ts"
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
  /** Names are asked of DNS servers alone (A and AAAA): the machine's hosts file and its threads stay out of it. */
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
      const addresses = typeof host === "string" ? yield* resolve(dns, host) : [host]
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
      message: PinnedRequest.Message,
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

/** All addresses of a name. One family is enough: many names have no AAAA, and some servers do not answer for it. */
const resolve = (
  dns: Dns.Dns["Service"],
  host: OutboundUrl.OutboundUrl["host"] & string,
): Effect.Effect<ReadonlyArray<NetAddress.IpAddress>, HostUnresolved> =>
  Effect.flatMap(
    Effect.forEach(["A", "AAAA"] as const, (type) => Effect.result(dns.resolve(host, type)), {
      concurrency: 2,
    }),
    (answers) => {
      const addresses = answers.flatMap((answer) =>
        Result.isSuccess(answer) ? answer.success.map(({ address }): NetAddress.IpAddress => address) : [],
      )
      if (addresses.length > 0) return Effect.succeed(addresses)
      const failures = answers.flatMap((answer) => (Result.isFailure(answer) ? [answer.failure] : []))
      const failure = failures.find(({ isTemporary }) => isTemporary) ?? failures[0]
      return Effect.fail(
        new HostUnresolved({
          host,
          failure: failure?.reason ?? "NotFound",
          temporary: failure?.isTemporary ?? false,
        }),
      )
    },
  )

/** What belongs to the connection, and is not for a caller to say (RFC 9110 §7.6.1). */
const CONNECTION_HEADERS: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
])

/** All that another origin gets to see after a redirect: a list, since any other header may carry a secret. */
const HARMLESS_HEADERS: ReadonlySet<string> = new Set([
  "accept",
  "accept-encoding",
  "accept-language",
  "content-type",
  "range",
  "user-agent",
])

const messageOf = (request: FetchRequest): Effect.Effect<PinnedRequest.Message, RequestRefused> => {
  const headers: Record<string, string> = { "user-agent": "RenderOwl", accept: "*/*" }
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    const lower = name.toLowerCase()
    if (CONNECTION_HEADERS.has(lower)) {
      return Effect.fail(new RequestRefused({ detail: `the header ${lower} belongs to the connection` }))
    }
    headers[lower] = value
  }
  const { body, method = "GET" } = request
  return Effect.succeed({
    method,
    headers: { ...headers, "accept-encoding": headers["accept-encoding"] ?? "identity" },
    body: typeof body === "string" ? Buffer.from(body) : body,
  })
}

/** 301, 302 and 303 turn into GET as browsers do it, 307 and 308 say the same again (RFC 9110 §15.4). */
const messageAfter = (
  status: number,
  { body, headers, method }: PinnedRequest.Message,
  sameOrigin: boolean,
): PinnedRequest.Message => {
  const rewritten = status < 307 && method !== "GET" && method !== "HEAD"
  const kept = Object.entries(headers).filter(
    ([name]) => (sameOrigin || HARMLESS_HEADERS.has(name)) && !(rewritten && name.startsWith("content-")),
  )
  return {
    method: rewritten ? "GET" : method,
    headers: Object.fromEntries(kept),
    body: rewritten ? undefined : body,
  }
}

const REDIRECTS: ReadonlySet<number | undefined> = new Set([301, 302, 303, 307, 308])

/** Node reads header bytes as Latin-1; the locations that are not ASCII are UTF-8. */
const redirectOf = ({ headers, statusCode }: IncomingMessage): string | undefined =>
  REDIRECTS.has(statusCode) && headers.location !== undefined
    ? Buffer.from(headers.location, "latin1").toString("utf8")
    : undefined

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
