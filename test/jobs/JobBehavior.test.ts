import { describe, expect, it } from "vitest"
import * as fc from "fast-check"
import { given } from "../../src/actor/BehaviorSpec.ts"
import { JobBehavior } from "../../src/jobs/JobBehavior.ts"
import type { JobEvent } from "../../src/jobs/JobEvents.ts"
import { isFinished, type JobState } from "../../src/jobs/JobState.ts"
import { anyCommand, decide, enqueued, failure } from "./JobHistories.ts"

const started = (attempt: number): JobEvent => ({ _tag: "JobStarted", attempt, worker: "w" })
const completed = (attempt: number): JobEvent => ({ _tag: "JobCompleted", attempt, result: null })
const failed = (attempt: number, retry_at: number | null): JobEvent => ({
  _tag: "JobAttemptFailed",
  attempt,
  error: failure,
  retry_at,
})
const stalled = (
  attempt: number,
  reason: "process_lost" | "lease_expired" | "handed_back",
  retry_at: number | null,
): JobEvent => ({ _tag: "JobStalled", attempt, reason, retry_at })
const deadLettered: JobEvent = { _tag: "JobDeadLettered", reason: "attempts_used_up" }
const cancelled: JobEvent = { _tag: "JobCancelled" }

const NOW = 1_000
/** A way into every status; each job may be tried three times. */
const histories = {
  absent: [],
  scheduled: [enqueued({ due_at: NOW + 1 })],
  pending: [enqueued()],
  processing: [enqueued(), started(1)],
  completed: [enqueued(), started(1), completed(1)],
  dead_letter: [enqueued({ max_attempts: 1 }), started(1), failed(1, null), deadLettered],
  cancelled: [enqueued(), cancelled],
} satisfies Record<string, ReadonlyArray<JobEvent>>

const { _tag: _, ...spec } = enqueued()
/** A valid payload for every command; those of a worker are of attempt 1. */
const payloads = {
  Enqueue: spec,
  Start: { worker: "w" },
  Progress: { attempt: 1, percent: 50 },
  CompleteStep: { attempt: 1, name: "plan", result: 7 },
  Complete: { attempt: 1, result: null },
  Fail: { attempt: 1, error: failure, retryable: true, retryAt: NOW + 5 },
  Stall: { attempt: 1, reason: "process_lost" },
  Cancel: {},
  Retry: undefined,
  Reschedule: { dueAt: NOW + 50 },
  Reprioritize: { priority: "urgent" },
} as const
type Command = keyof typeof payloads

/** By command: what follows in each status. An absent entry: the command is refused, with `JobConflict` or `StaleLease`. */
const table: Record<Command, Partial<Record<keyof typeof histories, ReadonlyArray<JobEvent>>>> = {
  Enqueue: { absent: [enqueued()] },
  Start: { pending: [started(1)] },
  Progress: { processing: [{ _tag: "JobProgressed", attempt: 1, percent: 50 }] },
  CompleteStep: { processing: [{ _tag: "JobStepCompleted", attempt: 1, name: "plan", result: 7 }] },
  Complete: { processing: [completed(1)] },
  Fail: { processing: [failed(1, NOW + 5)] },
  Stall: { processing: [stalled(1, "process_lost", NOW)] },
  Cancel: { scheduled: [cancelled], pending: [cancelled], processing: [cancelled], cancelled: [] },
  Retry: {
    scheduled: [{ _tag: "JobRescheduled", due_at: NOW }],
    pending: [],
    dead_letter: [{ _tag: "JobRedriven", due_at: NOW }],
    cancelled: [{ _tag: "JobRedriven", due_at: NOW }],
  },
  Reschedule: {
    scheduled: [{ _tag: "JobRescheduled", due_at: NOW + 50 }],
    pending: [{ _tag: "JobRescheduled", due_at: NOW + 50 }],
  },
  Reprioritize: {
    scheduled: [{ _tag: "JobReprioritized", priority: "urgent" }],
    pending: [{ _tag: "JobReprioritized", priority: "urgent" }],
  },
}
const ofWorkers = new Set<string>(["Progress", "CompleteStep", "Complete", "Fail", "Stall"])

describe("every command in every status", () => {
  for (const command of Object.keys(payloads) as ReadonlyArray<Command>) {
    for (const status of Object.keys(histories) as ReadonlyArray<keyof typeof histories>) {
      const events = table[command][status]
      const refusal = ofWorkers.has(command) ? "StaleLease" : "JobConflict"
      it(`${command} of a job that is ${status}: ${events?.map(({ _tag }) => _tag).join() ?? refusal}`, () => {
        const outcome = given(JobBehavior, ...histories[status]).when(command, payloads[command] as never, {
          now: NOW,
        })
        if (events === undefined) outcome.thenRefused(refusal)
        else outcome.thenEvents(...events)
      })
    }
  }
})

describe("an attempt", () => {
  it("is numbered, and its number is the answer to Start", () => {
    given(JobBehavior, ...histories.pending)
      .when("Start", { worker: "w" })
      .thenAnswer(1)
    given(JobBehavior, enqueued(), started(1), failed(1, 4))
      .when("Start", { worker: "w" })
      .thenEvents(started(2))
      .thenAnswer(2)
  })

  it("does not start before the job is due", () => {
    const job = given(JobBehavior, enqueued({ due_at: 500 }))
    job.when("Start", { worker: "w" }, { now: 499 }).thenRefused("JobConflict")
    job.when("Start", { worker: "w" }, { now: 500 }).thenEvents(started(1))
  })

  it("is due when it was enqueued, unless said otherwise", () => {
    expect(given(JobBehavior, enqueued()).state.dueAt).toBe(1)
    expect(given(JobBehavior, enqueued({ due_at: 500 })).state.dueAt).toBe(500)
  })

  it("that is not the newest changes nothing any more", () => {
    const job = given(JobBehavior, enqueued(), started(1), stalled(1, "lease_expired", 3), started(2))
    for (const command of ["Progress", "CompleteStep", "Complete", "Fail", "Stall"] as const) {
      job.when(command, payloads[command] as never).thenRefused("StaleLease")
    }
    job.when("Complete", { attempt: 2, result: null }).thenEvents(completed(2))
  })

  it("of the future is as stale as one of the past", () => {
    given(JobBehavior, ...histories.processing)
      .when("Complete", { attempt: 2, result: null })
      .thenRefused("StaleLease")
  })

  it("records when it waited, ran and ended", () => {
    const { state } = given(JobBehavior, enqueued({ due_at: 1 }), started(1), failed(1, 9))
    expect(state.attempts).toEqual([
      { number: 1, worker: "w", startedAt: 2, waitMs: 1, endedAt: 3, outcome: "failed", error: failure },
    ])
  })
})

describe("failures", () => {
  it("are retried until the attempts are used up, and then the job is a dead letter", () => {
    const once = [enqueued({ max_attempts: 2 }), started(1)]
    const fail = (attempt: number) => ({ attempt, error: failure, retryable: true, retryAt: 77 })
    given(JobBehavior, ...once)
      .when("Fail", fail(1))
      .thenEvents(failed(1, 77))
    const { state } = given(JobBehavior, ...once, failed(1, 3), started(2))
      .when("Fail", fail(2))
      .thenEvents(failed(2, null), deadLettered)
    expect(state).toMatchObject({ status: "dead_letter", failures: 2, attempt: 2, error: failure })
  })

  it("that say so are not retried", () => {
    given(JobBehavior, ...histories.processing)
      .when("Fail", { attempt: 1, error: failure, retryable: false, retryAt: 77 })
      .thenEvents(failed(1, null), { _tag: "JobDeadLettered", reason: "not_retryable" })
  })

  it("of a process or a lease count as attempts", () => {
    for (const reason of ["process_lost", "lease_expired"] as const) {
      given(JobBehavior, enqueued({ max_attempts: 1 }), started(1))
        .when("Stall", { attempt: 1, reason })
        .thenEvents(stalled(1, reason, null), deadLettered)
    }
  })

  it("do not include work that was handed back, however often", () => {
    const history: Array<JobEvent> = [enqueued({ max_attempts: 1 })]
    for (let attempt = 1; attempt <= 5; attempt++) {
      const outcome = given(JobBehavior, ...history, started(attempt))
        .when("Stall", { attempt, reason: "handed_back" }, { now: 50 })
        .thenEvents(stalled(attempt, "handed_back", 50))
      expect(outcome.state).toMatchObject({ status: "waiting", failures: 0, attempt, dueAt: 50 })
      history.push(started(attempt), stalled(attempt, "handed_back", 50))
    }
  })

  it("are forgiven by a redrive, but attempts go on counting", () => {
    const dead = given(JobBehavior, ...histories.dead_letter)
    const { state } = dead.when("Retry", undefined, { now: 90 })
    expect(state).toMatchObject({
      status: "waiting",
      failures: 0,
      attempt: 1,
      dueAt: 90,
      finishedAt: undefined,
    })
    given(JobBehavior, ...histories.dead_letter, { _tag: "JobRedriven", due_at: 5 })
      .when("Start", { worker: "w" })
      .thenEvents(started(2))
  })
})

describe("steps", () => {
  it("that are done stay done", () => {
    given(JobBehavior, ...histories.processing, {
      _tag: "JobStepCompleted",
      attempt: 1,
      name: "plan",
      result: 7,
    })
      .when("CompleteStep", { attempt: 1, name: "plan", result: 8 })
      .thenEvents()
  })

  it("survive the attempt, and the redrive", () => {
    const step: JobEvent = { _tag: "JobStepCompleted", attempt: 1, name: "plan", result: 7 }
    const { state } = given(
      JobBehavior,
      enqueued({ max_attempts: 1 }),
      started(1),
      step,
      failed(1, null),
      deadLettered,
      { _tag: "JobRedriven", due_at: 7 },
      started(2),
    )
    expect(state.steps).toEqual([{ attempt: 1, name: "plan", result: 7, completedAt: 3 }])
  })
})

describe("commands that change nothing", () => {
  it("append nothing", () => {
    const pending = given(JobBehavior, enqueued({ due_at: 5, priority: "high" }))
    pending.when("Reschedule", { dueAt: 5 }).thenEvents()
    pending.when("Reprioritize", { priority: "high" }).thenEvents()
    pending.when("Retry", undefined, { now: 6 }).thenEvents()
    given(JobBehavior, ...histories.cancelled)
      .when("Cancel", {})
      .thenEvents()
  })
})

/** What may follow each stored status. */
const successors: Record<JobState["status"], ReadonlyArray<JobState["status"]>> = {
  absent: ["absent", "waiting", "blocked"],
  blocked: ["blocked", "waiting", "cancelled"],
  waiting: ["waiting", "processing", "cancelled"],
  processing: ["processing", "waiting", "completed", "dead_letter", "cancelled"],
  completed: ["completed"],
  dead_letter: ["dead_letter", "waiting"],
  cancelled: ["cancelled", "waiting"],
  archived: ["archived"],
}

describe("whatever commands come in whatever order", () => {
  it("a job keeps its rules", () => {
    fc.assert(
      fc.property(fc.array(anyCommand, { maxLength: 60 }), (commands) => {
        let state = JobBehavior.initial
        let now = 1
        const recorded: Array<{ readonly event: JobEvent; readonly at: number }> = []
        for (const command of commands) {
          now += command.pause
          const before = state
          const events = decide(before, command, now)
          for (const event of events) {
            state = JobBehavior.evolve(state, event, now)
            recorded.push({ event, at: now })
          }
          const startsAnAttempt = state.attempt > before.attempt
          const open = state.attempts.filter(({ endedAt }) => endedAt === undefined)
          const rules = {
            "a refusal changes nothing": events.length > 0 || state === before,
            "a status follows its predecessors": successors[before.status].includes(state.status),
            "an end is final but for a redrive":
              !isFinished(before) || events.every(({ _tag }) => _tag === "JobRedriven"),
            "failures never exceed the maximum": state.failures <= state.maxAttempts,
            "attempts are counted one by one": [0, 1].includes(state.attempt - before.attempt),
            "no attempt beyond the maximum": !startsAnAttempt || before.failures < before.maxAttempts,
            "no attempt before its time": !startsAnAttempt || before.dueAt <= now,
            "at most one attempt is open, the newest, while processing":
              open.map(({ number }) => number).join() ===
              (state.status === "processing" ? String(state.attempt) : ""),
            "an end has a time": (state.finishedAt !== undefined) === isFinished(state),
            "a step is completed once":
              new Set(state.steps.map(({ name }) => name)).size === state.steps.length,
          }
          expect(Object.entries(rules).filter(([, holds]) => !holds)).toEqual([])
        }
        // What the journal stores is JSON: it must mean the same when it is read again.
        let replayed = JobBehavior.initial
        for (const { event, at } of recorded) {
          replayed = JobBehavior.evolve(replayed, JSON.parse(JSON.stringify(event)) as JobEvent, at)
        }
        expect(replayed).toEqual(state)
      }),
      { numRuns: 500 },
    )
  })
})
