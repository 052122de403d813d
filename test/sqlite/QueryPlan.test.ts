import { assert, describe, it } from "@effect/vitest"
import { IN_MEMORY, SqliteDatabase } from "../../src/sqlite/SqliteDatabase.ts"
import { queryPlan } from "../../src/sqlite/QueryPlan.ts"

const database = SqliteDatabase.open({ filename: IN_MEMORY })
database.exec(
  "CREATE TABLE owls (id INTEGER PRIMARY KEY, name TEXT, age INTEGER); CREATE INDEX by_name ON owls (name)",
)

describe("the plan of a statement", () => {
  it.each([
    ["SELECT * FROM owls WHERE id = ?", []],
    ["SELECT * FROM owls WHERE name = ? ORDER BY name", []],
    ["SELECT name FROM owls ORDER BY name LIMIT ?", []],
    ["SELECT * FROM owls WHERE age > ?", ["full_scan"]],
    ["SELECT * FROM owls WHERE name = ? ORDER BY age", ["temporary_sort"]],
    ["SELECT * FROM owls ORDER BY age", ["full_scan", "temporary_sort"]],
    ["SELECT value FROM json_each(?)", []],
  ])("%s: %j", (sql, findings) => {
    assert.deepStrictEqual<ReadonlyArray<string>>(queryPlan(database, sql).findings, findings)
  })

  it("of what is no statement throws", () => {
    assert.throws(() => queryPlan(database, "SELECT * FROM nothing"))
  })
})
