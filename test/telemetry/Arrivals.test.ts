import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { once } from "node:events"
import { createServer, Agent, request } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout } from "node:timers/promises"
import { Worker } from "node:worker_threads"
import { answered, Arrivals } from "../../src/telemetry/Arrivals.ts"

const BUSY_MS = 300

/** Nothing else happens in this process meanwhile. */
const beBusy = () => {
  const end = performance.now() + BUSY_MS
  while (performance.now() < end);
}

interface Asked {
  /** How long ago each request had arrived when it was read, in milliseconds. */
  readonly waits: ReadonlyArray<number>
  /** Sends a request, and ends with its answer. */
  readonly ask: () => Promise<void>
}

const server: Effect.Effect<Asked, never, Scope.Scope> = Effect.gen(function* () {
  const arrivals = yield* Arrivals.make
  const waits: Array<number> = []
  const server = createServer((_, response) => {
    waits.push(performance.now() - arrivals.now())
    response.end()
  })
  const agent = new Agent({ keepAlive: true })
  yield* Effect.acquireRelease(
    Effect.promise(() => once(server.listen(0, "127.0.0.1"), "listening")),
    () =>
      Effect.sync(() => {
        agent.destroy()
        server.close()
      }),
  )
  const { port } = server.address() as AddressInfo
  const ask = async () => {
    const [response] = await once(request({ port, agent }).end(), "response")
    await once(response.resume(), "end")
  }
  return { waits, ask }
})

describe("the arrival of a request", () => {
  it.live("was while the loop was busy, where it was: not when it came to read", () =>
    Effect.gen(function* () {
      const { ask, waits } = yield* server
      yield* Effect.promise(ask)
      for (const isBusyInTimer of [true, false]) {
        yield* Effect.promise(async () => {
          // In a timer, and in what follows the reading of a socket.
          if (isBusyInTimer) await setTimeout(1)
          else await ask()
          const answered = ask()
          beBusy()
          await answered
        })
        // Taken to be the middle of the time.
        assert.isAbove(waits.at(-1)!, BUSY_MS / 3)
      }
    }).pipe(Effect.scoped),
  )

  it.live("was just now, where the loop had rested", () =>
    Effect.gen(function* () {
      const { ask, waits } = yield* server
      yield* Effect.promise(ask)
      for (let i = 0; i < 5; i++) {
        yield* Effect.promise(async () => {
          beBusy()
          await setTimeout(20)
          await ask()
        })
      }
      assert.isBelow(Math.min(...waits), BUSY_MS / 3)
    }).pipe(Effect.scoped),
  )

  it.live("was with the answer to the one before, on a connection that was answered meanwhile", () =>
    Effect.gen(function* () {
      const arrivals = yield* Arrivals.make
      const waits: Array<number> = []
      const server = createServer(({ socket }, response) => {
        waits.push(performance.now() - arrivals.ofRequest(socket))
        response.end(() => setImmediate(beBusy))
        answered(socket, performance.now())
      })
      yield* Effect.acquireRelease(
        Effect.promise(() => once(server.listen(0, "127.0.0.1"), "listening")),
        () => Effect.sync(() => server.close()),
      )
      yield* Effect.acquireRelease(
        // On a thread of its own, so that it asks while the loop of the server is busy.
        Effect.sync(() => new Worker(ASKER, { eval: true, workerData: server.address() })),
        (asker) => Effect.promise(() => asker.terminate()),
      )
      yield* Effect.promise(async () => {
        while (waits.length < 4) await setTimeout(BUSY_MS)
      })
      for (const wait of waits.slice(1, 4)) assert.isAbove(wait, 0.9 * BUSY_MS)
    }).pipe(Effect.scoped),
  )
})

describe("the arrival of an answer", () => {
  it.live("was not before the request was sent", () =>
    Effect.gen(function* () {
      const arrivals = yield* Arrivals.make
      yield* Effect.promise(() => setTimeout(1))
      beBusy()
      const sentAt = performance.now()
      assert.isAtLeast(arrivals.now(sentAt), sentAt)
      assert.isAtMost(arrivals.now(sentAt), performance.now())
    }).pipe(Effect.scoped),
  )
})

/** Asks again as soon as it is answered, on one connection. */
const ASKER = `
  const socket = require("node:net").connect(require("node:worker_threads").workerData.port, "127.0.0.1")
  const ask = () => socket.write("GET / HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n")
  socket.on("data", ask)
  ask()
`
