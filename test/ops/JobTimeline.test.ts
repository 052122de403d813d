import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result, Stream } from "effect"
import { TestClock } from "effect/testing"
import { rmSync } from "node:fs"
import { type JobEvent, jobEventTypes } from "../../src/jobs/JobEvents.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { archiveBeside } from "../../src/journal/SqliteJournal.ts"
import * as DatabaseFile from "../../src/ops/DatabaseFile.ts"
import { history, jobIdOf, jobStreamsOf } from "../../src/ops/JobHistory.ts"
import { JobTimeline, type TimelineEntry } from "../../src/ops/JobTimeline.ts"
import { entryJson, entryLines, type Paint, PLAIN, summaryLines } from "../../src/ops/TimelineText.ts"
import { enqueued } from "../jobs/JobHistories.ts"
import { settle } from "../support/Turns.ts"
import { archiveJob, damageEvents, JOB, journalAt, sample, START } from "./SampleJournal.ts"

const OTHER_JOB = "job_01k8w3e5r7fm2vx9q4ztd6yhb9"
const MINUTE = 60_000

/** Events with the milliseconds between each and the one before it. */
type History = ReadonlyArray<readonly [after: number, event: JobEvent]>

const tell = (events: History) => {
  const timeline = new JobTimeline()
  let recordedAt = START
  const entries = events.map(([after, event], index): TimelineEntry => {
    recordedAt += after
    return timeline.take({
      position: index + 1,
      version: index + 1,
      stream: JOB,
      recordedAt,
      metadata: undefined,
      event,
    })
  })
  return { timeline, entries, now: recordedAt }
}

/** The words of the last event of a history. */
const wordsOf = (events: History) => tell(events).entries.at(-1)!.words.join(" / ")

const first: readonly [number, JobEvent] = [0, enqueued()]
const dependent: readonly [number, JobEvent] = [0, enqueued({ depends_on: [OTHER_JOB] })]
const start = (attempt: number, after: number): readonly [number, JobEvent] => [
  after,
  { _tag: "JobStarted", attempt, worker: "pid-7" },
]
const error = { name: "Broken", message: "it broke" }

/** A history that ends with an event of the type, and what is said of it. */
const SAID: Readonly<Record<JobEvent["_tag"], ReadonlyArray<readonly [History, string]>>> = {
  JobEnqueued: [
    [[first], "test in default, due at once, priority normal, up to 3 attempts of at most 1m each"],
    [
      [
        [
          0,
          enqueued({
            queue: "mail",
            priority: "urgent",
            max_attempts: 1,
            due_at: START + 1_500,
            expires_at: START + MINUTE,
            depends_on: [OTHER_JOB],
            concurrency_key: "tenant 7",
            idempotency_key: "once",
            tags: ["red", "green"],
          }),
        ],
      ],
      "test in mail, due in 1s 500ms, priority urgent, up to 1 attempt of at most 1m each, " +
        `to be started within 1m, after ${OTHER_JOB}, concurrency key tenant 7, idempotency key once, tags red green`,
    ],
  ],
  JobDependencyEnded: [
    [
      [dependent, [1, { _tag: "JobDependencyEnded", job: OTHER_JOB, outcome: "completed", settled: true }]],
      `${OTHER_JOB} has completed`,
    ],
    [
      [
        dependent,
        [1, { _tag: "JobDependencyEnded", job: OTHER_JOB, outcome: "dead_letter", settled: false }],
      ],
      `${OTHER_JOB} is dead, and is waited for until it completes after all`,
    ],
  ],
  JobReleased: [
    [
      [first, [1_000, { _tag: "JobReleased", due_at: START + 1_000 }]],
      "it waits for no other job any more, due at once",
    ],
  ],
  JobStarted: [[[first, start(1, 250)], "by pid-7, after waiting 250ms"]],
  JobProgressed: [
    [[first, start(1, 0), [5, { _tag: "JobProgressed", attempt: 1, percent: 40 }]], "40 %"],
    [
      [first, start(1, 0), [5, { _tag: "JobProgressed", attempt: 1, percent: 40, message: "drawing" }]],
      "40 %: drawing",
    ],
  ],
  JobStepCompleted: [
    [
      [first, start(1, 0), [5, { _tag: "JobStepCompleted", attempt: 1, name: "plan", result: null }]],
      "step plan is done",
    ],
  ],
  JobLogged: [
    [
      [
        first,
        start(1, 0),
        [
          1_000,
          {
            _tag: "JobLogged",
            attempt: 1,
            lines: [
              { at: START + 400, level: "info", message: "opened" },
              { at: START + 1_000, level: "warn", message: "slow" },
            ],
            dropped: 12,
          },
        ],
      ],
      "info, 600ms before: opened / warn: slow / 12 lines of this attempt were too many to be kept",
    ],
  ],
  JobCompleted: [
    [
      [first, start(1, 0), [1_200, { _tag: "JobCompleted", attempt: 1, result: null }]],
      "after running 1s 200ms",
    ],
  ],
  JobAttemptFailed: [
    [
      [first, start(1, 0), [300, { _tag: "JobAttemptFailed", attempt: 1, error, retry_at: START + 2_300 }]],
      "after running 300ms: Broken: it broke; next attempt in 2s",
    ],
    [
      [first, start(1, 0), [300, { _tag: "JobAttemptFailed", attempt: 1, error, retry_at: null }]],
      "after running 300ms: Broken: it broke; no further attempt",
    ],
  ],
  JobStalled: [
    [
      [
        first,
        start(1, 0),
        [50, { _tag: "JobStalled", attempt: 1, reason: "process_lost", retry_at: START + 50 }],
      ],
      "after running 50ms: its process ended; next attempt at once",
    ],
    [
      [
        first,
        start(1, 0),
        [50, { _tag: "JobStalled", attempt: 1, reason: "handed_back", retry_at: START + 50 }],
      ],
      "after running 50ms: handed back in good order, which costs no attempt; next attempt at once",
    ],
  ],
  JobDeadLettered: [
    [
      [
        [0, enqueued({ max_attempts: 1 })],
        start(1, 0),
        [9, { _tag: "JobAttemptFailed", attempt: 1, error, retry_at: null }],
        [0, { _tag: "JobDeadLettered", reason: "attempts_used_up" }],
      ],
      "its attempts are used up (1 of 1)",
    ],
    [[first, [0, { _tag: "JobDeadLettered", reason: "not_retryable" }]], "its error is not one to retry"],
    [
      [first, [0, { _tag: "JobDeadLettered", reason: "expired" }]],
      "its next attempt would start after its deadline",
    ],
  ],
  JobCancelled: [
    [[first, [5, { _tag: "JobCancelled" }]], "while it waited"],
    [
      [first, start(1, 0), [70, { _tag: "JobCancelled", reason: "not wanted" }]],
      "while attempt 1 ran, for 70ms: not wanted",
    ],
    [[first, [5, { _tag: "JobCancelled", cause: "expired" }]], "while it waited: its deadline has passed"],
  ],
  JobRedriven: [
    [
      [first, [5, { _tag: "JobCancelled" }], [1, { _tag: "JobRedriven", due_at: START + 6 }]],
      "with all its attempts anew, due at once",
    ],
  ],
  JobRescheduled: [[[first, [0, { _tag: "JobRescheduled", due_at: START + 3_600_000 }]], "due in 1h"]],
  JobReprioritized: [
    [[first, [0, { _tag: "JobReprioritized", priority: "urgent" }]], "from normal to urgent"],
  ],
}

describe("the words of a timeline", () => {
  for (const [tag, cases] of Object.entries(SAID)) {
    it(`say what ${tag} means`, () => {
      for (const [events, said] of cases) assert.strictEqual(wordsOf(events), said)
    })
  }

  it("are there for every type of event that the journal may hold", () => {
    assert.sameMembers(
      Object.keys(SAID),
      jobEventTypes.map(({ tag }) => tag),
    )
  })
})

const twoAttempts: History = [
  first,
  start(1, 100),
  [1_000, { _tag: "JobAttemptFailed", attempt: 1, error, retry_at: START + 3_100 }],
  start(2, 2_050),
  [10, { _tag: "JobStepCompleted", attempt: 2, name: "plan", result: 1 }],
  [490, { _tag: "JobCompleted", attempt: 2, result: null }],
]

describe("the sums of a timeline", () => {
  it("add up over all attempts", () => {
    const { now, timeline } = tell(twoAttempts)
    assert.deepStrictEqual(timeline.summary(now + MINUTE), {
      status: "completed",
      queue: "default",
      type: "test",
      attempts: 2,
      maxAttempts: 3,
      steps: 1,
      waitMs: 100 + 50,
      processingMs: 1_000 + 500,
      totalMs: 3_650,
      error: undefined,
    })
  })

  it("count an attempt that is under way up to now, and the error of a job that is dead", () => {
    const { now, timeline } = tell(twoAttempts.slice(0, 4))
    assert.deepInclude(timeline.summary(now + 300), {
      status: "processing",
      processingMs: 1_300,
      error: undefined,
    })
    const dead = tell([...twoAttempts.slice(0, 3), [0, { _tag: "JobDeadLettered", reason: "not_retryable" }]])
    assert.deepInclude(dead.timeline.summary(dead.now), { status: "dead_letter", error })
  })
})

describe("a printed timeline", () => {
  it("has a line an event: when, how long after the first, which attempt, what", () => {
    const { entries, now, timeline } = tell(twoAttempts)
    assert.deepStrictEqual(
      entries.flatMap((entry) => entryLines(entry, PLAIN)).map((line) => line.replaceAll(/ +/g, " ")),
      [
        "2026-01-01T00:00:00.000Z +0ms JobEnqueued test in default, due at once, priority normal, up to 3 attempts of at most 1m each",
        "2026-01-01T00:00:00.100Z +100ms #1 JobStarted by pid-7, after waiting 100ms",
        "2026-01-01T00:00:01.100Z +1s 100ms #1 JobAttemptFailed after running 1s: Broken: it broke; next attempt in 2s",
        "2026-01-01T00:00:03.150Z +3s 150ms #2 JobStarted by pid-7, after waiting 50ms",
        "2026-01-01T00:00:03.160Z +3s 160ms #2 JobStepCompleted step plan is done",
        "2026-01-01T00:00:03.650Z +3s 650ms #2 JobCompleted after running 500ms",
      ],
    )
    assert.deepStrictEqual(summaryLines(timeline.summary(now), PLAIN), [
      "completed after 2 of 3 attempts, 1 step done",
      "waited      150ms",
      "processed   1s 500ms",
      "in total    3s 650ms",
    ])
  })

  it("lines its columns up, also below an event of several lines", () => {
    const { entries } = tell(SAID.JobLogged[0]![0])
    const [enqueuedLine, startedLine, ...logLines] = entries.flatMap((entry) => entryLines(entry, PLAIN))
    const column = enqueuedLine!.indexOf("test in default")
    assert.strictEqual(startedLine!.indexOf("by pid-7"), column)
    assert.deepStrictEqual(
      logLines.map((line) => line.slice(column, column + 4)),
      ["info", "warn", "12 l"],
    )
  })

  it("lets no text of users steer the terminal, break the line or go on without end", () => {
    const message = `\u001B[31mred\u001B[0m\nnext\r\u0007 \u202Eturned ${"x".repeat(1_000)}`
    const { entries } = tell([
      first,
      start(1, 0),
      [1, { _tag: "JobAttemptFailed", attempt: 1, error: { name: "E", message }, retry_at: null }],
    ])
    const [line] = entryLines(entries.at(-1)!, PLAIN)
    assert.match(line!, /E: \uFFFD\[31mred\uFFFD\[0m next \uFFFD \uFFFDturned x+…$/)
    assert.notMatch(line!, /\p{Cc}|\p{Cf}/u)
    assert.isBelow(line!.length, 400)
  })

  it("paints what ended well and what did not, and nothing without colours", () => {
    const paint: Paint = (style, text) => `<${style}>${text.trim()}</>`
    const { entries } = tell(twoAttempts)
    const styles = entries.map((entry) =>
      /<(green|yellow|red)>(\w+)/.exec(entryLines(entry, paint)[0]!)?.slice(1),
    )
    assert.deepStrictEqual(
      styles.filter((style) => style !== undefined),
      [
        ["yellow", "JobAttemptFailed"],
        ["green", "JobCompleted"],
      ],
    )
  })

  it("is the same as JSON, with the event's own data", () => {
    const { entries } = tell(twoAttempts)
    assert.deepStrictEqual(JSON.parse(entryJson(entries[2]!)), {
      version: 3,
      position: 3,
      type: "JobAttemptFailed",
      recorded_at: "2026-01-01T00:00:01.100Z",
      since_start_ms: 1_100,
      attempt: 1,
      worker: "pid-7",
      words: ["after running 1s: Broken: it broke; next attempt in 2s"],
      data: { attempt: 1, error, retry_at: START + 3_100 },
    })
  })
})

describe("the id of a job", () => {
  it("may be that of its render, and nothing else", () => {
    assert.deepStrictEqual(jobIdOf(JOB), Result.succeed(JOB))
    assert.deepStrictEqual(jobIdOf(JOB.replace("job_", "rnd_")), Result.succeed(JOB))
    for (const given of [
      "",
      "job_",
      "proj_01k8w3e5r7fm2vx9q4ztd6yhb4",
      `${JOB}0`,
      JOB.toUpperCase(),
      `${JOB}\n`,
    ]) {
      const refused = jobIdOf(given)
      assert.isTrue(Result.isFailure(refused), given)
    }
  })
})

describe("the history of a job", () => {
  const tagsOf = Stream.runFold(
    () => [] as ReadonlyArray<string>,
    (tags, { recorded }: TimelineEntry) => [...tags, recorded.event._tag],
  )
  const read = (filename: string, id: string) =>
    Effect.gen(function* () {
      const database = yield* DatabaseFile.openExisting(filename)
      const archive = yield* DatabaseFile.openArchive(archiveBeside(filename))
      const timeline = new JobTimeline()
      return yield* tagsOf(history(jobStreamsOf(database, archive), id, timeline, { follow: false }))
    }).pipe(Effect.scoped)

  it.effect("is read from the file", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* read(yield* sample, JOB), [
        "JobEnqueued",
        "JobStarted",
        "JobAttemptFailed",
        "JobStarted",
        "JobCompleted",
      ])
    }).pipe(Effect.scoped),
  )

  it.effect("is read from the archive when the job has left for it", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      const before = yield* read(filename, JOB)
      yield* archiveJob(filename)
      assert.deepStrictEqual(yield* read(filename, JOB), before)
      rmSync(archiveBeside(filename))
      const lost = yield* Effect.flip(read(filename, JOB))
      assert.match(
        lost.message,
        /^the history of job_\w+ cannot be read: the archive .* 1 archived streams is not there/,
      )
    }).pipe(Effect.scoped),
  )

  it.effect("is read page by page, however long it is", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      const progress = Array.from({ length: 1_000 }, (_, n) => ({
        _tag: "JobProgressed",
        attempt: 1,
        percent: n / 10,
      }))
      const events = [enqueued(), { _tag: "JobStarted", attempt: 1, worker: "w" }, ...progress]
      yield* Effect.flatMap(Journal, (journal) =>
        journal.append([{ stream: OTHER_JOB, expectedVersion: 0, events }], START),
      ).pipe(Effect.provide(journalAt(filename)))
      assert.lengthOf(yield* read(filename, OTHER_JOB), 1_002)
    }).pipe(Effect.scoped),
  )

  it.effect("of a job that nobody knows, or that cannot be read, is an error", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      const unknown = yield* Effect.flip(read(filename, OTHER_JOB))
      assert.strictEqual(unknown.message, `there is no job ${OTHER_JOB} in ${filename}`)
      damageEvents(filename, "UPDATE events SET type = 'JobVanished' WHERE position = 3")
      const unreadable = yield* Effect.flip(read(filename, JOB))
      assert.match(
        unreadable.message,
        new RegExp(`^the history of ${JOB} cannot be read: cannot read JobVanished`),
      )
    }).pipe(Effect.scoped),
  )

  it.effect("can be followed until the job ends", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        const append = (expectedVersion: number, event: JobEvent) =>
          journal.append([{ stream: OTHER_JOB, expectedVersion, events: [event] }], START)
        yield* append(0, enqueued())
        const database = yield* DatabaseFile.openExisting(filename)
        const streams = jobStreamsOf(database, yield* DatabaseFile.openArchive(archiveBeside(filename)))
        const following = yield* Effect.forkChild(
          tagsOf(history(streams, OTHER_JOB, new JobTimeline(), { follow: true })),
        )
        yield* TestClock.adjust("1 minute")
        yield* append(1, { _tag: "JobStarted", attempt: 1, worker: "w" })
        yield* TestClock.adjust("1 minute")
        yield* settle
        assert.isUndefined(following.pollUnsafe())
        yield* append(2, { _tag: "JobCompleted", attempt: 1, result: null })
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* Fiber.join(following), ["JobEnqueued", "JobStarted", "JobCompleted"])
      }).pipe(Effect.provide(journalAt(filename)))
    }).pipe(Effect.scoped),
  )
})
