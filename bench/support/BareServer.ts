/**
 * The ceilings of the HTTP benchmark: bare `HttpRouter` routes, whose answers are of the same size as RenderOwl's, with as many
 * headers. Two decode the same JSON: one keeps nothing, the other commits a job with plain SQLite before it answers. One answers
 * a fixed document, and one a 304 without anything. Run as a process of its own; prints its address.
 *
 * Environment: `FOLDER` for the database, and `ANSWERS` as {@link BareAnswers}.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Exit, Layer } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import { NewJob } from "../../src/api/v1/jobs/Api.ts"
import { withHeaders } from "../../src/http/ResponseHeaders.ts"
import { type RawEnqueue, RawJobs } from "./RawJobs.ts"

/** What an answer has besides its document. */
export interface BareAnswer {
  /** Bytes of the document. */
  readonly bytes: number
  readonly headers: Readonly<Record<string, string>>
}

/** How each route answers. */
export interface BareAnswers {
  readonly post: BareAnswer
  readonly document: BareAnswer
  readonly unchanged: BareAnswer
}

/** Of `{"text":""}`. */
const FRAME_BYTES = 11
const documentOf = ({ bytes }: BareAnswer) => ({ text: "x".repeat(Math.max(0, bytes - FRAME_BYTES)) })

const answers = JSON.parse(process.env["ANSWERS"]!) as BareAnswers
/** The quickest way to give an answer its headers: Effect's own takes 6 µs more (measured). */
const withHeadersOf = ({ headers }: BareAnswer, response: HttpServerResponse.HttpServerResponse) =>
  withHeaders(response, { ...response.headers, ...headers })

const document = documentOf(answers.document)
const submitted = documentOf(answers.post)
const taken = () => withHeadersOf(answers.post, HttpServerResponse.jsonUnsafe(submitted, { status: 202 }))

/** As long as RenderOwl's: who asked, under which id, in which trace. */
const METADATA = {
  principal: "key_01m8axrdpge5wbtyezyqx97s5n",
  correlation_id: "req_0ef0fca6abb484c9358d3918440a0adb",
  traceparent: "00-b02c221e74e8e8e7349c2458ab55d5ee-931a22576446518d-01",
}

const rowsOf = ({ delay_ms: delay = 0, payload, type }: typeof NewJob.Type): RawEnqueue => {
  const dueAt = Date.now() + delay
  const data = { queue: "default", type, priority: "normal", payload, max_attempts: 3, timeout_ms: 300_000 }
  return {
    id: RawJobs.nextId(),
    dueAt,
    data: JSON.stringify({ ...data, due_at: dueAt }),
    metadata: JSON.stringify(METADATA),
  }
}

const newJob = HttpServerRequest.schemaBodyJson(NewJob)

const routes = Layer.unwrap(
  Effect.map(RawJobs.open(process.env["FOLDER"]!), (jobs) => {
    let waiting: Array<{ readonly job: RawEnqueue; readonly durable: () => void }> = []
    /** Those of one turn of the event loop share a commit. */
    const enqueue = (job: RawEnqueue) =>
      Effect.callback<void>((resume) => {
        if (waiting.push({ job, durable: () => resume(Exit.void) }) > 1) return
        setImmediate(() => {
          const group = waiting
          waiting = []
          jobs.enqueueTogether(group.map(({ job }) => job))
          for (const { durable } of group) durable()
        })
      })
    return Layer.mergeAll(
      HttpRouter.add("POST", "/v1/jobs", Effect.map(newJob, taken)),
      HttpRouter.add(
        "POST",
        "/durable/jobs",
        newJob.pipe(Effect.map(rowsOf), Effect.flatMap(enqueue), Effect.map(taken)),
      ),
      HttpRouter.add(
        "GET",
        "/documents/:id",
        Effect.sync(() => withHeadersOf(answers.document, HttpServerResponse.jsonUnsafe(document))),
      ),
      HttpRouter.add(
        "GET",
        "/unchanged/:id",
        Effect.sync(() => withHeadersOf(answers.unchanged, HttpServerResponse.empty({ status: 304 }))),
      ),
    )
  }),
)

const announce = Layer.effectDiscard(
  Effect.map(HttpServer.HttpServer, ({ address }) =>
    process.stdout.write(`${HttpServer.formatAddress(address)}\n`),
  ),
)

Effect.runFork(
  Layer.launch(
    announce.pipe(
      Layer.provideMerge(HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true })),
      Layer.provide(NodeHttpServer.layer(() => createServer(), { host: "127.0.0.1", port: 0 })),
    ),
  ),
)
