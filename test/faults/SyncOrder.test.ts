/**
 * The order in which things reach the disk, from the system calls of a real process: this is what power loss leaves to
 * chance, and what `kill -9` cannot show, because the page cache survives it. Acknowledged means durable only if no answer
 * leaves before the `fsync` that follows the last write to the log; and a checkpoint is only safe if the database is
 * written after the log was synced, and the log written anew after the database was.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { Synchronous } from "../../src/sqlite/SqliteDatabase.ts"
import { live } from "../crash/Life.ts"
import { DATABASE } from "../crash/LoadProtocol.ts"
import { dataFolder } from "../support/ServerProcess.ts"
import { missing, tracing } from "./Strace.ts"

const ANSWERS = 600
/** Answers that leave together show how many callers a sync served; some must be alone for the test to mean anything. */
const SYNCS_MIN = 20

/** `<pid> <call>(<fd><<file>>, <rest>) = <result>`, as strace writes it. */
const CALL = /^\d+ +(\w+)\(\d+<([^>]*)>,? ?(.*)\) += (-?\d+)/
const CHANNEL = /^\d+ +write\(3<.*?"\{\\"_tag\\":\\"(\w+)/
const HEADER_AT_START = /, 32, 0$/

/** A call during which another thread made one is two lines: how it began, and how it ended. */
const BEGUN = /^(\d+) +(.*?) *<unfinished \.\.\.>$/
const RESUMED = /^(\d+) +<\.\.\. \w+ resumed>(.*)$/

/** The calls, whole, in the order in which they ended. */
const callsIn = (log: string): ReadonlyArray<string> => {
  const calls: Array<string> = []
  /** How the call of each thread that has not ended began. */
  const begun = new Map<string, string>()
  for (const line of readFileSync(log, "utf8").split("\n")) {
    const [, beginner, start] = BEGUN.exec(line) ?? []
    const [, ender, end] = RESUMED.exec(line) ?? []
    if (beginner !== undefined) begun.set(beginner, start!)
    else if (ender !== undefined) calls.push(`${ender} ${begun.get(ender)}${end}`)
    else calls.push(line)
  }
  return calls
}

interface Order {
  answers: number
  syncs: number
  checkpoints: number
  readonly faults: Array<string>
}

/** Goes through the calls in their order. */
const orderOf = (log: string, database: string): Order => {
  const order: Order = { answers: 0, syncs: 0, checkpoints: 0, faults: [] }
  let isLogDirty = false
  let isDatabaseDirty = false
  for (const line of callsIn(log)) {
    const told = CHANNEL.exec(line)?.[1]
    if (told !== undefined) {
      if (told !== "Accepted" && told !== "Cancelled" && told !== "Ended") continue
      order.answers++
      if (isLogDirty) order.faults.push(`an answer before its fsync: ${line}`)
      continue
    }
    const [, call, file, rest = "", result] = CALL.exec(line) ?? []
    if (call === undefined || Number(result) < 0) continue
    if (call === "pwrite64" && file === `${database}-wal`) {
      if (isDatabaseDirty && HEADER_AT_START.test(rest))
        order.faults.push(`a new log before the old one is in the database: ${line}`)
      isLogDirty = true
    } else if (call === "pwrite64" && file === database) {
      if (isLogDirty) order.faults.push(`a checkpoint of what is not durable: ${line}`)
      if (!isDatabaseDirty) order.checkpoints++
      isDatabaseDirty = true
    } else if (call === "fsync" && file === `${database}-wal`) {
      order.syncs++
      isLogDirty = false
    } else if (call === "fsync" && file === database) isDatabaseDirty = false
  }
  return order
}

const traced = Effect.fnUntraced(function* (synchronous: Synchronous) {
  const folder = yield* dataFolder
  const log = join(folder, "strace.log")
  let answers = 0
  const { signal, stderr } = yield* live({
    folder,
    seed: "order",
    mode: "checkpoint",
    synchronous,
    under: tracing(log, ["pwrite64", "fsync", "write"]),
    killAfter: ({ _tag }) => (_tag === "Accepted" && ++answers === ANSWERS ? 0 : undefined),
  })
  assert.strictEqual(signal, "SIGKILL", stderr)
  return orderOf(log, join(folder, DATABASE))
})

const skipped = missing === undefined ? "" : ` (${missing})`

describe.skipIf(missing !== undefined)(`what reaches the disk, in its order${skipped}`, () => {
  it.live("FULL: no answer leaves before its fsync, and checkpoints keep to their order", () =>
    Effect.gen(function* () {
      const { answers, checkpoints, faults, syncs } = yield* traced("FULL")
      assert.deepStrictEqual(faults, [])
      assert.isAtLeast(answers, ANSWERS)
      assert.isAtLeast(syncs, SYNCS_MIN)
      assert.isAtLeast(checkpoints, 2)
    }).pipe(Effect.scoped),
  )

  it.live("NORMAL: answers do leave before, and the rest holds", () =>
    Effect.gen(function* () {
      const { faults } = yield* traced("NORMAL")
      // This is what the setting is for, and shows that the check above can fail.
      assert.isNotEmpty(faults)
      for (const fault of faults) assert.match(fault, /^an answer before its fsync/)
    }).pipe(Effect.scoped),
  )
})
