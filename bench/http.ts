/**
 * What does the HTTP API cost over a bare route?
 *
 * Submitting goes through the whole chain (identity, authorization, limits, validation) and ends in a durable commit; the
 * ceiling is a bare `HttpRouter` route, in a process of its own, that only decodes the same JSON. The jobs are due in a
 * year, so that what is measured is the submission and not the work. Looking one up is compared with a bare route that
 * answers a fixed document of about the same size.
 */
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { join } from "node:path"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import { shareOfCeiling } from "./support/Figure.ts"
import * as HttpLoad from "./support/HttpLoad.ts"
import { compare } from "./support/Rounds.ts"
import * as ServerProcess from "./support/ServerProcess.ts"

const CONNECTIONS = 64
/** Requests of one measurement: about a third of a second. */
const REQUESTS = 1_000
const POST_SHARE = 0.5
const UNIT = "requests/s"
const DELAY_MS = 364 * 24 * 3_600_000

const scriptOf = (path: string) => fileURLToPath(new URL(path, import.meta.url))

const job = JSON.stringify({
  type: "system:echo",
  payload: {
    composition: "title-card",
    title: "A day at the harbour",
    width: 1280,
    height: 720,
    seconds: 7.5,
  },
  delay_ms: DELAY_MS,
})

export const http: Benchmark<unknown> = {
  question: "What does the HTTP API cost over a bare route?",
  run: Effect.fnUntraced(function* () {
    const folder = yield* benchFolder
    const owl = yield* ServerProcess.start(scriptOf("../src/main.ts"), ["serve"], {
      DATA_DIR: folder,
      PORT: "0",
    })
    const bare = yield* ServerProcess.start(scriptOf("./support/BareServer.ts"))
    const headers = {
      "Content-Type": "application/json",
      Authorization: `Bearer ${readFileSync(join(folder, "admin.key"), "utf8").trim()}`,
    }
    const toOwl = yield* HttpLoad.open(owl, CONNECTIONS)
    const toBare = yield* HttpLoad.open(bare, CONNECTIONS)

    const id = yield* submitOne(owl, headers)
    const measure = (request: HttpLoad.Request) =>
      compare(
        { work: REQUESTS, prepare: Effect.succeed(toOwl(request, REQUESTS)) },
        { work: REQUESTS, prepare: Effect.succeed(toBare(request, REQUESTS)) },
      )
    const post = yield* measure({ method: "POST", path: "/v1/jobs", headers, body: job, status: 202 })
    const get = yield* measure({ method: "GET", path: `/v1/jobs/${id}`, headers, status: 200 })
    return [
      shareOfCeiling({
        name: `POST /v1/jobs, ${CONNECTIONS} connections`,
        unit: UNIT,
        ...post,
        atLeast: POST_SHARE,
      }),
      shareOfCeiling({
        name: `GET /v1/jobs/{id}, ${CONNECTIONS} connections`,
        unit: UNIT,
        ...get,
        atLeast: null,
      }),
    ]
  }),
}

const submitOne = (port: number, headers: Readonly<Record<string, string>>) =>
  Effect.promise(async () => {
    const response = await fetch(`http://127.0.0.1:${port}/v1/jobs`, { method: "POST", headers, body: job })
    return ((await response.json()) as { readonly id: string }).id
  })

if (import.meta.main) await runBenchmark(http)
