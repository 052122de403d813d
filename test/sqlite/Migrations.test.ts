import { describe, expect, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { createHash } from "node:crypto"
import { join } from "node:path"
import type { MigrationError } from "../../src/sqlite/MigrationError.ts"
import { Migrations } from "../../src/sqlite/Migrations.ts"
import { SqliteDatabase } from "../../src/sqlite/SqliteDatabase.ts"
import { temporaryFolder } from "./TemporaryFolder.ts"

const PEOPLE = `-- migrate:up
CREATE TABLE people (name TEXT NOT NULL) STRICT;
INSERT INTO people VALUES ('ada');
-- migrate:down
DROP TABLE people;
`
const PETS = `-- Pets belong to people.
-- migrate:up
CREATE TABLE pets (name TEXT NOT NULL) STRICT;
-- migrate:down
DROP TABLE pets;
`
const TOYS = `-- migrate:up
CREATE TABLE toys (name TEXT NOT NULL) STRICT;
-- migrate:down
DROP TABLE toys;
`

const openDatabase: Effect.Effect<SqliteDatabase, never, Scope.Scope> = Effect.acquireRelease(
  Effect.map(temporaryFolder, (folder) => SqliteDatabase.open({ filename: join(folder, "test.db") })),
  (database) => Effect.sync(() => database.close()),
)

/** A folder with these files, by name. */
const folderOf = (files: Readonly<Record<string, string | Uint8Array>>) =>
  Effect.tap(temporaryFolder, (folder) =>
    Effect.sync(() => {
      for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
    }),
  )

const loadOf = (files: Readonly<Record<string, string | Uint8Array>>) =>
  Effect.flatMap(folderOf(files), Migrations.load)

const tables = (database: SqliteDatabase) =>
  database
    .prepareUncached("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    .all()
    .map((row) => row["name"])

const reasonOf = <A>(effect: Effect.Effect<A, MigrationError, Scope.Scope>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

describe("Migrations.load", () => {
  it.effect("reads the SQL files of a folder in order and leaves other files alone", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf({
        "0002_pets.sql": PETS,
        "0001_people.sql": PEOPLE,
        "README.md": "about",
      })
      mkdirSync(join(folder, "old"))
      const migrations = yield* Migrations.load(folder)
      expect(migrations).toEqual([
        {
          id: 1,
          name: "people",
          file: "0001_people.sql",
          checksum: createHash("sha256").update(PEOPLE).digest("hex"),
          up: "CREATE TABLE people (name TEXT NOT NULL) STRICT;\nINSERT INTO people VALUES ('ada');",
          down: "DROP TABLE people;\n",
        },
        expect.objectContaining({ id: 2, name: "pets" }),
      ])
    }),
  )

  it.effect("finds nothing to do in an empty folder and says so when there is no folder", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      expect(yield* Migrations.load(folder)).toEqual([])
      const reason = yield* reasonOf(Migrations.load(join(folder, "missing")))
      expect(reason).toMatchObject({ _tag: "Unreadable", path: join(folder, "missing") })
    }),
  )

  const malformed: Readonly<
    Record<string, readonly [file: string, content: string | Uint8Array, detail: RegExp]>
  > = {
    "a name without a number": ["people.sql", PEOPLE, /is not named/],
    "a name in upper case": ["0001_People.sql", PEOPLE, /is not named/],
    "no down part": ["0001_people.sql", "-- migrate:up\nSELECT 1;", /must have one line/],
    "no parts at all": ["0001_people.sql", "CREATE TABLE t (a);", /must have one line/],
    "the parts in the wrong order": [
      "0001_people.sql",
      "-- migrate:down\n-- migrate:up\nSELECT 1;",
      /must have/,
    ],
    "a part twice": ["0001_people.sql", `${PEOPLE}-- migrate:up\nSELECT 1;`, /must have/],
    "a misspelt part": ["0001_people.sql", "-- migrate:upp\nSELECT 1;\n-- migrate:down\n", /must have/],
    "SQL before the first part": ["0001_people.sql", `SELECT 1;\n${PEOPLE}`, /has SQL before/],
    "an empty up part": [
      "0001_people.sql",
      "-- migrate:up\n-- to do\n\n-- migrate:down\n",
      /nothing in its up/,
    ],
    "a NUL, behind which SQLite reads nothing": ["0001_people.sql", `${PEOPLE}\0DROP TABLE t;`, /NUL/],
    "bytes that are no text": ["0001_people.sql", new Uint8Array([0xff, 0xfe, 0x00]), /UTF-8/],
  }
  for (const [what, [file, content, detail]] of Object.entries(malformed)) {
    it.effect(`refuses ${what}, and names the file`, () =>
      Effect.gen(function* () {
        const reason = yield* reasonOf(loadOf({ [file]: content }))
        expect(reason).toMatchObject({ _tag: "Malformed", file })
        expect(reason.message).toMatch(detail)
      }),
    )
  }

  it.effect("reads files with Windows line ends", () =>
    Effect.gen(function* () {
      const database = yield* openDatabase
      const migrations = yield* loadOf({ "0001_people.sql": PEOPLE.replaceAll("\n", "\r\n") })
      yield* Migrations.run(database, migrations)
      expect(tables(database)).toContain("people")
    }),
  )

  it.effect("refuses a number used twice", () =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(loadOf({ "0001_people.sql": PEOPLE, "0001_pets.sql": PETS }))
      expect(reason).toMatchObject({
        _tag: "DuplicateId",
        id: 1,
        files: ["0001_people.sql", "0001_pets.sql"],
      })
    }),
  )

  it.effect("refuses a gap in the numbers", () =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(loadOf({ "0001_people.sql": PEOPLE, "0003_pets.sql": PETS }))
      expect(reason).toMatchObject({ _tag: "IdGap", file: "0003_pets.sql", expected: 2 })
    }),
  )
})

describe("Migrations.run", () => {
  it.effect("applies what is pending, records it, and does nothing the second time", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_700_000_000_000)
      const database = yield* openDatabase
      const migrations = yield* loadOf({ "0001_people.sql": PEOPLE, "0002_pets.sql": PETS })
      const runs = yield* Migrations.run(database, migrations)
      expect(runs.map((run) => run.file)).toEqual(["0001_people.sql", "0002_pets.sql"])
      expect(tables(database)).toEqual(["people", "pets", "schema_migrations"])
      expect(database.prepareUncached("SELECT * FROM schema_migrations").all()).toEqual(
        migrations.map(({ id, name, checksum }) => ({
          id,
          name,
          checksum,
          applied_at: 1_700_000_000_000,
          duration_ms: 0,
        })),
      )
      expect(yield* Migrations.run(database, migrations)).toEqual([])
    }),
  )

  it.effect("applies only the new ones to an older database", () =>
    Effect.gen(function* () {
      const database = yield* openDatabase
      const migrations = yield* loadOf({ "0001_people.sql": PEOPLE, "0002_pets.sql": PETS })
      yield* Migrations.run(database, migrations.slice(0, 1))
      const runs = yield* Migrations.run(database, migrations)
      expect(runs.map((run) => run.file)).toEqual(["0002_pets.sql"])
    }),
  )

  it.effect("keeps nothing of a migration that fails half way, and everything before it", () =>
    Effect.gen(function* () {
      const database = yield* openDatabase
      const migrations = yield* loadOf({
        "0001_people.sql": PEOPLE,
        "0002_pets.sql":
          "-- migrate:up\nCREATE TABLE pets (a);\nINSERT INTO nowhere VALUES (1);\n-- migrate:down\n",
      })
      const error = yield* Effect.flip(Migrations.run(database, migrations))
      expect(error).toMatchObject({
        reason: { _tag: "StatementFailed", file: "0002_pets.sql", direction: "up" },
      })
      expect(error.message).toBe("0002_pets.sql failed (up) and was undone: no such table: nowhere")
      expect(tables(database)).toEqual(["people", "schema_migrations"])
      const status = yield* Migrations.status(database, migrations)
      expect(status.map(({ state }) => state)).toEqual(["applied", "pending"])
    }),
  )

  it.effect("refuses a migration that would commit by itself, and keeps nothing of it", () =>
    Effect.gen(function* () {
      const database = yield* openDatabase
      const migrations = yield* loadOf({
        "0001_people.sql": "-- migrate:up\nCREATE TABLE people (a);\nCOMMIT;\n-- migrate:down\n",
      })
      const error = yield* Effect.flip(Migrations.run(database, migrations))
      expect(error).toMatchObject({ reason: { _tag: "StatementFailed", detail: "not authorized" } })
      expect(tables(database)).toEqual(["schema_migrations"])
    }),
  )

  it.effect("refuses rows that break a foreign key by the end of the migration", () =>
    Effect.gen(function* () {
      const database = yield* openDatabase
      const migrations = yield* loadOf({
        "0001_people.sql": `-- migrate:up
CREATE TABLE people (id INTEGER PRIMARY KEY) STRICT;
CREATE TABLE pets (owner INTEGER REFERENCES people DEFERRABLE INITIALLY DEFERRED) STRICT;
INSERT INTO pets VALUES (1);
-- migrate:down
`,
      })
      const error = yield* Effect.flip(Migrations.run(database, migrations))
      expect(error).toMatchObject({ reason: { _tag: "StatementFailed" } })
      expect(tables(database)).toEqual(["schema_migrations"])
    }),
  )

  const applied = Effect.gen(function* () {
    const folder = yield* folderOf({ "0001_people.sql": PEOPLE, "0002_pets.sql": PETS })
    const database = yield* openDatabase
    yield* Migrations.run(database, yield* Migrations.load(folder))
    return { folder, database }
  })

  it.effect("stops at an applied file that was changed", () =>
    Effect.gen(function* () {
      const { folder, database } = yield* applied
      writeFileSync(join(folder, "0001_people.sql"), PEOPLE.replace("ada", "eve"))
      writeFileSync(join(folder, "0003_toys.sql"), TOYS)
      const migrations = yield* Migrations.load(folder)
      const error = yield* Effect.flip(Migrations.run(database, migrations))
      expect(error).toMatchObject({ reason: { _tag: "ChangedAfterApply", file: "0001_people.sql" } })
      expect(tables(database)).not.toContain("toys")
      const status = yield* Migrations.status(database, migrations)
      expect(status.map(({ file, state }) => [file, state])).toEqual([
        ["0001_people.sql", "changed"],
        ["0002_pets.sql", "applied"],
        ["0003_toys.sql", "pending"],
      ])
    }),
  )

  it.effect("stops when an applied file is gone, as with a database from a newer version", () =>
    Effect.gen(function* () {
      const { folder, database } = yield* applied
      rmSync(join(folder, "0002_pets.sql"))
      const migrations = yield* Migrations.load(folder)
      const error = yield* Effect.flip(Migrations.run(database, migrations))
      expect(error).toMatchObject({ reason: { _tag: "AppliedFileMissing", file: "0002_pets.sql" } })
      const status = yield* Migrations.status(database, migrations)
      expect(status.map(({ state }) => state)).toEqual(["applied", "missing"])
    }),
  )

  it.effect("takes a renamed file for a missing one and a new one", () =>
    Effect.gen(function* () {
      const { folder, database } = yield* applied
      renameSync(join(folder, "0002_pets.sql"), join(folder, "0002_animals.sql"))
      const migrations = yield* Migrations.load(folder)
      const error = yield* Effect.flip(Migrations.run(database, migrations))
      expect(error).toMatchObject({ reason: { _tag: "AppliedFileMissing", file: "0002_pets.sql" } })
      const status = yield* Migrations.status(database, migrations)
      expect(status.map(({ file, state }) => [file, state])).toEqual([
        ["0001_people.sql", "applied"],
        ["0002_pets.sql", "missing"],
        ["0002_animals.sql", "pending"],
      ])
    }),
  )

  it.effect("stops at a pending file older than an applied one", () =>
    Effect.gen(function* () {
      const { folder, database } = yield* applied
      database.exec("DELETE FROM schema_migrations WHERE id = 1")
      const error = yield* Effect.flip(Migrations.run(database, yield* Migrations.load(folder)))
      expect(error).toMatchObject({
        reason: { _tag: "OutOfOrder", file: "0001_people.sql", newestApplied: "0002_pets.sql" },
      })
    }),
  )
})

describe("Migrations.status", () => {
  it.effect("changes nothing, not even in a database that never had migrations", () =>
    Effect.gen(function* () {
      const database = yield* openDatabase
      const migrations = yield* loadOf({ "0001_people.sql": PEOPLE })
      expect(yield* Migrations.status(database, migrations)).toEqual([
        { id: 1, file: "0001_people.sql", state: "pending", appliedAt: undefined, durationMs: undefined },
      ])
      expect(tables(database)).toEqual([])
    }),
  )
})

describe("Migrations.rollback", () => {
  const threeApplied = Effect.gen(function* () {
    const database = yield* openDatabase
    const migrations = yield* loadOf({
      "0001_people.sql": PEOPLE,
      "0002_pets.sql": PETS,
      "0003_toys.sql": TOYS,
    })
    yield* Migrations.run(database, migrations)
    return { database, migrations }
  })

  it.effect("undoes the newest ones, newest first, so that they can be applied again", () =>
    Effect.gen(function* () {
      const { database, migrations } = yield* threeApplied
      const undone = yield* Migrations.rollback(database, migrations, 2)
      expect(undone.map(({ file }) => file)).toEqual(["0003_toys.sql", "0002_pets.sql"])
      expect(tables(database)).toEqual(["people", "schema_migrations"])
      const runs = yield* Migrations.run(database, migrations)
      expect(runs.map(({ file }) => file)).toEqual(["0002_pets.sql", "0003_toys.sql"])
    }),
  )

  it.effect("undoes everything when asked for more than there is", () =>
    Effect.gen(function* () {
      const { database, migrations } = yield* threeApplied
      expect(yield* Migrations.rollback(database, migrations, 99)).toHaveLength(3)
      expect(tables(database)).toEqual(["schema_migrations"])
      expect(yield* Migrations.rollback(database, migrations, 1)).toEqual([])
    }),
  )

  it.effect("undoes nothing when one of the steps cannot be undone", () =>
    Effect.gen(function* () {
      const database = yield* openDatabase
      const migrations = yield* loadOf({
        "0001_people.sql":
          "-- migrate:up\nCREATE TABLE people (a);\n-- migrate:down\n-- there is no way back\n",
        "0002_pets.sql": PETS,
      })
      yield* Migrations.run(database, migrations)
      const error = yield* Effect.flip(Migrations.rollback(database, migrations, 2))
      expect(error).toMatchObject({ reason: { _tag: "Irreversible", file: "0001_people.sql" } })
      expect(tables(database)).toEqual(["people", "pets", "schema_migrations"])
    }),
  )

  it.effect("refuses to undo with a file that is not the one applied", () =>
    Effect.gen(function* () {
      const { database } = yield* threeApplied
      const changed = yield* loadOf({
        "0001_people.sql": PEOPLE,
        "0002_pets.sql": PETS,
        "0003_toys.sql": TOYS.replace("DROP TABLE", "DELETE FROM"),
      })
      const error = yield* Effect.flip(Migrations.rollback(database, changed, 1))
      expect(error).toMatchObject({ reason: { _tag: "ChangedAfterApply", file: "0003_toys.sql" } })
      expect(tables(database)).toContain("toys")
    }),
  )

  it.effect("keeps a migration applied when its down part fails", () =>
    Effect.gen(function* () {
      const { database, migrations } = yield* threeApplied
      database.exec("DROP TABLE toys")
      const error = yield* Effect.flip(Migrations.rollback(database, migrations, 2))
      expect(error).toMatchObject({
        reason: { _tag: "StatementFailed", file: "0003_toys.sql", direction: "down" },
      })
      const status = yield* Migrations.status(database, migrations)
      expect(status.map(({ state }) => state)).toEqual(["applied", "applied", "applied"])
    }),
  )
})

describe("Migrations.defaultFolder", () => {
  it("is the migrations folder beside the package file", () => {
    const packageFile = join(Migrations.defaultFolder, "..", "package.json")
    expect(JSON.parse(readFileSync(packageFile, "utf8"))).toMatchObject({ name: "renderowl" })
    expect(Migrations.defaultFolder.endsWith("/migrations")).toBe(true)
  })
})
