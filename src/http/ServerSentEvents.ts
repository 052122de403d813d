/**
 * Live answers: an Effect `Stream` as `text/event-stream`. The stream is pulled at the pace of the reader, so a slow one
 * costs no memory; silence is broken by comments, a drain ends it politely, and a failure shows as a problem, never as
 * a cause. Clients come back by themselves and say with `Last-Event-ID` where they were.
 *
 * @source https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import { Cause, Duration, Effect, Schema, Stream } from "effect"
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
 * The answer for a stream of events. It ends when the stream ends or fails, when the client leaves, or when the server
 * drains; `heartbeat` and `retry` are for tests.
 */
export const respond = Effect.fnUntraced(function* <E, R>(
  events: Stream.Stream<ServerSentEvent, E, R>,
  options?: { readonly heartbeat?: Duration.Input; readonly retry?: Duration.Input },
) {
  const context = yield* Effect.context<R>()
  const drain = yield* Drain
  const retry = `retry: ${Duration.toMillis(options?.retry ?? RETRY_DELAY)}\n\n`
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
  const body = Stream.succeed(retry).pipe(Stream.concat(live), Stream.concat(farewell), Stream.encodeText)
  return HttpServerResponse.stream(body, {
    contentType: "text/event-stream",
    headers: {
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    },
  })
})

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
  yield* Effect.annotateLogs(Effect.logError("A live stream failed", cause), { trace_id: identity?.traceId })
  const { instance: _, ...document } = completeDocument(documentOf(InternalErrorProblem.page), {
    base,
    instance: "",
    traceId: identity?.traceId ?? "",
  })
  return encode({ event: "problem", data: document })
})
