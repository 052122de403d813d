/**
 * Whether copies of a database and its archive are good: by folding the whole journal where this release knows the schema, by
 * checking the pages where it is an older one, and by the sums that were written down when a backup was taken.
 */
import { Effect, Schema } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import type { MigrationError } from "../../sqlite/MigrationError.ts"
import type { MigrationStatus } from "../../sqlite/Migrations.ts"
import { toSqlError } from "../../sqlite/SqliteError.ts"
import * as DatabaseFile from "../DatabaseFile.ts"
import type { Fault } from "../Findings.ts"
import type { OnProgress } from "../Progress.ts"
import { type EventModel, verify } from "../Verify.ts"
import { type FileSum, sumUp } from "./DurableFile.ts"
import type { PROOFS } from "./Manifest.ts"

/** The copy is not what it should be. */
export class CopyFaulty extends Schema.TaggedError<CopyFaulty>()("CopyFaulty", {
  filename: Schema.String,
  /** In words, the first few. */
  examples: Schema.Array(Schema.String),
}) {
  override get message(): string {
    return `the copy is faulty, and so is ${this.filename} or its disk: ${this.examples.join("; ")}`
  }
}

export type Proof = (typeof PROOFS)[number]

/** The best proof that there is for a schema. */
export const proofOf = (migrations: ReadonlyArray<MigrationStatus>): Proof =>
  migrations.every(({ state }) => state === "applied") ? "journal" : "file"

const EXAMPLES_MAX = 3

/** Fails unless the copies are good, as far as this proof goes. It only reads. */
export const prove = Effect.fnUntraced(function* (
  proof: Proof,
  options: {
    readonly database: string
    readonly archive: string
    readonly model: EventModel
    readonly onProgress: OnProgress
  },
): Effect.fn.Return<void, CopyFaulty | DatabaseFile.NoDatabase | MigrationError | SqlError> {
  const { archive, database, model, onProgress } = options
  if (proof === "none") return
  const examples =
    proof === "journal"
      ? yield* verify({ filename: database, archive, model, onProgress }).pipe(
          Effect.map(({ faults }) => wordsOf(faults)),
          // The migrations were just seen to be those of this release.
          Effect.catchTag("SchemaOutdated", ({ message }) => Effect.succeed([message])),
        )
      : yield* Effect.scoped(pagesOf(database))
  if (examples.length > 0) return yield* new CopyFaulty({ filename: database, examples })
})

const wordsOf = (faults: ReadonlyArray<Fault>): ReadonlyArray<string> =>
  faults.slice(0, EXAMPLES_MAX).map(({ examples, subject }) => `${subject}: ${examples[0]}`)

/** What SQLite finds wrong with the pages and indexes of a file. */
const pagesOf = (filename: string) =>
  Effect.flatMap(DatabaseFile.openExisting(filename), (db) =>
    Effect.try({
      try: () =>
        db
          .prepareUncached(`PRAGMA integrity_check(${EXAMPLES_MAX})`)
          .all()
          .map((row) => String(Object.values(row)[0]))
          .filter((detail) => detail !== "ok"),
      catch: (cause) => toSqlError(cause, `check ${filename}`),
    }),
  )

/** The sum of a file; with `copy` the file is written there as well, durably. */
export const sumOf = (
  path: string,
  task: string,
  onProgress: OnProgress,
  copy?: string,
): Effect.Effect<FileSum, SqlError> =>
  Effect.tryPromise({
    try: () => sumUp(path, { copy, onProgress: (done, total) => onProgress({ task, done, total }) }),
    catch: (cause) => toSqlError(cause, `read ${path}`),
  })
