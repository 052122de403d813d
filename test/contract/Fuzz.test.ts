/**
 * Many requests that follow from the document, one round after another to the same server, so that what some of them make is used
 * by others. `FUZZ_REQUESTS` says how many and `FUZZ_SEED` which: the seed of a run is in its name.
 */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { run, type Server, start, startFresh } from "../support/ServerProcess.ts"
import { SECRET } from "../support/Signed.ts"
import { type Document, documentOf } from "./Document.ts"
import { Exchanges, type Request } from "./Exchange.ts"
import { Memory } from "./Memory.ts"
import { type Plan, plans, requestOf } from "./Requests.ts"
import { type Expectations, expectationsOf, faultsOf } from "./Verdict.ts"

const { FUZZ_REQUESTS, FUZZ_SEED } = process.env
const REQUESTS = Number(FUZZ_REQUESTS ?? 600)
/** The same ones each time in the usual run, and others in each long one. */
const SEED = Number(FUZZ_SEED ?? (FUZZ_REQUESTS === undefined ? 1 : Math.floor(Math.random() * 2 ** 31)))
/** Requests on their way at a time: within a round nobody knows what the others are answered. */
const ROUND = 8
/** Distinct faults that are worth reading. */
const FAULTS_MAX = 40
/** Characters by which faults are told apart. */
const KIND_CHARACTERS = 60
const BODY_SHOWN = 400
const MS_PER_REQUEST_MAX = 50

/** What came of all requests. */
interface Outcome {
  readonly faults: ReadonlyMap<string, string>
  readonly answered: ReadonlyMap<number, number>
  /** Operations that did what they are for at least once. */
  readonly succeeded: ReadonlySet<string>
}

const written = ({ body, headers, method, path }: Request): string => {
  const { authorization: _, "x-api-key": _key, ...others } = headers
  const bytes = body === undefined ? "" : Buffer.from(body).toString("latin1").slice(0, BODY_SHOWN)
  return `${method} ${path} ${JSON.stringify(others)} ${JSON.stringify(bytes)}`
}

const sendAll = Effect.fnUntraced(function* (
  { client, url }: Server,
  expectations: Expectations,
  sent: ReadonlyArray<Plan>,
) {
  const faults = new Map<string, string>()
  const answered = new Map<number, number>()
  const succeeded = new Set<string>()
  const own = (yield* client.get("/v1/api-keys")).json<{
    readonly data: ReadonlyArray<{ readonly id: string }>
  }>()
  const memory = new Memory(expectations.document, new Set(own.data.map(({ id }) => id)))
  const exchanges = yield* Effect.acquireRelease(
    Effect.sync(() => new Exchanges(url)),
    (each) => Effect.sync(() => each.close()),
  )
  const blame = (plan: Plan, request: Request, fault: string) => {
    const kind = `${plan.operation.name}: ${fault.slice(0, KIND_CHARACTERS)}`
    if (!faults.has(kind)) faults.set(kind, `${plan.operation.name}: ${fault}\n    ${written(request)}`)
  }
  const send = async (plan: Plan): Promise<void> => {
    const request = requestOf(plan, memory, client.key!)
    if (request === undefined) return
    try {
      const answer = await exchanges.send(request)
      answered.set(answer.status, (answered.get(answer.status) ?? 0) + 1)
      if (answer.status < 300) succeeded.add(plan.operation.name)
      for (const fault of faultsOf(expectations, plan.operation, request, answer)) blame(plan, request, fault)
      memory.learn(plan.operation, request, answer)
    } catch (error) {
      blame(plan, request, String(error))
    }
  }
  for (let at = 0; at < sent.length; at += ROUND) {
    yield* Effect.promise(() => Promise.all(sent.slice(at, at + ROUND).map(send)))
  }
  return { faults, answered, succeeded } satisfies Outcome
}, Effect.scoped)

const summary = ({ operations }: Document, { answered, succeeded }: Outcome): string => {
  const statuses = [...answered].sort(([a], [b]) => a - b).map(([status, times]) => `${times} × ${status}`)
  const never = operations.flatMap(({ name }) => (succeeded.has(name) ? [] : [name]))
  return `${statuses.join(", ")}; without success: ${never.join(", ") || "no operation"}`
}

it.live(
  `${REQUESTS} requests that follow from the document get what it declares (FUZZ_SEED=${SEED})`,
  () =>
    Effect.gen(function* () {
      const server = yield* startFresh({ INTERNAL_SECRET: SECRET })
      const document = yield* documentOf(server.client)
      const expectations = yield* expectationsOf(server.client, document)
      const sent = fc.sample(plans(document), { seed: SEED, numRuns: REQUESTS })
      const outcome = yield* sendAll(server, expectations, sent)
      yield* Effect.log(`FUZZ_SEED=${SEED}: ${summary(document, outcome)}`)
      assert.deepStrictEqual([...outcome.faults.values()].slice(0, FAULTS_MAX), [], `FUZZ_SEED=${SEED}`)
      assert.strictEqual((yield* server.client.get("/health")).status, 200)
      assert.notInclude(server.process.stdout, "unexpectedly")

      // It stops in good order, its database is what the journal says, and it starts again with it.
      const ended = yield* server.process.end("SIGTERM")
      assert.strictEqual(ended.code, 0, ended.stderr)
      const verified = yield* run(["db", "verify"], { dataDir: server.dataDir })
      assert.strictEqual(verified.code, 0, verified.stdout + verified.stderr)
      const again = yield* start({ dataDir: server.dataDir })
      assert.strictEqual((yield* again.client.get("/v1/jobs")).status, 200)
    }).pipe(Effect.scoped),
  { timeout: 60_000 + REQUESTS * MS_PER_REQUEST_MAX },
)
