/**
 * What RenderOwl's HTTP API is compared with: Fastify with the plugins that such a service usually has, doing the same work on
 * a SQLite file of its own. Run as a process of its own, where it is installed; prints its address.
 *
 * Environment: `FILE` for the database, `KEY` is the bearer token, and `COMMITS` says when a job is durable: `each` request
 * commits its own, as a handler that calls SQLite does, or those of one turn of the event loop go `together`, which such a
 * service would have to write for itself, as is done here.
 */
import { randomUUID } from "node:crypto"
import { DatabaseSync } from "node:sqlite"

type Plugin = { readonly default: unknown }

interface Reply {
  readonly code: (status: number) => Reply
  readonly header: (name: string, value: string) => Reply
  readonly type: (contentType: string) => Reply
  readonly send: (body: unknown) => Reply
}

interface Job {
  readonly type: string
  readonly payload: unknown
  readonly delay_ms?: number
}

interface Request {
  readonly body: Job
  readonly params: { readonly id: string }
}

type Handler = (request: Request, reply: Reply) => unknown

interface Fastify {
  readonly register: (plugin: unknown, options?: object) => PromiseLike<unknown>
  readonly get: (path: string, handler: Handler) => unknown
  readonly post: (path: string, options: object, handler: Handler) => unknown
  readonly listen: (options: { readonly host: string; readonly port: number }) => Promise<string>
}

/** The packages are no dependencies, so their types are not there either. */
const load = async <Module>(name: string): Promise<Module> => (await import(name)) as Module

const { fastify } = await load<{ readonly fastify: (options: object) => Fastify }>("fastify")
const plugins: Readonly<Record<string, object>> = {
  // Not by the delay of the event loop: commits on a busy disk would make it refuse.
  "@fastify/under-pressure": { maxHeapUsedBytes: 1_000_000_000 },
  "@fastify/helmet": {},
  "@fastify/cors": { origin: false },
  "@fastify/rate-limit": { max: Number.MAX_SAFE_INTEGER, timeWindow: "1 minute" },
  "@fastify/bearer-auth": { keys: new Set([process.env["KEY"]]) },
  "@fastify/etag": {},
  "@fastify/compress": { threshold: 1_024 },
}

/** Answers of finished jobs that are kept. */
const KEPT_MAX = 10_000
const BODY_BYTES_MAX = 10_000_000

const db = new DatabaseSync(process.env["FILE"]!)
db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
  CREATE TABLE jobs (id TEXT PRIMARY KEY, type TEXT NOT NULL, payload TEXT NOT NULL, created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL, status TEXT NOT NULL) WITHOUT ROWID;`)
const insertJob = db.prepare("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, 'scheduled')")
const selectJob = db.prepare("SELECT type, payload, created_at, due_at, status FROM jobs WHERE id = ?")

type Row = readonly [id: string, type: string, payload: string, createdAt: number, dueAt: number]

let waiting: Array<{ readonly row: Row; readonly durable: () => void }> = []

const commitTogether = (): void => {
  const group = waiting
  waiting = []
  db.exec("BEGIN IMMEDIATE")
  for (const { row } of group) insertJob.run(...row)
  db.exec("COMMIT")
  for (const { durable } of group) durable()
}

const store: (row: Row) => Promise<void> | void =
  process.env["COMMITS"] === "together"
    ? (row) =>
        new Promise((durable) => {
          if (waiting.push({ row, durable }) === 1) setImmediate(commitTogether)
        })
    : (row) => void insertJob.run(...row)

/** With as many fields as RenderOwl's. */
const documentOf = (id: string, job: Job, status: string, createdAt: number, dueAt: number) => ({
  id,
  type: job.type,
  queue: "default",
  status,
  priority: "normal",
  payload: job.payload,
  tags: [],
  idempotency_key: null,
  concurrency_key: null,
  depends_on: [],
  waits_for: [],
  on_dependency_failure: null,
  attempt: 0,
  max_attempts: 3,
  timeout_ms: 300_000,
  version: 1,
  created_at: new Date(createdAt).toISOString(),
  due_at: new Date(dueAt).toISOString(),
  expires_at: null,
  started_at: null,
  finished_at: null,
  progress: null,
  result: null,
  error: null,
  cancelled: null,
  steps: [],
  attempts: [],
  metrics: { wait_ms: null, processing_ms: 0, total_ms: null, retry_count: 0 },
})

const read = (id: string): object | undefined => {
  const row = selectJob.get(id)
  if (row === undefined) return undefined
  const job = { type: row["type"] as string, payload: JSON.parse(row["payload"] as string) as unknown }
  return documentOf(id, job, row["status"] as string, row["created_at"] as number, row["due_at"] as number)
}

/** Least recently used first. */
const kept = new Map<string, string>()

const cached = (id: string): string | undefined => {
  let text = kept.get(id)
  if (text === undefined) {
    const document = read(id)
    if (document === undefined) return undefined
    text = JSON.stringify(document)
    if (kept.size >= KEPT_MAX) kept.delete(kept.keys().next().value!)
  } else {
    kept.delete(id)
  }
  kept.set(id, text)
  return text
}

const body = {
  type: "object",
  required: ["type"],
  additionalProperties: false,
  properties: {
    type: { type: "string", minLength: 1, maxLength: 100 },
    payload: {},
    delay_ms: { type: "integer", minimum: 0 },
  },
}

const app = fastify({ logger: false, bodyLimit: BODY_BYTES_MAX })
for (const [name, options] of Object.entries(plugins)) {
  await app.register((await load<Plugin>(name)).default, options)
}
app.post("/v1/jobs", { schema: { body } }, async ({ body: job }, reply) => {
  const id = `job_${randomUUID()}`
  const now = Date.now()
  const dueAt = now + (job.delay_ms ?? 0)
  await store([id, job.type, JSON.stringify(job.payload), now, dueAt])
  return reply
    .code(202)
    .header("location", `/v1/jobs/${id}`)
    .send(documentOf(id, job, "scheduled", now, dueAt))
})
app.get("/v1/jobs/:id", (request, reply) => {
  const document = read(request.params.id)
  return document === undefined ? reply.code(404).send({}) : reply.send(document)
})
app.get("/cached/:id", (request, reply) => {
  const text = cached(request.params.id)
  return text === undefined ? reply.code(404).send({}) : reply.type("application/json").send(text)
})
process.stdout.write(`${await app.listen({ host: "127.0.0.1", port: 0 })}\n`)
