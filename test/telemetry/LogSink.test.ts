import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { LogSink, type LogTarget } from "../../src/telemetry/LogSink.ts"
import { eventually } from "../support/Eventually.ts"

/** A reader that takes what it is given when it is told to, or refuses it. */
class Reader implements LogTarget {
  readonly taken: Array<string> = []
  #waiting: { readonly text: string; readonly done: (error?: Error) => void } | undefined
  isSlow = false
  isBroken = false

  write(text: string, done: (error?: Error) => void): void {
    this.#waiting = { text, done }
    if (!this.isSlow) this.take()
  }

  writeNow(text: string): void {
    this.taken.push(text)
  }

  take(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (this.isBroken) return waiting?.done(new Error("broken pipe"))
    if (waiting === undefined) return
    this.taken.push(waiting.text)
    waiting.done()
  }

  get text(): string {
    return this.taken.join("")
  }
}

const KILOBYTE = 1_024
const line = (text: string) => `${text.padEnd(KILOBYTE - 1, ".")}\n`

describe("a log sink", () => {
  it.live("writes lines in their order, many at a time", () =>
    Effect.gen(function* () {
      const reader = new Reader()
      const sink = new LogSink(reader)
      for (const word of ["one", "two", "three"]) sink.write(`${word}\n`)
      assert.deepStrictEqual(reader.taken, [])
      yield* eventually(() => reader.text === "one\ntwo\nthree\n")
      assert.lengthOf(reader.taken, 1)
    }),
  )

  it.live("writes what warns, and all before it, within the same turn of the event loop", () =>
    Effect.gen(function* () {
      const reader = new Reader()
      const sink = new LogSink(reader)
      sink.write("before\n")
      sink.write("a warning\n", true)
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      assert.strictEqual(reader.text, "before\na warning\n")
    }),
  )

  it.live("holds a bounded amount for a slow reader, drops the rest, and says afterwards how much", () =>
    Effect.gen(function* () {
      const reader = new Reader()
      reader.isSlow = true
      const sink = new LogSink(reader, (lines) => `lost ${lines}\n`)
      const lines = 4 * KILOBYTE
      for (let i = 0; i < lines; i++) sink.write(line(`${i}`))
      const { dropped } = sink.stats
      // 32 KiB are with the reader, 1 MiB waits.
      assert.strictEqual(dropped, lines - 32 - KILOBYTE)
      reader.isSlow = false
      reader.take()
      yield* sink.settled
      assert.isTrue(reader.text.endsWith(`lost ${dropped}\n`))
      assert.lengthOf(reader.text.split("\n").slice(0, -2), lines - dropped)
      sink.write("again\n", true)
      yield* sink.settled
      assert.isTrue(reader.text.endsWith("again\n"))
    }),
  )

  it.live("goes on when the reader does after an error, and counts what was lost to it", () =>
    Effect.gen(function* () {
      const reader = new Reader()
      reader.isBroken = true
      const sink = new LogSink(reader, (lines) => `lost ${lines}\n`)
      sink.write("nobody sees this\n", true)
      yield* sink.settled
      assert.deepStrictEqual(sink.stats, { lines: 1, dropped: 1 })
      reader.isBroken = false
      sink.write("back\n", true)
      yield* sink.settled
      assert.strictEqual(reader.text, "back\nlost 1\n")
    }),
  )

  it.live("does not wait for long at the end for a reader that takes nothing", () =>
    Effect.gen(function* () {
      const reader = new Reader()
      reader.isSlow = true
      const sink = new LogSink(reader)
      sink.write("never read\n", true)
      yield* sink.settled
      assert.deepStrictEqual(reader.taken, [])
    }),
  )

  it("hands over what is left when the process exits", () => {
    const reader = new Reader()
    const sink = new LogSink(reader)
    sink.write("last words\n")
    sink.writeNow()
    assert.strictEqual(reader.text, "last words\n")
  })
})
