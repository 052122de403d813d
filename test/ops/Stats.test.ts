import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { rmSync, statSync } from "node:fs"
import { archiveBeside } from "../../src/journal/SqliteJournal.ts"
import { stats } from "../../src/ops/Stats.ts"
import { archiveJob, sample, START, withDatabase } from "./SampleJournal.ts"

const look = (filename: string) => stats({ filename, archive: archiveBeside(filename) })

const tablesOf = (filename: string) =>
  withDatabase(filename, (database) =>
    database
      .prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
      )
      .all()
      .map(({ name }) => {
        const { rows } = database.prepare(`SELECT count(*) AS rows FROM ${String(name)}`).get()!
        return [name, rows]
      }),
  )

describe("the figures of a database", () => {
  it.effect("count every row of every table, and every byte of the file", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      const found = yield* look(filename)
      assert.deepStrictEqual(found.tables.map(({ rows, table }) => [table, rows]).sort(), tablesOf(filename))
      assert.strictEqual(found.bytes, statSync(filename).size)
      assert.strictEqual(found.pages * found.pageSize, found.bytes)
      const inTables = found.tables.reduce((sum, { bytes, indexBytes }) => sum + bytes + indexBytes, 0)
      // The rest is the schema itself.
      assert.isAtMost(inTables, found.bytes)
      assert.isAtLeast(inTables, found.bytes / 2)
    }).pipe(Effect.scoped),
  )

  it.effect("count events by type and jobs as people see them, and say from when they are", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      const found = yield* look(filename)
      const counted = withDatabase(filename, (database) =>
        database
          .prepare(
            `SELECT type, count(*) AS events, sum(length(CAST(data AS BLOB))) AS bytes
              FROM events GROUP BY type ORDER BY type`,
          )
          .all(),
      )
      assert.deepStrictEqual(
        found.eventTypes.map(({ bytes, events, type }) => [type, events, bytes]).sort(),
        counted.map(({ bytes, events, type }) => [type, events, bytes] as [string, number, number]),
      )
      assert.strictEqual(found.events, found.head)
      assert.strictEqual(found.oldestEvent, new Date(START).toISOString())
      assert.strictEqual(found.newestEvent, new Date(START + (found.events - 1) * 1_000).toISOString())
      const { completed, pending, scheduled, ...others } = found.jobs
      assert.deepStrictEqual([completed, pending + scheduled], [1, 3])
      assert.deepStrictEqual(others, { processing: 0, dead_letter: 0, cancelled: 0 })
      assert.deepInclude(found.oldestUnfinishedJob, { id: "job_01k8w3e5r7fm2vx9q4ztd6yhb1" })
    }).pipe(Effect.scoped),
  )

  it.effect("tell what has left for the archive, also when its file is gone", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      assert.deepInclude((yield* look(filename)).archive, { bytes: 0, streams: 0, problem: null })
      yield* archiveJob(filename)
      const { archive, events, head } = yield* look(filename)
      assert.deepInclude(archive, { streams: 1, events: 5, blocks: 1, problem: null })
      assert.isAbove(archive.bytes, 0)
      assert.strictEqual(events, head - 5)
      rmSync(archiveBeside(filename))
      assert.deepInclude((yield* look(filename)).archive, { streams: 1, problem: "the file is not there" })
    }).pipe(Effect.scoped),
  )
})
