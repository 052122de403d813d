/**
 * Serves routes over HTTP/1.1 on Node's own server, inside the edge and within the limits, and stops without losing what
 * is in flight: it stops accepting, signals the drain, lets requests finish for the grace period, and then closes what
 * is left. TLS and HTTP/2 are the business of the proxy in front.
 */
// The module and not the index, which loads every service of the platform: 0.3 instead of 0.9 s (measured).
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { ByteSize, Context, Duration, Effect, Layer } from "effect"
import { HttpIncomingMessage, HttpRouter, HttpServer } from "effect/http"
import { createServer, type Server as NodeServer } from "node:http"
import { type ApiVersions, ONLY_V1 } from "./ApiVersion.ts"
import { Cors, type CorsOptions } from "./Cors.ts"
import { Drain } from "./Drain.ts"
import * as Edge from "./Edge.ts"
import * as Limits from "./Limits.ts"
import { ProblemBase } from "./Problem.ts"
import { answerProtocolErrors } from "./ProtocolErrors.ts"
import { ROUTING } from "./RouteTable.ts"
import type { StrictTransport } from "./ResponseHeaders.ts"

export interface ServerOptions {
  readonly host: string
  /** 0 takes any free port; `HttpServer.HttpServer` knows which. */
  readonly port: number
  /** How long requests in flight may take once the server stops, 10 seconds by default. */
  readonly grace?: Duration.Input
  /** The versions of the API, `v1` alone by default. */
  readonly versions?: ApiVersions
  /** Which origins' pages may read answers, none by default. */
  readonly cors?: CorsOptions
  readonly strictTransport?: StrictTransport
  /** Paths that are served however many requests there are. */
  readonly alwaysAdmitted?: Iterable<string>
  /** Milliseconds to receive the headers of a request. */
  readonly headersTimeout?: number
  /** Milliseconds to receive a whole request. */
  readonly requestTimeout?: number
  /** Milliseconds in which a connection with a request on it may be silent. */
  readonly silenceTimeout?: number
  readonly connectionsMax?: number
  readonly requestsMax?: number
  readonly streamsMax?: number
  readonly responseBytesMax?: number
}

const GRACE: Duration.Input = "10 seconds"
/** Milliseconds between the looks for connections that have become idle while the server stops. */
const IDLE_CHECK_MS = 50
/** Milliseconds after the grace period for interrupted requests to say so before their connections are closed. */
const LAST_WORDS_MS = 500

/** Keys of what is Effect's own: loggers, levels, limits of bodies. */
const EFFECT_KEY = /^~?effect\//
/**
 * What is added to the context of a request, by Effect and by us, before a handler has it: about ten things. With the eight that
 * there is room for, the ninth copies all that the request began with, at 4 µs (measured).
 */
const CONTEXT_ADDITIONS_MAX = 16
/**
 * What a request begins with. None of the program's services is among it: HttpApi gives each handler all that its group was built
 * with, in a copy of both, which takes 4 µs less so (measured). A route outside of an API takes what it needs when it is built.
 */
const contextOfRequests = <R>(context: Context.Context<R>): Context.Context<R> =>
  Context.makeUnsafe(new Map([...context.mapUnsafe].filter(([key]) => EFFECT_KEY.test(key))), {
    maxDepth: CONTEXT_ADDITIONS_MAX,
  })

class Listener extends Context.Service<Listener, NodeServer>()("renderowl/http/Server/Listener") {
  static readonly layer = (options: ServerOptions, versions: ApiVersions) =>
    Layer.effect(
      Listener,
      Effect.map(ProblemBase, (base) => {
        const requestTimeout = options.requestTimeout ?? Limits.REQUEST_TIMEOUT_MS
        // Node refuses to wait longer for a part than for the whole.
        const headersTimeout = Math.min(options.headersTimeout ?? Limits.HEADERS_TIMEOUT_MS, requestTimeout)
        const server = createServer({
          maxHeaderSize: Limits.HEADER_BYTES_MAX,
          headersTimeout,
          requestTimeout,
          keepAliveTimeout: Limits.KEEP_ALIVE_TIMEOUT_MS,
          connectionsCheckingInterval: Math.min(Limits.TIMEOUT_CHECK_INTERVAL_MS, headersTimeout),
          // The edge refuses a missing Host with a problem; Node would with a bare 400.
          requireHostHeader: false,
          // Nothing here upgrades: `curl --http2` asks for it on every plain request, and is answered in HTTP/1.1.
          shouldUpgradeCallback: () => false,
        })
        server.maxConnections = options.connectionsMax ?? Limits.CONNECTIONS_MAX
        server.timeout = options.silenceTimeout ?? Limits.SILENCE_TIMEOUT_MS
        answerProtocolErrors(server, {
          base,
          apiVersion: versions.current.name,
          strictTransport: options.strictTransport ?? "auto",
        })
        return server
      }),
    )
}

const edgeOptions = (options: ServerOptions, versions: ApiVersions): Edge.EdgeOptions => ({
  versions,
  cors: options.cors === undefined ? undefined : new Cors(options.cors),
  strictTransport: options.strictTransport ?? "auto",
  admission: {
    requestsMax: options.requestsMax ?? Limits.REQUESTS_MAX,
    streamsMax: options.streamsMax ?? Limits.STREAMS_MAX,
  },
  responseBytesMax: options.responseBytesMax ?? Limits.RESPONSE_BYTES_MAX,
  alwaysAdmitted: new Set(options.alwaysAdmitted),
})

/**
 * Serves `routes` until the scope closes. Problems outside of any API, `/errors` and the rest are routes like all others;
 * {@link Drain} is the caller's, so that live streams and health checks see the same one.
 */
export const layer = <A, E, R>(routes: Layer.Layer<A, E, R>, options: ServerOptions) => {
  const grace = options.grace ?? GRACE
  const versions = options.versions ?? ONLY_V1
  const http = Layer.effect(
    HttpServer.HttpServer,
    Effect.gen(function* () {
      const listener = yield* Listener
      const server = yield* NodeHttpServer.make(() => listener, {
        host: options.host,
        port: options.port,
        gracefulShutdownTimeout: grace,
      })
      return HttpServer.make({
        address: server.address,
        serve: (routes, middleware) =>
          Effect.updateContext(
            middleware === undefined ? server.serve(routes) : server.serve(routes, middleware),
            contextOfRequests,
          ),
      })
    }),
  )
  const served = HttpRouter.serve(Layer.provide(routes, Edge.layer(edgeOptions(options, versions))), {
    disableLogger: true,
    disableListenLog: true,
    routerConfig: ROUTING,
  })
  return shutdown(grace).pipe(
    // Built last, so the first thing to happen when the scope closes.
    Layer.provideMerge(served),
    Layer.provideMerge(http),
    Layer.provide(Listener.layer(options, versions)),
    Layer.provide(NodeHttpServer.layerHttpServices),
    Layer.provide(Layer.succeed(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(Limits.BODY_BYTES_MAX))),
  )
}

/** Signals the drain and sees to it that the server can close: by itself it would wait for every connection. */
const shutdown = (grace: Duration.Input) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const server = yield* Listener
      const drain = yield* Drain
      yield* Effect.addFinalizer(() =>
        Effect.andThen(
          drain.begin,
          Effect.sync(() => closeConnections(server, Duration.toMillis(grace))),
        ),
      )
    }),
  )

/** Node's timers and not Effect's clock: sockets live in real time, also under a test's clock. */
const closeConnections = (server: NodeServer, graceMillis: number): void => {
  const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS)
  const deadline = setTimeout(() => server.closeAllConnections(), graceMillis + LAST_WORDS_MS)
  server.once("close", () => {
    clearInterval(idle)
    clearTimeout(deadline)
  })
}
