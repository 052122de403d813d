/**
 * A program that moves every stream of a folder's journal to the archive, and kills itself in the middle: while the rows of
 * the n-th transaction are taken out of the journal, after all before it are committed. Arguments: folder, n.
 */
import { Cause, Effect } from "effect"
import { everything, journalIn, move, notes } from "./ArchiveFixture.ts"

const [folder = "", killAt = ""] = process.argv.slice(2)
let transactions = 0

const program = Effect.gen(function* () {
  const streams = new Set((yield* everything).map(({ stream }) => stream))
  yield* move(...streams)
})

const projection = notes(() => {
  if (++transactions === Number(killAt)) process.kill(process.pid, "SIGKILL")
})

Effect.runFork(Effect.provide(program, journalIn(folder, projection))).addObserver((exit) => {
  if (exit._tag === "Failure") console.error(Cause.pretty(exit.cause))
  process.exit(exit._tag === "Success" ? 0 : 1)
})
