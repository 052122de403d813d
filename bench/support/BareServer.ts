/**
 * The ceiling of the HTTP benchmark: one bare `HttpRouter` route that decodes the same JSON and answers with as much of it,
 * and one that answers a fixed document. Run as a process of its own; prints its port.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import { NewJob } from "../../src/api/v1/jobs/Api.ts"

const document = { id: "job_01k8w3e5r7fm2vx9q4ztd6yhbn", text: "x".repeat(800) }

const routes = Layer.mergeAll(
  HttpRouter.add(
    "POST",
    "/v1/jobs",
    Effect.map(HttpServerRequest.schemaBodyJson(NewJob), (job) =>
      HttpServerResponse.jsonUnsafe({ ...document, payload: job.payload }, { status: 202 }),
    ),
  ),
  HttpRouter.add(
    "GET",
    "/v1/jobs/:id",
    Effect.sync(() => HttpServerResponse.jsonUnsafe(document)),
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
