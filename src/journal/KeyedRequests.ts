/**
 * The records of requests with an Idempotency-Key, in the journal's database. A request's record commits in the transaction of
 * the first events that it causes, so there is never one without the other; its answer follows before the client gets it.
 * After 24 hours it goes.
 */
import { Clock, Context, Effect, Layer } from "effect"
import type { SQLInputValue, SQLOutputValue } from "node:sqlite"
import { KEY_LIFETIME_MS } from "../http/Idempotency.ts"
import { IdempotencyRecords, RecordsUnavailable } from "../http/IdempotencyRecords.ts"
import type { KeptRequest, KeyedRequest } from "../security/KeyedRequest.ts"
import { SqliteClient } from "../sqlite/SqliteClient.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { AnswerWriter } from "./AnswerWriter.ts"
import type { InlineProjection } from "./InlineProjection.ts"
import type { RecordedEvent } from "./Journal.ts"

/** Old records are looked for this often. */
const SWEEP_INTERVAL = "1 minute"
/** Records that go in one transaction: some milliseconds in which nobody else writes. */
export const SWEEP_MAX = 500
/** Between two transactions of a sweep: others write in between. */
const SWEEP_PAUSE = "20 millis"

/** Index: the primary key. */
export const SELECT_RECORD = `SELECT id, fingerprint, started_at, seed, first_position, last_position, events, answer
  FROM keyed_requests WHERE key = ? AND started_at > ?`
const COLUMNS = "key, id, fingerprint, started_at, seed, first_position, last_position, events, answer"
/** A record of an earlier request with the key has had its time: nothing of it stays. */
const REPLACE = `id = excluded.id, fingerprint = excluded.fingerprint, started_at = excluded.started_at,
  first_position = CASE WHEN id = excluded.id AND first_position IS NOT NULL THEN first_position
                        ELSE excluded.first_position END,
  last_position = CASE WHEN id = excluded.id AND excluded.last_position IS NULL THEN last_position
                       ELSE excluded.last_position END,
  events = excluded.events + CASE WHEN id = excluded.id THEN events ELSE 0 END`
/** Index: the primary key. */
const ADD_EVENTS = `INSERT INTO keyed_requests (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)
  ON CONFLICT (key) DO UPDATE SET ${REPLACE}, seed = excluded.seed, answer = NULL`
/** Index: the primary key. */
const KEEP_ANSWER = `INSERT INTO keyed_requests (${COLUMNS}) VALUES (?, ?, ?, ?, ?, NULL, NULL, 0, ?)
  ON CONFLICT (key) DO UPDATE SET ${REPLACE}, seed = excluded.seed, answer = excluded.answer`
/** Index: keyed_requests_by_age. */
export const DELETE_OLD = `DELETE FROM keyed_requests WHERE key IN
  (SELECT key FROM keyed_requests INDEXED BY keyed_requests_by_age WHERE started_at <= ? LIMIT ${SWEEP_MAX})`
/** Those of a JSON array of requests that may be carried out again. Index: keyed_requests_unanswered, a seek each. */
export const SELECT_UNANSWERED = `SELECT r.id FROM json_each(?) wanted
  CROSS JOIN keyed_requests r INDEXED BY keyed_requests_unanswered ON r.id = wanted.atom WHERE r.answer IS NULL`

/** The requests of this process that are being carried out, by id. */
type UnderWay = Map<string, KeyedRequest>

export class KeyedRequests extends Context.Service<
  KeyedRequests,
  {
    /** Inserts the records, as part of each append. */
    readonly projection: InlineProjection
  }
>()("renderowl/journal/KeyedRequests") {
  static readonly layer: Layer.Layer<KeyedRequests | IdempotencyRecords, never, SqliteClient> =
    Layer.effectContext(
      Effect.gen(function* () {
        const { reader, writeLock, writer } = yield* SqliteClient
        const scope = yield* Effect.scope
        const underWay: UnderWay = new Map()

        const answers = new AnswerWriter({ db: writer, writeLock, write: keepAnswer })

        const records = IdempotencyRecords.of({
          running: new Map(),
          find: (key, since) =>
            Effect.try({
              try: () => {
                const row = reader.prepare(SELECT_RECORD).get(key, since)
                return row === undefined ? undefined : fromRow(row)
              },
              catch: (cause) => new RecordsUnavailable({ cause }),
            }),
          begin: (request) => void underWay.set(request.id, request),
          end: (request) => void underWay.delete(request.id),
          keep: (request, answer) => answers.keep(request, answer),
          fork: (effect) => Effect.forkIn(effect, scope),
        })

        const sweepPortion = Effect.gen(function* () {
          const before = (yield* Clock.currentTimeMillis) - KEY_LIFETIME_MS
          return yield* writeLock.withPermit(
            Effect.try(() => Number(writer.prepare(DELETE_OLD).run(before).changes)),
          )
        })
        /** Removes old records, a portion a transaction. */
        const sweep = Effect.gen(function* () {
          while ((yield* sweepPortion) === SWEEP_MAX) yield* Effect.sleep(SWEEP_PAUSE)
        }).pipe(Effect.catch((error) => Effect.logWarning("old keys of requests were not removed", error)))
        yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(SWEEP_INTERVAL), sweep)))

        return Context.make(IdempotencyRecords, records).pipe(
          Context.add(KeyedRequests, { projection: projectionOf(underWay, answers) }),
        )
      }),
    )
}

const keepAnswer = (db: SqliteDatabase, request: KeyedRequest, answer: Uint8Array | null): void => {
  const { fingerprint, id, key, seed, startedAt } = request
  db.prepare(KEEP_ANSWER).run(key, id, fingerprint, startedAt, answer === null ? seed : null, answer)
}

const fromRow = (row: Record<string, SQLOutputValue>): KeptRequest => {
  const first = row["first_position"] as number | null
  return {
    id: row["id"] as string,
    fingerprint: row["fingerprint"] as Uint8Array,
    startedAt: row["started_at"] as number,
    positions:
      first === null
        ? null
        : { first, last: row["last_position"] as number, events: row["events"] as number },
    sealed:
      row["answer"] === null
        ? { _tag: "Seed", seed: row["seed"] as Uint8Array }
        : { _tag: "Answer", answer: row["answer"] as Uint8Array },
  }
}

/**
 * It has no tables by the rules of projections: its rows are no function of the events, and neither verified nor rebuilt. Events
 * without a key cost it a comparison.
 */
const projectionOf = (underWay: UnderWay, answers: AnswerWriter): InlineProjection => ({
  name: "keyed_requests",
  tables: [],
  project: (db, events) => {
    let last: Caused | undefined
    const all: Array<Caused> = []
    for (const { metadata, position } of events) {
      const id = metadata?.keyed_request
      if (id === undefined) continue
      if (last?.id !== id) all.push((last = { id, first: position, last: position, events: 0 }))
      last.last = position
      last.events++
    }
    for (const { events, first, id, last } of all) {
      const request = underWay.get(id)
      // Nothing is late: a request is under way until all that it has asked for was answered.
      if (request === undefined) continue
      const { fingerprint, key, seed, startedAt } = request
      const values: Array<SQLInputValue> = [key, id, fingerprint, startedAt, seed, first, last, events]
      db.prepare(ADD_EVENTS).run(...values)
      request.acted()
    }
    answers.ride(db)
  },
  // Whoever carries such a request out again appends to streams, or reads them as they were.
  retained: (db, events) => {
    const ids = new Set(events.flatMap(({ metadata }) => metadata?.keyed_request ?? []))
    if (ids.size === 0) return new Set()
    const rows = db.prepare(SELECT_UNANSWERED).all(JSON.stringify([...ids]))
    const unanswered = new Set(rows.map((row) => row["id"] as string))
    return new Set(events.filter(isOf(unanswered)).map(({ stream }) => stream))
  },
  forget: () => answers.rolledBack(),
})

interface Caused {
  readonly id: string
  readonly first: number
  last: number
  events: number
}

const isOf =
  (requests: ReadonlySet<string>) =>
  ({ metadata }: RecordedEvent): boolean =>
    metadata?.keyed_request !== undefined && requests.has(metadata.keyed_request)
