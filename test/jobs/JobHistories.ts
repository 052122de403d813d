/** Random histories of jobs: commands of all kinds, valid or not, decided by the job's behavior. */
import * as fc from "fast-check"
import { JobBehavior } from "../../src/jobs/JobBehavior.ts"
import {
  type JobEnqueued,
  type JobEvent,
  type JobFailure,
  type JobOutcome,
  PRIORITIES,
} from "../../src/jobs/JobEvents.ts"
import type { JobState } from "../../src/jobs/JobState.ts"

export const failure: JobFailure = { name: "Broken", message: "it broke" }

/** The first event of a job that may be tried three times. */
export const enqueued = (options: Partial<typeof JobEnqueued.Type> = {}): typeof JobEnqueued.Type => ({
  _tag: "JobEnqueued",
  queue: "default",
  type: "test",
  priority: "normal",
  payload: { n: 1 },
  max_attempts: 3,
  timeout_ms: 60_000,
  ...options,
})

/** A command with the time since the one before it. Attempts are given relative to the job's newest. */
export type AnyCommand = { readonly pause: number } & (
  | { readonly tag: "Enqueue"; readonly spec: Partial<typeof JobEnqueued.Type> }
  | { readonly tag: "Start" | "Complete" | "Cancel" | "Retry" | "Log" | "Expire"; readonly behind: number }
  | { readonly tag: "EndDependency"; readonly which: number; readonly outcome: JobOutcome }
  | { readonly tag: "Progress"; readonly behind: number; readonly percent: number }
  | { readonly tag: "CompleteStep"; readonly behind: number; readonly name: string }
  | { readonly tag: "Fail"; readonly behind: number; readonly retryable: boolean; readonly wait: number }
  | {
      readonly tag: "Stall"
      readonly behind: number
      readonly reason: "process_lost" | "lease_expired" | "handed_back"
    }
  | { readonly tag: "Reschedule"; readonly wait: number }
  | { readonly tag: "Reprioritize"; readonly priority: (typeof PRIORITIES)[number] }
)

const pause = fc.constantFrom(0, 0, 1, 10)
const behind = fc.constantFrom(0, 0, 0, 0, 1, -1)
const wait = fc.constantFrom(0, 1, 10, 100)
const priority = fc.constantFrom(...PRIORITIES)

/** Optional fields are there or not, never undefined. */
const specs = fc.record(
  {
    queue: fc.constantFrom("default", "renders", "mail"),
    type: fc.constantFrom("test", "other"),
    priority,
    max_attempts: fc.integer({ min: 1, max: 4 }),
    due_at: fc.integer({ min: 0, max: 60 }),
    tags: fc.array(fc.constantFrom("red", "green", "blue"), { minLength: 1, maxLength: 3 }),
    concurrency_key: fc.constantFrom("tenant a", "tenant b"),
    expires_at: fc.integer({ min: 1, max: 200 }),
    on_dependency_failure: fc.constantFrom("cancel", "run", "wait"),
  },
  { requiredKeys: [] },
)

const commandOf = <Tag extends AnyCommand["tag"], Rest extends object>(
  weight: number,
  tag: Tag,
  rest: { [K in keyof Rest]: fc.Arbitrary<Rest[K]> },
) => ({
  weight,
  arbitrary: fc.record({ tag: fc.constant(tag), pause, ...rest }) as unknown as fc.Arbitrary<AnyCommand>,
})

export const enqueueCommand = commandOf(1, "Enqueue", { spec: specs }).arbitrary

export const anyCommand: fc.Arbitrary<AnyCommand> = fc.oneof(
  commandOf(2, "Enqueue", { spec: specs }),
  commandOf(8, "Start", { behind }),
  commandOf(2, "Complete", { behind }),
  commandOf(1, "Cancel", { behind }),
  commandOf(4, "Retry", { behind }),
  commandOf(1, "Log", { behind }),
  commandOf(1, "Expire", { behind }),
  commandOf(4, "EndDependency", {
    which: fc.nat(),
    outcome: fc.constantFrom("completed", "completed", "dead_letter", "cancelled"),
  }),
  commandOf(2, "Progress", { behind, percent: fc.integer({ min: 0, max: 100 }) }),
  commandOf(2, "CompleteStep", { behind, name: fc.constantFrom("plan", "draw", "encode") }),
  commandOf(4, "Fail", { behind, retryable: fc.constantFrom(true, true, false), wait }),
  commandOf(3, "Stall", { behind, reason: fc.constantFrom("process_lost", "lease_expired", "handed_back") }),
  commandOf(2, "Reschedule", { wait }),
  commandOf(2, "Reprioritize", { priority }),
)

/** The events that follow from a command; none when it is refused. */
export const decide = (state: JobState, command: AnyCommand, now: number): ReadonlyArray<JobEvent> => {
  const context = { id: "job_test", now }
  const attempt = "behind" in command ? state.attempt - command.behind : 0
  const { decide: by } = JobBehavior
  const outcome = () => {
    switch (command.tag) {
      case "Enqueue":
        return by.Enqueue(state, enqueued(command.spec), context)
      case "Start":
        return by.Start(state, { worker: "w" }, context)
      case "Log":
        return by.Log(state, { attempt, lines: [{ at: now, level: "info", message: "hm" }] }, context)
      case "Expire":
        return by.Expire(state, undefined, context)
      case "EndDependency": {
        const outstanding = state.dependencies?.outstanding ?? []
        const job = outstanding[command.which % Math.max(1, outstanding.length)] ?? "job_other"
        return by.EndDependency(state, { job, outcome: command.outcome }, context)
      }
      case "Progress":
        return by.Progress(state, { attempt, percent: command.percent }, context)
      case "CompleteStep":
        return by.CompleteStep(state, { attempt, name: command.name, result: now }, context)
      case "Complete":
        return by.Complete(state, { attempt, result: { n: now } }, context)
      case "Fail":
        return by.Fail(
          state,
          { attempt, error: failure, retryable: command.retryable, retryAt: now + command.wait },
          context,
        )
      case "Stall":
        return by.Stall(state, { attempt, reason: command.reason }, context)
      case "Cancel":
        return by.Cancel(state, {}, context)
      case "Retry":
        return by.Retry(state, undefined, context)
      case "Reschedule":
        return by.Reschedule(state, { dueAt: now + command.wait }, context)
      case "Reprioritize":
        return by.Reprioritize(state, { priority: command.priority }, context)
    }
  }
  const decision = outcome()
  return decision._tag === "Accepted" ? decision.events : []
}
