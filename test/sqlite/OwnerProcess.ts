/** A program that owns the database it is told and holds it until it is killed; exit code 1 when it is refused. */
import { Effect } from "effect"
import { Ownership } from "../../src/sqlite/Ownership.ts"

const program = Effect.gen(function* () {
  yield* Ownership.acquire(process.argv[2] ?? "")
  process.send?.("owned")
  return yield* Effect.never
})

// Without an open channel an effect that never ends would not keep the process alive.
process.on("disconnect", () => process.exit())
Effect.runFork(Effect.scoped(program)).addObserver(() => process.exit(1))
