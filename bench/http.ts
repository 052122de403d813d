/**
 * What does the HTTP API cost over a bare route, and beside another server with the usual plugins?
 *
 * RenderOwl's requests go through the whole chain (identity, authorization, limits, validation, headers, metrics), and a
 * submission ends in a durable commit; its jobs are due in a year, so that what is measured is the submission and not the
 * work. The ceilings are bare `HttpRouter` routes, in a process of their own, whose answers are of the same size, headers
 * included: Node takes 2 µs for those alone. Of a submission there are two, as the promise that it is durable costs most of
 * it: a route that decodes the same JSON and commits a job with plain SQLite, and one that keeps nothing. Where Fastify is
 * installed (`npm ci --prefix bench/http/rivals`), it does the same work as well.
 *
 * Beside what was answered in a second stands what a request took of the server's processor: a rate is also that of the
 * client, and of whatever else the machine does.
 */
import { Effect, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { BareAnswers } from "./support/BareServer.ts"
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
/** Of each kind, before anything is measured: until then, much of a server is not compiled yet. */
const WARM_UP_REQUESTS = 20_000
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
  /** Where nothing is kept; absent where there is no such thing. */
  readonly decode?: HttpLoad.Request
  readonly get: HttpLoad.Request
  readonly cached: HttpLoad.Request
  readonly unchanged: HttpLoad.Request
}

interface Contestant {
  readonly name: string
  readonly requests: Requests
  readonly sample: (request: HttpLoad.Request, count: number) => Sample
}

type Owl = Contestant & { readonly server: ServerProcess.ServerProcess }

/** `key` is what RenderOwl is asked for, and the others as well where they have no `against` of their own. */
const DISCIPLINES = [
  { key: "post", name: "POST /v1/jobs", count: REQUESTS, share: POST_SHARE },
  { key: "post", against: "decode", name: "POST, the ceiling keeps nothing", count: REQUESTS, share: null },
  { key: "get", name: "GET /v1/jobs/{id}", count: REQUESTS, share: null },
  { key: "cached", name: "GET from the cache", count: CACHED_REQUESTS, share: CACHED_SHARE },
  { key: "unchanged", name: "304", count: CACHED_REQUESTS, share: CACHED_SHARE },
] as const

export const http: Benchmark<unknown> = {
  question: "What does the HTTP API cost over a bare route?",
  run: Effect.fnUntraced(function* (note) {
    const owl = yield* openOwl()
    const answers = yield* bareAnswers(owl)
    note(`${CONNECTIONS} connections, documents of ${answers.document.bytes} bytes`)
    const figures = yield* against(owl, yield* openBare(answers), true)
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
  for (const { count, key, name, share, ...discipline } of DISCIPLINES) {
    const asked = other.requests["against" in discipline ? discipline.against : key]
    if (asked === undefined) continue
    yield* warmUp(owl.sample(owl.requests[key], WARM_UP_REQUESTS))
    yield* warmUp(other.sample(asked, WARM_UP_REQUESTS))
    const { spent, ...rate } = yield* compare(
      owl.sample(owl.requests[key], count),
      other.sample(asked, count),
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

const warmUp = ({ prepare }: Sample) => Effect.flatten(prepare)

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
    // No line for each request, as nobody else here writes one: what it costs, `bench/telemetry.ts` says.
    LOG_LEVEL: "warn",
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

/** Headers that Node sees to by itself. */
const OF_THE_CONNECTION = new Set(["connection", "keep-alive", "date", "content-length", "content-type"])

/** As RenderOwl answers, but for what is in it. */
const bareAnswers = Effect.fnUntraced(function* ({ requests, server }: Owl) {
  const answer = Effect.fnUntraced(function* (request: HttpLoad.Request) {
    const { body, headers } = yield* fetched(server, request)
    const own = Object.entries(headers).filter(([name]) => !OF_THE_CONNECTION.has(name))
    return { bytes: Buffer.byteLength(body), headers: Object.fromEntries(own) }
  })
  return {
    post: yield* answer(requests.post),
    document: yield* answer(requests.cached),
    unchanged: yield* answer(requests.unchanged),
  } satisfies BareAnswers
})

const openBare = Effect.fnUntraced(function* (answers: BareAnswers) {
  const server = yield* ServerProcess.start(scriptOf("./support/BareServer.ts"), [], {
    FOLDER: yield* benchFolder,
    ANSWERS: JSON.stringify(answers),
  })
  const headers = headersWith("unused")
  const post = { method: "POST", path: "/durable/jobs", headers, body, status: 202 } as const
  const document = { method: "GET", path: "/documents/1", headers, status: 200 } as const
  const requests: Requests = {
    post,
    decode: { ...post, path: "/v1/jobs" },
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
    ({ headers }): HttpLoad.Request => ({
      ...request,
      headers: { ...request.headers, "If-None-Match": headers["etag"] ?? "" },
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
    return { body: await response.text(), headers: Object.fromEntries(response.headers) }
  })

if (import.meta.main) await runBenchmark(http)
