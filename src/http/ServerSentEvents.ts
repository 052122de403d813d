/**
 * Live answers: an Effect `Stream` as `text/event-stream`. The stream is pulled at the pace of the reader, so a slow one
 * costs no memory, only a place; one that is far too slow is sent away and told when to come back. Silence is broken by
 * comments, a drain ends the stream politely, and a failure shows as a problem, never as a cause. Clients come back by
 * themselves and say with `Last-Event-ID` where they were.
 *
 * @source https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import { Cause, Clock, Duration, Effect, Schema, Stream } from "effect"
import { Sse } from "effect/encoding"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiSchema } from "effect/http-api"
import { Drain } from "./Drain.ts"
import { ProblemBase } from "./Problem.ts"
import { completeDocument, documentOf } from "./ProblemResponse.ts"
import { InternalErrorProblem } from "./ServiceProblems.ts"
import { CurrentRequest } from "./RequestIdentity.ts"
import { InvalidRequestProblem } from "./RequestProblems.ts"

/** Proxies close a silent connection after 30 to 60 s; the standard recommends a comment every 15. */
const HEARTBEAT_INTERVAL: Duration.Input = "15 seconds"
/** How long a client waits before it connects again. */
const RETRY_DELAY: Duration.Input = "2 seconds"

/**
 * How long a reader may take over what it was sent while more of it waits. One that takes nothing at all is cut off with
 * its connection, see `SILENCE_TIMEOUT_MS`.
 */
const READER_PATIENCE: Duration.Input = "30 seconds"
/** How long a reader that was too slow waits before it connects again. */
const SLOW_RETRY_DELAY: Duration.Input = "10 seconds"

/** One event; `data` is any JSON value, `id` is what the client sends back to resume. */
export interface ServerSentEvent {
  readonly id?: number | string
  readonly event?: string
  readonly data: unknown
}

/** The success schema of an endpoint that answers with {@link respond}; it is there for the contract and OpenAPI. */
export const EventStream = Schema.String.annotate({
  description: "Server-sent events; `data` is JSON. A failure arrives as an event named `problem`.",
}).pipe(HttpApiSchema.asText({ contentType: "text/event-stream" }))

/**
 * The answer for a stream of events. It ends when the stream ends or fails, when the client leaves or is too slow, or when
 * the server drains; the options are for tests.
 */
export const respond = Effect.fnUntraced(function* <E, R>(
  events: Stream.Stream<ServerSentEvent, E, R>,
  options?: {
    readonly heartbeat?: Duration.Input
    readonly retry?: Duration.Input
    readonly patience?: Duration.Input
  },
) {
  const context = yield* Effect.context<R>()
  const drain = yield* Drain
  const retry = retryAfter(options?.retry ?? RETRY_DELAY)
  const heartbeats = Stream.fromEffectRepeat(
    Effect.as(Effect.sleep(options?.heartbeat ?? HEARTBEAT_INTERVAL), ": still here\n\n"),
  )
  const live = events.pipe(
    Stream.map(encode),
    Stream.interruptWhen(drain.signal),
    Stream.provideContext(context),
    Stream.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause) ? Stream.empty : Stream.fromEffect(failed(cause)),
    ),
    // A rendezvous: neither side runs ahead of the reader.
    Stream.merge(heartbeats, { haltStrategy: "left" }),
  )
  const farewell = Stream.suspend(() =>
    drain.isDraining() ? Stream.succeed(`: the server is stopping\n${retry}`) : Stream.empty,
  )
  // The first bytes leave at once, so that clients and proxies see the connection open.
  const body = Stream.succeed(retry).pipe(
    Stream.concat(live),
    Stream.concat(farewell),
    withPatience(options?.patience ?? READER_PATIENCE),
    Stream.encodeText,
  )
  return HttpServerResponse.stream(body, {
    contentType: "text/event-stream",
    headers: {
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    },
  })
})

const retryAfter = (delay: Duration.Input): string =>
  `retry: ${Duration.toMillis(Duration.fromInputUnsafe(delay))}\n\n`

/** When the next text is asked for long after the last was handed over, the reader has taken so long over that: it is sent away. */
const withPatience =
  (patience: Duration.Input) =>
  <E, R>(texts: Stream.Stream<string, E, R>): Stream.Stream<string, E, R> => {
    const patienceMs = Duration.toMillis(Duration.fromInputUnsafe(patience))
    const farewell = `: the reader is too slow\n${retryAfter(SLOW_RETRY_DELAY)}`
    return Stream.transformPull(texts, (pull) =>
      Effect.sync(() => {
        let handedAt = Number.POSITIVE_INFINITY
        let isOver = false
        return Effect.flatMap(Clock.currentTimeMillis, (now) => {
          if (isOver) return Cause.done()
          if (now - handedAt > patienceMs) {
            isOver = true
            return Effect.succeed([farewell] as const)
          }
          return Effect.tap(pull, () =>
            Effect.map(Clock.currentTimeMillis, (later) => void (handedAt = later)),
          )
        })
      }),
    )
  }

/**
 * The version that the client saw last, from `Last-Event-ID`; `undefined` on a first connection. Event ids are versions
 * of a stream, so anything but a whole number was not ours.
 */
export const lastEventId = ({
  headers,
}: HttpServerRequest.HttpServerRequest): Effect.Effect<number | undefined, InvalidRequestProblem> => {
  const text = headers["last-event-id"]
  if (text === undefined || text === "") return Effect.undefined
  const version = Number(text)
  return /^\d{1,15}$/.test(text)
    ? Effect.succeed(version)
    : Effect.fail(new InvalidRequestProblem({ detail: "Last-Event-ID is not an id that this stream gave." }))
}

const encode = ({ data, event, id }: ServerSentEvent): string =>
  Sse.encoder.write({
    _tag: "Event",
    event: event ?? "message",
    // A line break would end the field and start one of the writer's choosing.
    id: id === undefined ? undefined : String(id).replaceAll(/[\r\n\0]/g, ""),
    data: JSON.stringify(data) ?? "null",
  })

/** `problem` and not `error`: browsers dispatch their own connection errors under that name. */
const failed = Effect.fnUntraced(function* (cause: Cause.Cause<unknown>) {
  const identity = yield* CurrentRequest
  const base = yield* ProblemBase
  yield* Effect.logError("A live stream failed", cause)
  const { instance: _, ...document } = completeDocument(documentOf(InternalErrorProblem.page), {
    base,
    instance: "",
    traceId: identity?.traceId ?? "",
  })
  return encode({ event: "problem", data: document })
})
