/** Servers of a test's own making, on loopback, each gone with the scope. */
import { Effect, type Scope } from "effect"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import type { Target } from "../../../src/ops/load/Target.ts"

export const serve = (
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Effect.Effect<Target, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const server = createServer(answer).listen(0, "127.0.0.1")
        await once(server, "listening")
        return server
      }),
      (server) =>
        Effect.promise(async () => {
          server.closeAllConnections()
          server.close()
          await once(server, "close")
        }),
    ),
    (server) => ({
      origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      address: "127.0.0.1",
      family: 4,
      isLoopback: true,
    }),
  )
