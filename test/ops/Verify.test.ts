import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { readdirSync, rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { Journal } from "../../src/journal/Journal.ts"
import { archiveBeside } from "../../src/journal/SqliteJournal.ts"
import { Findings } from "../../src/ops/Findings.ts"
import { NOTHING_ARCHIVED, PositionDensity } from "../../src/ops/JournalDensity.ts"
import { verify } from "../../src/ops/Verify.ts"
import { enqueued } from "../jobs/JobHistories.ts"
import { temporaryFolder } from "../sqlite/TemporaryFolder.ts"
import {
  archiveJob,
  countsOf,
  damage,
  damageEvents,
  damages,
  damageTags,
  JOB,
  journalAt,
  model,
  namesOf,
  overwrite,
  PROJECT,
  projectionTables,
  rowsOf,
  sample,
  withDatabase,
  writeSnapshot,
} from "./SampleJournal.ts"

const look = (filename: string) => verify({ filename, model })

/** `check subject count` of every fault. */
const faultsOf = (filename: string) => Effect.map(look(filename), ({ faults }) => namesOf(faults))

const examplesOf = (filename: string) =>
  Effect.map(look(filename), ({ faults }) => faults.flatMap(({ examples }) => examples))

/** While the scope is open, all that is temporary goes to one folder, where others leave nothing; answers what is in it. */
const onlyTemporaryFolder = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const before = process.env["TMPDIR"]
      process.env["TMPDIR"] = folder
      return before
    }),
    (before) =>
      Effect.sync(() => {
        if (before === undefined) delete process.env["TMPDIR"]
        else process.env["TMPDIR"] = before
      }),
  )
  return () => readdirSync(folder)
})

describe("verifying a database", () => {
  it.effect("finds nothing wrong with one that only the journal has written to", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      yield* writeSnapshot(filename)
      for (const [table, rows] of Object.entries(rowsOf(filename))) assert.isNotEmpty(rows, table)
      const verification = yield* look(filename)
      assert.deepStrictEqual(verification.faults, [])
      assert.deepInclude(verification, { database: filename, snapshots: 1, streams: 8 })
      assert.strictEqual(verification.events, verification.head)
      const compared = verification.tables.map(({ table }) => table)
      assert.includeMembers(compared, projectionTables)
      for (const { rows, table } of verification.tables) assert.isAbove(rows, 0, table)
    }).pipe(Effect.scoped),
  )

  it.effect("takes what has left for the archive for what it is, and finds what is wrong with that", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      const { head } = yield* look(filename)
      yield* archiveJob(filename)
      const verification = yield* look(filename)
      assert.deepStrictEqual(verification.faults, [])
      assert.deepInclude(verification, { events: head - 5, head, streams: 7 })

      withDatabase(archiveBeside(filename), (archive) => archive.exec("DELETE FROM streams"))
      assert.deepStrictEqual(yield* faultsOf(filename), ["archive archive 2", "positions events 5"])
      rmSync(archiveBeside(filename))
      assert.deepStrictEqual(yield* faultsOf(filename), ["archive archive 1", "positions events 5"])
      assert.match((yield* examplesOf(filename))[0]!, /archive .* cannot be used: the file .* is not there/)
    }).pipe(Effect.scoped),
  )

  it.effect(
    "finds a row of any projection table that is missing, was changed, or was never made by an event",
    () =>
      Effect.gen(function* () {
        for (const table of projectionTables) {
          for (const kind of ["missing", "extra", "changed"] as const) {
            const filename = yield* sample
            if (damages[kind](filename, table) === false) continue
            const verification = yield* look(filename)
            const wrong = verification.tables.filter(
              ({ changed, extra, missing }) => changed + extra + missing > 0,
            )
            assert.deepStrictEqual(
              wrong.map(({ rows: _, ...difference }) => difference),
              [{ table, extra: 0, missing: 0, changed: 0, [kind]: 1 }],
              `${kind} in ${table}`,
            )
            assert.deepStrictEqual(
              verification.faults.map(({ check, count, subject }) => [check, subject, count]),
              [["table", table, 1]],
            )
          }
        }
      }).pipe(Effect.scoped),
  )

  it.effect("says what a wrong row holds, and what it should", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      damage(filename, "UPDATE jobs SET status = 1, attempt = 9 WHERE position = 1")
      damage(filename, "DELETE FROM job_tags WHERE tag = 'red'")
      damage(filename, "INSERT INTO projects VALUES (3, 1)")
      assert.deepStrictEqual(yield* examplesOf(filename), [
        "position 1: status is 1 instead of 2, attempt is 9 instead of 2",
        'lacks tag "red", position 1',
        "no event made position 3, archived 1",
      ])
    }).pipe(Effect.scoped),
  )

  it.effect("counts what is wrong, however much it is, and spells out a few", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      damageTags(filename, 2_000)
      const { faults } = yield* look(filename)
      assert.deepStrictEqual(countsOf(faults), [["table", "job_tags", 2_000, 5]])
    }).pipe(Effect.scoped),
  )

  it.effect("takes the numbers of names as they are, and finds a name that has none", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      // Other numbers than a replay would give, and one of a name that no event knows.
      damage(
        filename,
        `UPDATE job_types SET id = id + 50; UPDATE jobs SET type = type + 50; UPDATE job_counts SET type = type + 50;
         INSERT INTO job_types VALUES (99, 'gone')`,
      )
      assert.deepStrictEqual(yield* faultsOf(filename), [])
      damage(filename, "DELETE FROM queue_names WHERE name = 'mail'")
      assert.deepStrictEqual(yield* faultsOf(filename), ["table queue_names 1"])
    }).pipe(Effect.scoped),
  )

  it.effect("finds events that are missing from the middle and from the start of a stream", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      damageEvents(filename, "DELETE FROM events WHERE position IN (3, 6)")
      const faults = yield* faultsOf(filename)
      assert.includeMembers(faults, ["positions events 2", "versions events 1"])
      const examples = yield* examplesOf(filename)
      assert.includeMembers(examples, [
        "position 3 is missing",
        "position 6 is missing",
        `${JOB} has 4 events, of versions 1 to 5`,
      ])
    }).pipe(Effect.scoped),
  )

  it.effect("finds an event that does not fit its schema, and one that nobody knows", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      damageEvents(
        filename,
        `UPDATE events SET data = '{"attempt":"two","worker":"w"}' WHERE position = 4;
         UPDATE events SET type = 'QueueWent' WHERE type = 'QueuePaused'`,
      )
      const { faults } = yield* look(filename)
      const events = faults.find(({ check }) => check === "events")!
      assert.strictEqual(events.count, 2)
      assert.match(
        events.examples[0]!,
        new RegExp(`^position 4, JobStarted of ${JOB}: cannot read JobStarted`),
      )
      assert.match(events.examples[1]!, /^position \d+, QueueWent of queue\/mail: .*not registered/)
    }).pipe(Effect.scoped),
  )

  it.effect("names the projection that cannot take the events, and still compares the others", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      // The first event of the job is another one now, so its row cannot be.
      damageEvents(filename, "UPDATE events SET type = 'ApiKeyRevoked', data = '{}' WHERE position = 1")
      damages.extra(filename, "projects")
      const { faults, tables } = yield* look(filename)
      assert.includeMembers(
        faults.map(({ check, subject }) => `${check} ${subject}`),
        ["projection jobs", "table projects"],
      )
      assert.notInclude(
        tables.map(({ table }) => table),
        "jobs",
      )
    }).pipe(Effect.scoped),
  )

  it.effect("finds a snapshot that is newer than its stream, and one that is not its fold", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      yield* writeSnapshot(filename)
      damage(filename, "UPDATE snapshots SET state = json_set(state, '$.name', 'Somebody')")
      assert.deepStrictEqual(yield* examplesOf(filename), [
        `${PROJECT} at version 100: the state is not the fold of the stream`,
      ])
      damage(filename, "UPDATE snapshots SET version = 500")
      assert.deepStrictEqual(yield* examplesOf(filename), [
        `${PROJECT} has a snapshot of version 500, and is at 121`,
      ])
      // Of another shape: nobody will load it.
      damage(filename, "UPDATE snapshots SET version = 101, revision = 77")
      assert.deepStrictEqual(yield* faultsOf(filename), [])
    }).pipe(Effect.scoped),
  )

  it.effect("misses the trigger that keeps events from being deleted, and a table that is gone", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      damage(filename, "DROP TRIGGER events_refuse_delete; DROP TABLE projects")
      assert.deepStrictEqual(yield* examplesOf(filename), [
        "the index projects_live is missing",
        "the table projects is missing",
        "the trigger events_refuse_delete is missing",
      ])
    }).pipe(Effect.scoped),
  )

  it.effect("finds pages of the file that were overwritten", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      const page = withDatabase(filename, (database) => {
        database.exec("PRAGMA wal_checkpoint(TRUNCATE)")
        return database.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'job_tags'").get()![
          "rootpage"
        ] as number
      })
      overwrite(filename, (page - 1) * 4_096, 4_096)
      const { faults } = yield* look(filename)
      assert.deepStrictEqual(
        faults.map(({ check }) => check),
        ["file"],
      )
    }).pipe(Effect.scoped),
  )

  it.effect("refuses where there is no database, or one of another schema, and makes none", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const nowhere = yield* Effect.flip(look(join(folder, "nowhere.db")))
      assert.match(nowhere.message, /^there is no database at .*nowhere\.db/)
      assert.deepStrictEqual(readdirSync(folder), [])

      const filename = yield* sample
      damage(filename, "DELETE FROM schema_migrations WHERE id = (SELECT max(id) FROM schema_migrations)")
      assert.match(
        (yield* Effect.flip(look(filename))).message,
        /the migration \d{4}_\w+\.sql is not applied; migrate first/,
      )
    }).pipe(Effect.scoped),
  )

  it.live("sees one moment of a database that is being written to, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      const leftovers = yield* onlyTemporaryFolder
      const wal = `${filename}-wal`
      const result = yield* Effect.gen(function* () {
        const journal = yield* Journal
        let written = 0
        const write = Effect.suspend(() => {
          const stream = `job_written_${written++}`
          const events = [enqueued({ tags: ["written"] }), { _tag: "JobStarted", attempt: 1, worker: "w" }]
          return journal.append([{ stream, expectedVersion: 0, events }], written)
        })
        const writer = yield* Effect.forkChild(Effect.forever(Effect.andThen(write, Effect.yieldNow)))
        const verifications = [yield* look(filename), yield* look(filename), yield* look(filename)]
        yield* Fiber.interrupt(writer)
        return { verifications, head: yield* journal.head, walBytes: statSync(wal).size }
      }).pipe(Effect.provide(journalAt(filename)))
      const heads = result.verifications.map(({ faults, head }) => {
        assert.deepStrictEqual(faults, [])
        return head
      })
      assert.deepStrictEqual(
        heads,
        heads.toSorted((a, b) => a - b),
      )
      assert.isAbove(heads[2]!, heads[0]!)
      assert.isAtLeast(result.head, heads[2]!)
      assert.isAbove(result.walBytes, 0)
      assert.deepStrictEqual(leftovers(), [])
    }).pipe(Effect.scoped),
  )
})

describe("the density of positions", () => {
  const gaps = (positions: ReadonlyArray<number>, archived = NOTHING_ARCHIVED) => {
    const findings = new Findings()
    const density = new PositionDensity(findings, archived)
    for (const position of positions) density.take(position)
    return findings.faults.map(({ count, examples }) => `${count}: ${examples.join("; ")}`)
  }

  it("tells which positions are missing", () => {
    assert.deepStrictEqual(gaps([1, 2, 3]), [])
    assert.deepStrictEqual(gaps([2, 3, 7]), ["4: position 1 is missing; of positions 4 to 6, 3 are missing"])
  })

  it("knows of those that the journal has given and that are missing at its end", () => {
    const findings = new Findings()
    const density = new PositionDensity(findings, NOTHING_ARCHIVED)
    density.take(1)
    density.end(3)
    assert.deepStrictEqual(
      findings.faults.map(({ examples }) => examples),
      [["of positions 2 to 3, 2 are missing"]],
    )
  })

  it("misses none that are known to be archived", () => {
    const archived = new Set([1, 4, 5])
    const countWithin = (first: number, last: number) =>
      [...archived].filter((position) => position >= first && position <= last).length
    assert.deepStrictEqual(gaps([2, 3, 6], { countWithin }), [])
    assert.deepStrictEqual(gaps([2, 3, 7], { countWithin }), ["1: of positions 4 to 6, 1 are missing"])
  })
})
