/**
 * The ceiling of the cache benchmark: bare `HttpRouter` routes that answer a fixed JSON document of `BYTES` bytes, and a 304
 * without anything. Run as a process of its own; prints its port.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"

/** Of `{"text":""}`. */
const FRAME_BYTES = 11
const document = { text: "x".repeat(Math.max(0, Number(process.env["BYTES"]) - FRAME_BYTES)) }

const routes = Layer.mergeAll(
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
