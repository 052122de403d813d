/** A program that rebuilds the database it is told and is killed in the middle of it, after the first page of events. */
import { Effect } from "effect"
import * as DatabaseFile from "../../src/ops/DatabaseFile.ts"
import { rebuild } from "../../src/ops/Rebuild.ts"
import { model } from "./SampleJournal.ts"

const program = Effect.gen(function* () {
  const database = yield* DatabaseFile.open({ filename: process.argv[2] ?? "" })
  yield* rebuild(database, model, ({ done }) => {
    if (done > 0) process.kill(process.pid, "SIGKILL")
  })
})

Effect.runFork(Effect.scoped(program))
