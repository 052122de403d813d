import { assert, describe, it } from "@effect/vitest"
import { readFileSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { limitTo } from "../../src/sqlite/Limit.ts"

const SOURCES = fileURLToPath(new URL("../../src", import.meta.url))

/** How often SQLite asks, while it compiles a statement that runs again with the same parameters, whether it may. */
const questionsOfSecondRun = (sql: string): number => {
  const db = new DatabaseSync(":memory:")
  try {
    db.exec("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
    let questions = 0
    db.setAuthorizer(() => {
      questions++
      return 0
    })
    const statement = db.prepare(sql)
    statement.all(1, 2)
    questions = 0
    statement.all(1, 2)
    return questions
  } finally {
    db.close()
  }
}

describe("a number of rows that is a parameter", () => {
  it("has the statement compiled once, where one written plainly has it compiled at each run", () => {
    const select = "SELECT n FROM numbers WHERE n > ? ORDER BY n"
    assert.isAbove(questionsOfSecondRun(`${select} LIMIT ?`), 0)
    assert.strictEqual(questionsOfSecondRun(`${select} ${limitTo()}`), 0)
    assert.strictEqual(questionsOfSecondRun(`${select} ${limitTo("?2")}`), 0)
  })

  it("is written plainly nowhere", () => {
    const plain = readdirSync(SOURCES, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && !name.endsWith("Limit.ts"))
      .filter((name) => /LIMIT\s+[?:@]/.test(readFileSync(join(SOURCES, name), "utf8")))
    assert.deepStrictEqual(plain, [])
  })
})
