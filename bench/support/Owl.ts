/**
 * RenderOwl on a fresh database, without its HTTP face, for as long as the scope is open.
 */
import { Context, Effect, Layer } from "effect"
import { join } from "node:path"
import { Queue } from "../../src/jobs/Queue.ts"
import * as RenderOwl from "../../src/RenderOwl.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { describeDatabase } from "./Machine.ts"
import { NoopJob } from "./NoopJob.ts"

export const OWL_DATABASE = "owl.db"

/** The system, ready to take jobs. */
export const openOwl = (folder: string, note: (line: string) => void) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(
      RenderOwl.layer({ database: { filename: join(folder, OWL_DATABASE) } }),
    )
    note(describeDatabase(Context.get(context, SqliteClient).writer))
    return { queue: Context.get(context, Queue) }
  })

/** Takes jobs of the type and starts none, for as long as the scope is open. */
export const acceptOnly = (queue: Queue["Service"]) =>
  queue.register({ job: NoopJob, run: () => Effect.void, concurrency: 0 })
