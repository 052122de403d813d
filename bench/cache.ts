/**
 * What does an answer from the cache cost over a bare route?
 *
 * The same resource is asked for over and over, through the whole chain (identity, authorization, limits, headers), and is
 * answered from memory. The ceiling is a bare `HttpRouter` route, in a process of its own, that answers a document of the
 * same size, or nothing but a 304. The last figure is the same route with nothing kept: a job that has not ended.
 */
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import { shareOfCeiling } from "./support/Figure.ts"
import * as HttpLoad from "./support/HttpLoad.ts"
import { compare } from "./support/Rounds.ts"
import * as ServerProcess from "./support/ServerProcess.ts"

const CONNECTIONS = 64
/** Requests of one measurement: about a tenth of a second. */
const REQUESTS = 2_000
const CACHED_SHARE = 0.8
const UNIT = "requests/s"
const DELAY_MS = 364 * 24 * 3_600_000

const scriptOf = (path: string) => fileURLToPath(new URL(path, import.meta.url))

const echo = { type: "system:echo", payload: { title: "A day at the harbour", seconds: 7.5 } }

export const cache: Benchmark<unknown> = {
  question: "What does an answer from the cache cost over a bare route?",
  run: Effect.fnUntraced(function* (note) {
    const folder = yield* benchFolder
    const owl = yield* ServerProcess.start(scriptOf("../src/main.ts"), ["serve"], {
      DATA_DIR: folder,
      PORT: "0",
    })
    const key = readFileSync(join(folder, "admin.key"), "utf8").trim()
    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${key}` }
    const finished = yield* submit(owl, headers, echo)
    const waiting = yield* submit(owl, headers, { ...echo, delay_ms: DELAY_MS })
    const bytes = (yield* fetched(owl, `/v1/jobs/${finished}`, headers)).length
    note(`documents of ${bytes} bytes`)
    const bare = yield* ServerProcess.start(scriptOf("./support/BareDocument.ts"), [], {
      BYTES: String(bytes),
    })
    const toOwl = yield* HttpLoad.open(owl, CONNECTIONS)
    const toBare = yield* HttpLoad.open(bare, CONNECTIONS)
    const measure = (options: {
      readonly path: string
      readonly bare: string
      readonly status: number
      readonly headers?: Readonly<Record<string, string>>
    }) => {
      const request = {
        method: "GET" as const,
        status: options.status,
        headers: { ...headers, ...options.headers },
      }
      return compare(
        { work: REQUESTS, prepare: Effect.succeed(toOwl({ ...request, path: options.path }, REQUESTS)) },
        { work: REQUESTS, prepare: Effect.succeed(toBare({ ...request, path: options.bare }, REQUESTS)) },
      )
    }
    const path = `/v1/jobs/${finished}`
    const hit = yield* measure({ path, bare: `/documents/${finished}`, status: 200 })
    const unchanged = yield* measure({
      path,
      bare: `/unchanged/${finished}`,
      status: 304,
      headers: { "If-None-Match": "*" },
    })
    const computed = yield* measure({
      path: `/v1/jobs/${waiting}`,
      bare: `/documents/${waiting}`,
      status: 200,
    })
    const figure = (name: string, measured: typeof hit, atLeast: number | null) =>
      shareOfCeiling({ name: `${name}, ${CONNECTIONS} connections`, unit: UNIT, ...measured, atLeast })
    return [
      figure("GET from the cache", hit, CACHED_SHARE),
      figure("304", unchanged, CACHED_SHARE),
      figure("GET worked out", computed, null),
    ]
  }),
}

const submit = (port: number, headers: Readonly<Record<string, string>>, job: object) =>
  Effect.promise(async () => {
    const response = await fetch(`http://127.0.0.1:${port}/v1/jobs`, {
      method: "POST",
      headers: { ...headers, ...("delay_ms" in job ? {} : { Prefer: "wait=5" }) },
      body: JSON.stringify(job),
    })
    return ((await response.json()) as { readonly id: string }).id
  })

const fetched = (port: number, path: string, headers: Readonly<Record<string, string>>) =>
  Effect.promise(async () => (await fetch(`http://127.0.0.1:${port}${path}`, { headers })).text())

if (import.meta.main) await runBenchmark(cache)
