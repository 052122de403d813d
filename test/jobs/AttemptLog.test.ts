import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { LINES_MAX } from "../../src/jobs/AttemptLog.ts"
import { Queue } from "../../src/jobs/Queue.ts"
import type { JobLogged } from "../../src/jobs/JobEvents.ts"
import { settle } from "../support/Turns.ts"
import { ended, eventsOf, historyOf, numbered, Numbered, running, START } from "./QueueFixture.ts"

const logsOf = (id: string) =>
  Effect.map(eventsOf(id), (events) =>
    events
      .filter(({ _tag }) => _tag === "JobLogged")
      .map((event) => event as unknown as typeof JobLogged.Type),
  )

describe("what a handler logs", () => {
  it.effect("is kept with its attempt, by itself or through Effect's logger, before the attempt ends", () =>
    Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* ended(id)
      const lines = (yield* logsOf(id)).flatMap((event) =>
        event.lines.map((line) => ({ attempt: event.attempt, ...line })),
      )
      expect(lines).toEqual([
        { attempt: 1, at: START, level: "info", message: "first", data: { n: 1 } },
        { attempt: 1, at: START, level: "warn", message: "careful 7" },
        { attempt: 1, at: START, level: "error", message: "last" },
      ])
      expect((yield* historyOf(id)).slice(-1)).toEqual(["Completed"])
    }).pipe(
      Effect.provide(
        running(
          numbered((n, job) =>
            Effect.gen(function* () {
              yield* job.log("first", { data: { n } })
              yield* Effect.logWarning("careful", 7)
              yield* job.log("last", { level: "error" })
            }),
          ),
        ),
      ),
    ),
  )

  it.effect("is told at once, and then at most once a second", () =>
    Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* settle
      expect((yield* logsOf(id)).map(({ lines }) => lines.length)).toEqual([1])
      yield* Effect.forEach(Array.from({ length: 60 }), () =>
        Effect.andThen(settle, TestClock.adjust("100 millis")),
      )
      yield* ended(id)
      const counts = (yield* logsOf(id)).map(({ lines }) => lines.length)
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(50)
      expect(counts.length).toBeLessThanOrEqual(7)
    }).pipe(
      Effect.provide(
        running(
          numbered((_, job) =>
            Effect.forEach(Array.from({ length: 50 }), (_, i) =>
              Effect.andThen(job.log(`line ${i}`), Effect.sleep("100 millis")),
            ),
          ),
        ),
      ),
    ),
  )

  it.effect("is bounded, and what was left out is counted", () =>
    Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* ended(id)
      const logs = yield* logsOf(id)
      expect(logs.flatMap(({ lines }) => lines)).toHaveLength(LINES_MAX)
      expect(logs.at(-1)?.dropped).toBe(500)
    }).pipe(
      Effect.provide(
        running(
          numbered((_, job) =>
            Effect.forEach(Array.from({ length: LINES_MAX + 500 }), (_, i) => job.log(`line ${i}`), {
              discard: true,
            }),
          ),
        ),
      ),
    ),
  )
})
