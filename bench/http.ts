/**
 * What does the HTTP API cost over a bare route, and beside another server with the usual plugins?
 *
 * RenderOwl's requests go through the whole chain (identity, authorization, limits, validation, headers), and a submission
 * ends in a durable commit; its jobs are due in a year, so that what is measured is the submission and not the work. The
 * ceiling is a bare `HttpRouter` route, in a process of its own, that only decodes the same JSON or answers a document of
 * the same size. Where Fastify is installed (`npm ci --prefix bench/http/rivals`), it does the same work as well.
 *
 * Beside what was answered in a second stands what a request took of the server's processor: a rate is also that of the
 * client, and of whatever else the machine does.
 */
import { Effect, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import { atMost, type Figure, shareOfCeiling } from "./support/Figure.ts"
import * as HttpLoad from "./support/HttpLoad.ts"
import { compare, type Sample } from "./support/Rounds.ts"
import * as ServerProcess from "./support/ServerProcess.ts"

const CONNECTIONS = 64
/** Requests of one measurement: a tenth of a second. */
const REQUESTS = 1_000
const CACHED_REQUESTS = 2_000
const POST_SHARE = 0.5
const CACHED_SHARE = 0.8
const DELAY_MS = 364 * 24 * 3_600_000

const RIVALS = fileURLToPath(new URL("./http/rivals/", import.meta.url))

const work = {
  type: "system:echo",
  payload: {
    composition: "title-card",
    title: "A day at the harbour",
    width: 1280,
    height: 720,
    seconds: 7.5,
  },
}
const body = JSON.stringify({ ...work, delay_ms: DELAY_MS })

/** What is asked for, as each server calls it. */
interface Requests {
  readonly post: HttpLoad.Request
  readonly get: HttpLoad.Request
  readonly cached: HttpLoad.Request
  readonly unchanged: HttpLoad.Request
}

interface Contestant {
  readonly name: string
  readonly requests: Requests
  readonly sample: (request: HttpLoad.Request, count: number) => Sample
}

const DISCIPLINES = [
  { key: "post", name: "POST /v1/jobs", count: REQUESTS, share: POST_SHARE },
  { key: "get", name: "GET /v1/jobs/{id}", count: REQUESTS, share: null },
  { key: "cached", name: "GET from the cache", count: CACHED_REQUESTS, share: CACHED_SHARE },
  { key: "unchanged", name: "304", count: CACHED_REQUESTS, share: CACHED_SHARE },
] as const

export const http: Benchmark<unknown> = {
  question: "What does the HTTP API cost over a bare route?",
  run: Effect.fnUntraced(function* (note) {
    const owl = yield* openOwl()
    const bytes = (yield* fetched(owl.server, owl.requests.cached)).body.length
    note(`${CONNECTIONS} connections, documents of ${bytes} bytes`)
    const figures = yield* against(owl, yield* openBare(bytes), true)
    if (existsSync(join(RIVALS, "node_modules"))) {
      for (const commits of ["together", "each"] as const)
        figures.push(...(yield* against(owl, yield* openFastify(commits), false)))
    } else note("Fastify does not take part: npm ci --prefix bench/http/rivals")
    return figures
  }),
}

/** RenderOwl beside another server, in each discipline. */
const against = Effect.fnUntraced(function* (owl: Contestant, other: Contestant, isCeiling: boolean) {
  const figures: Array<Figure> = []
  for (const { count, key, name, share } of DISCIPLINES) {
    const { spent, ...rate } = yield* compare(
      owl.sample(owl.requests[key], count),
      other.sample(other.requests[key], count),
    )
    const title = isCeiling ? name : `${name} · ${other.name}`
    figures.push(
      shareOfCeiling({ name: title, unit: "requests/s", ...rate, atLeast: isCeiling ? share : null }),
    )
    if (spent !== undefined)
      figures.push(atMost({ name: `${title}, processor`, unit: "µs", ...spent, below: null }))
  }
  return figures
})

const scriptOf = (path: string) => fileURLToPath(new URL(path, import.meta.url))

const connect = (
  server: ServerProcess.ServerProcess,
): Effect.Effect<Contestant["sample"], never, Scope.Scope> =>
  Effect.map(HttpLoad.open(server.port, CONNECTIONS), (send) => (request, count) => ({
    work: count,
    prepare: Effect.succeed(send(request, count)),
    spent: server.processorUs,
  }))

const openOwl = Effect.fnUntraced(function* () {
  const folder = yield* benchFolder
  const server = yield* ServerProcess.start(scriptOf("../src/main.ts"), ["serve"], {
    DATA_DIR: folder,
    PORT: "0",
  })
  const headers = headersWith(readFileSync(join(folder, "admin.key"), "utf8").trim())
  const post = { method: "POST", path: "/v1/jobs", headers, body, status: 202 } as const
  const finished = yield* idOf(server, {
    ...post,
    headers: { ...headers, Prefer: "wait=5" },
    body: JSON.stringify(work),
  })
  const cached = { method: "GET", path: `/v1/jobs/${finished}`, headers, status: 200 } as const
  const get = { ...cached, path: `/v1/jobs/${yield* idOf(server, post)}` }
  const unchanged = yield* conditional(server, cached)
  return {
    name: "RenderOwl",
    server,
    requests: { post, get, cached, unchanged },
    sample: yield* connect(server),
  }
})

const openBare = Effect.fnUntraced(function* (bytes: number) {
  const server = yield* ServerProcess.start(scriptOf("./support/BareServer.ts"), [], { BYTES: String(bytes) })
  const headers = headersWith("unused")
  const document = { method: "GET", path: "/documents/1", headers, status: 200 } as const
  const requests: Requests = {
    post: { method: "POST", path: "/v1/jobs", headers, body, status: 202 },
    get: document,
    cached: document,
    unchanged: { ...document, path: "/unchanged/1", status: 304 },
  }
  return { name: "bare", requests, sample: yield* connect(server) }
})

const openFastify = Effect.fnUntraced(function* (commits: "each" | "together") {
  const key = randomBytes(32).toString("base64url")
  const server = yield* ServerProcess.start(join(RIVALS, "FastifyServer.ts"), [], {
    FILE: join(yield* benchFolder, "fastify.db"),
    KEY: key,
    COMMITS: commits,
    NODE_ENV: "production",
  })
  const headers = headersWith(key)
  const post = { method: "POST", path: "/v1/jobs", headers, body, status: 202 } as const
  const id = yield* idOf(server, post)
  const cached = { method: "GET", path: `/cached/${id}`, headers, status: 200 } as const
  const get = { ...cached, path: `/v1/jobs/${id}` }
  const unchanged = yield* conditional(server, cached)
  return {
    name: commits === "each" ? "Fastify, a commit each" : "Fastify, commits together",
    requests: { post, get, cached, unchanged },
    sample: yield* connect(server),
  }
})

const headersWith = (key: string) => ({
  "Content-Type": "application/json",
  Authorization: `Bearer ${key}`,
})

/** The same request from somebody who has the answer. */
const conditional = (server: ServerProcess.ServerProcess, request: HttpLoad.Request) =>
  Effect.map(
    fetched(server, request),
    ({ etag }): HttpLoad.Request => ({
      ...request,
      headers: { ...request.headers, "If-None-Match": etag },
      status: 304,
    }),
  )

const idOf = (server: ServerProcess.ServerProcess, request: HttpLoad.Request) =>
  Effect.map(fetched(server, request), (answer) => (JSON.parse(answer.body) as { readonly id: string }).id)

const fetched = ({ port }: ServerProcess.ServerProcess, { body, headers, method, path }: HttpLoad.Request) =>
  Effect.promise(async () => {
    // As the load asks: an answer in another coding has another tag.
    const init = {
      method,
      headers: { ...headers, "Accept-Encoding": "identity" },
      ...(body !== undefined && { body }),
    }
    const response = await fetch(`http://127.0.0.1:${port}${path}`, init)
    return { body: await response.text(), etag: response.headers.get("etag") ?? "" }
  })

if (import.meta.main) await runBenchmark(http)
