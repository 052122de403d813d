/**
 * The ceiling of the HTTP benchmark: bare `HttpRouter` routes. One decodes the same JSON and answers with as much of it, one
 * answers a fixed document of `BYTES` bytes, and one a 304 without anything. Run as a process of its own; prints its address.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import { NewJob } from "../../src/api/v1/jobs/Api.ts"

/** Of `{"text":""}`. */
const FRAME_BYTES = 11
const document = { text: "x".repeat(Math.max(0, Number(process.env["BYTES"]) - FRAME_BYTES)) }
const submitted = { id: "job_01k8w3e5r7fm2vx9q4ztd6yhbn", text: "x".repeat(800) }

const routes = Layer.mergeAll(
  HttpRouter.add(
    "POST",
    "/v1/jobs",
    Effect.map(HttpServerRequest.schemaBodyJson(NewJob), (job) =>
      HttpServerResponse.jsonUnsafe({ ...submitted, payload: job.payload }, { status: 202 }),
    ),
  ),
  HttpRouter.add(
    "GET",
    "/documents/:id",
    Effect.sync(() => HttpServerResponse.jsonUnsafe(document)),
  ),
  HttpRouter.add(
    "GET",
    "/unchanged/:id",
    Effect.sync(() => HttpServerResponse.empty({ status: 304 })),
  ),
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
