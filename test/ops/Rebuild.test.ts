import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { rmSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Project } from "../../src/domain/projects/Project.ts"
import type { InlineProjection } from "../../src/journal/InlineProjection.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { archiveBeside } from "../../src/journal/SqliteJournal.ts"
import * as DatabaseFile from "../../src/ops/DatabaseFile.ts"
import { rebuild } from "../../src/ops/Rebuild.ts"
import { type EventModel, verify } from "../../src/ops/Verify.ts"
import { Migrations } from "../../src/sqlite/Migrations.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { enqueued } from "../jobs/JobHistories.ts"
import {
  archiveJob,
  beginAsync,
  damage,
  damageEvents,
  damages,
  journalAt,
  faultsOf,
  model,
  PROJECT,
  projectionTables,
  projectsAt,
  rowsOf,
  withDatabase,
  sample,
  writeSnapshot,
} from "./SampleJournal.ts"

const PROGRAM = fileURLToPath(new URL("./RebuildProcess.ts", import.meta.url))

const rebuildFile = (filename: string, by: EventModel = model) =>
  Effect.flatMap(DatabaseFile.openOwned(filename), (database) => rebuild(database, by)).pipe(Effect.scoped)

/** Every table wrong in every way that it can be. */
const ruin = (filename: string) => {
  for (const table of projectionTables) {
    damages.changed(filename, table)
    damages.extra(filename, table)
    damages.missing(filename, table)
  }
}

describe("rebuilding the projections", () => {
  it.effect("makes the rows of the jobs that have not left for the archive", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      yield* archiveJob(filename)
      const before = rowsOf(filename)
      ruin(filename)
      yield* rebuildFile(filename)
      assert.deepStrictEqual(rowsOf(filename), before)
      assert.deepStrictEqual(yield* faultsOf(filename), [])
    }).pipe(Effect.scoped),
  )

  it.effect("changes nothing without the whole archive, of which some tables are made", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      yield* archiveJob(filename)
      const before = rowsOf(filename)
      const archive = archiveBeside(filename)
      withDatabase(archive, (database) => database.exec("DELETE FROM streams"))
      assert.match(
        (yield* Effect.flip(rebuildFile(filename))).message,
        /nothing was changed: the archive .* 1 streams have left the journal, and it has 0 of them$/,
      )
      rmSync(archive)
      assert.match(
        (yield* Effect.flip(rebuildFile(filename))).message,
        /nothing was changed: .* is not there$/,
      )
      assert.deepStrictEqual(rowsOf(filename), before)
    }).pipe(Effect.scoped),
  )

  it.effect("makes every row of every table what it was", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      const before = rowsOf(filename)
      ruin(filename)
      assert.sameMembers(
        (yield* faultsOf(filename)).map(({ subject }) => subject),
        projectionTables,
      )
      const { events, tables } = yield* rebuildFile(filename)
      assert.deepStrictEqual(rowsOf(filename), before)
      assert.deepStrictEqual(yield* faultsOf(filename), [])
      assert.deepStrictEqual(
        tables.map(({ after, table }) => [table, after]),
        projectionTables.map((table) => [table, before[table]!.length]),
      )
      assert.strictEqual(events, (yield* verify({ filename, model })).events)
    }).pipe(Effect.scoped),
  )

  it.effect("fills what a migration that was undone and applied again has left empty", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      const before = rowsOf(filename)
      yield* Effect.gen(function* () {
        const { writer } = yield* SqliteClient
        const migrations = yield* Migrations.load(Migrations.defaultFolder)
        // All but the journal's own.
        yield* Migrations.rollback(writer, migrations, migrations.length - 1)
        yield* Migrations.run(writer, migrations)
      }).pipe(Effect.provide(SqliteClient.layer({ filename })))
      beginAsync(filename)
      assert.isNotEmpty(yield* faultsOf(filename))
      yield* rebuildFile(filename)
      assert.deepStrictEqual(rowsOf(filename), before)
      assert.deepStrictEqual(yield* faultsOf(filename), [])
    }).pipe(Effect.scoped),
  )

  it.effect("leaves rows that the journal goes on from", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      ruin(filename)
      yield* rebuildFile(filename)
      const events = [enqueued({ tags: ["late"] }), { _tag: "JobStarted", attempt: 1, worker: "w" }]
      yield* Effect.flatMap(Journal, (journal) =>
        journal.append([{ stream: "job_late", expectedVersion: 0, events }], 9),
      ).pipe(Effect.provide(journalAt(filename)))
      assert.deepStrictEqual(yield* faultsOf(filename), [])
    }).pipe(Effect.scoped),
  )

  it.effect("drops the snapshots", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      yield* writeSnapshot(filename)
      assert.strictEqual((yield* rebuildFile(filename)).snapshotsDropped, 1)
      assert.strictEqual((yield* verify({ filename, model })).snapshots, 0)
    }).pipe(Effect.scoped),
  )

  it.effect("changes nothing when the journal cannot be folded, and says where", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      ruin(filename)
      const before = rowsOf(filename)
      const late: InlineProjection = {
        name: "late",
        tables: [],
        project: (_db, events) => {
          if (events.some(({ position }) => position === 7)) throw new Error("not this one")
        },
        forget: () => {},
      }
      const failing = { ...model, projections: () => [...model.projections(), late] }
      const failed = yield* Effect.flip(rebuildFile(filename, failing))
      assert.match(failed.message, /nothing was changed: the projection late failed: not this one$/)
      assert.deepStrictEqual(rowsOf(filename), before)

      damageEvents(filename, "UPDATE events SET type = 'Unheard' WHERE position = 4")
      const unreadable = yield* Effect.flip(rebuildFile(filename))
      assert.match(
        unreadable.message,
        /at position 4, and nothing was changed: Unheard of job_\w+: .*not registered/,
      )
      assert.deepStrictEqual(rowsOf(filename), before)
    }).pipe(Effect.scoped),
  )

  it.live("leaves the old rows when it is killed in the middle, and can be done again", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      const good = rowsOf(filename)
      ruin(filename)
      const before = rowsOf(filename)
      const signal = yield* Effect.callback<NodeJS.Signals | null>((resume) => {
        const child = spawn(process.execPath, [PROGRAM, filename], {
          stdio: ["ignore", "inherit", "inherit"],
        })
        child.once("close", (_code, signal) => resume(Effect.succeed(signal)))
        return Effect.sync(() => child.kill("SIGKILL"))
      })
      assert.strictEqual(signal, "SIGKILL")
      assert.deepStrictEqual(rowsOf(filename), before)
      yield* rebuildFile(filename)
      assert.deepStrictEqual(rowsOf(filename), good)
    }).pipe(Effect.scoped),
  )

  it.effect("is refused while somebody else owns the database", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      const refused = yield* Effect.flip(rebuildFile(filename)).pipe(Effect.provide(journalAt(filename)))
      assert.strictEqual(refused._tag, "DatabaseOwned")
    }).pipe(Effect.scoped),
  )
})

describe("snapshots", () => {
  const names = Effect.gen(function* () {
    return yield* (yield* Project.client)(PROJECT).Get(undefined)
  })
  const change = (name: string) =>
    Effect.flatMap(Project.client, (client) => client(PROJECT).Change({ name }))

  it.effect("can be deleted under a live system and after it, and nobody notices", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      yield* writeSnapshot(filename)
      const kept = () =>
        withDatabase(filename, (db) => db.prepare("SELECT count(*) AS n FROM snapshots").get()!["n"])
      yield* Effect.gen(function* () {
        // Loaded from its snapshot, which goes away while the actor lives.
        assert.strictEqual((yield* names).version, 121)
        assert.strictEqual(kept(), 1)
        damage(filename, "DELETE FROM snapshots")
        for (let n = 0; n < 30; n++) yield* change(`Later ${n}`)
        damage(filename, "DELETE FROM snapshots")
        assert.deepInclude(yield* names, { name: "Later 29", version: 151 })
      }).pipe(Effect.provide(projectsAt(filename)))
      // Loaded from the whole stream, since there is no snapshot; then there is one again.
      assert.strictEqual(kept(), 0)
      yield* Effect.gen(function* () {
        assert.deepInclude(yield* names, { name: "Later 29", version: 151 })
        yield* change("Last")
        assert.strictEqual(kept(), 1)
      }).pipe(Effect.provide(projectsAt(filename)))
      assert.deepStrictEqual(yield* faultsOf(filename), [])
    }).pipe(Effect.scoped),
  )
})
