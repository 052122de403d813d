/**
 * The ceilings of the HTTP benchmark: bare `HttpRouter` routes, whose answers are of the same size as RenderOwl's, with as many
 * headers. Two decode the same JSON, one of which then keeps nothing, while the other commits a job with plain SQLite before it answers; one
 * answers a fixed document, and one a 304 without anything. Run as a process of its own; prints its address.
 *
 * Environment: `FOLDER` for the database, and `ANSWERS` as {@link BareAnswers}.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Exit, Layer } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import { NewJob } from "../../src/api/v1/jobs/Api.ts"
import { withHeaders } from "../../src/http/ResponseHeaders.ts"
import { RawJobs } from "./RawJobs.ts"

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

const newJob = HttpServerRequest.schemaBodyJson(NewJob)

const routes = Layer.unwrap(
  Effect.map(RawJobs.open(process.env["FOLDER"]!), (jobs) => {
    let waiting: Array<() => void> = []
    /** Those of one turn of the event loop share a commit. */
    const durable = Effect.callback<void>((resume) => {
      if (waiting.push(() => resume(Exit.void)) > 1) return
      setImmediate(() => {
        const group = waiting
        waiting = []
        jobs.enqueue(RawJobs.makeIds(group.length), group.length)
        for (const answer of group) answer()
      })
    })
    return Layer.mergeAll(
      HttpRouter.add("POST", "/v1/jobs", Effect.map(newJob, taken)),
      HttpRouter.add("POST", "/durable/jobs", newJob.pipe(Effect.andThen(durable), Effect.map(taken))),
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
