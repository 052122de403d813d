/**
 * How much the tester itself can do here, with as many connections: what is near to that says more about the tester than
 * about the server.
 */
import { Effect } from "effect"
import { once } from "node:events"
import { Worker } from "node:worker_threads"
import { runLoad } from "./LoadRun.ts"
import { makeRequester, type Request } from "./Requester.ts"

const CALIBRATION_MS = 1_000
/** The first requests open connections and find the code cold. */
const WARM_UP_MS = 300
const TIMEOUT_MS = 5_000

const REQUEST: Request = { endpoint: "GET /live", method: "GET", path: "/live" }

/** Requests a second against a server that does nothing. */
export const measureCeiling = (concurrency: number): Effect.Effect<number> =>
  Effect.gen(function* () {
    const worker = yield* Effect.acquireRelease(
      Effect.sync(() => new Worker(new URL("./CeilingServer.ts", import.meta.url))),
      (worker) => Effect.promise(() => worker.terminate()),
    )
    const [port] = yield* Effect.promise(() => once(worker, "message"))
    const requester = yield* makeRequester({
      target: {
        origin: `http://127.0.0.1:${String(port)}`,
        address: "127.0.0.1",
        family: 4,
        isLoopback: true,
      },
      connections: concurrency,
      timeoutMs: TIMEOUT_MS,
    })
    const plan = { requester, next: () => REQUEST, concurrency }
    yield* runLoad({ ...plan, durationMs: WARM_UP_MS })
    const { elapsedMs, record } = yield* runLoad({ ...plan, durationMs: CALIBRATION_MS })
    return Math.round((record.service.count / elapsedMs) * 1_000)
  }).pipe(Effect.scoped)
