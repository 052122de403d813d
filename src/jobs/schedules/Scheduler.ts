/**
 * The clock of all schedules: one fiber that sleeps until the earliest tick, decides it, and submits its job. A tick is
 * durable, with the id of its job, before the job is submitted, and the next tick of a schedule waits for that job; so
 * whatever breaks in between is mended by submitting that one job, and no tick ever has two.
 *
 * It starts after the handlers whose jobs it submits and stops before them: put its layer above theirs.
 */
import { Cause, Clock, Effect, Exit, Layer } from "effect"
import * as TypeId from "../../security/TypeId.ts"
import type { ActorError } from "../../actor/ActorSystem.ts"
import { Queue, type SubmitError } from "../Queue.ts"
import { Schedule } from "./Schedule.ts"
import type { ScheduleNotFound } from "./ScheduleErrors.ts"
import type { RefusalReason, ScheduledJob } from "./ScheduleEvents.ts"
import { Schedules, submissionOf } from "./Schedules.ts"
import { ScheduleStore } from "./ScheduleStore.ts"

/** Ticks are looked for at least this often, so that a stepped clock or a sleeping machine is noticed. */
const SLEEP_MAX_MS = 60_000
/** Schedules that tick in one pass; whoever is due next comes with the pass that follows at once. */
const PASS_MAX = 128
/** Of them, how many are at work at a time: their commits share transactions. */
const CONCURRENCY = 32
/** Pauses after a failure: doubling from the first to the longest. */
const RETRY_FIRST_MS = 100
const RETRY_MAX_MS = 30_000
/** Pause after the store could not be read. */
const LOOK_UP_RETRY_MS = 1_000

/** A schedule that could not tick, or whose tick has no job yet. */
interface Trouble {
  /** The job that its newest tick is to have. */
  readonly jobId: string | undefined
  readonly failures: number
  readonly retryAt: number
}

/** Why a submission can never succeed. Anything else passes. */
const REFUSALS: Readonly<Record<string, RefusalReason>> = {
  UnknownJobType: "unknown_job_type",
  InvalidPayload: "invalid_payload",
  TooManyQueues: "too_many_queues",
}

const make = Effect.gen(function* () {
  const { changed } = yield* Schedules
  const store = yield* ScheduleStore
  const queue = yield* Queue
  const schedule = yield* Schedule.client
  const ids = yield* TypeId.Generator
  const troubles = new Map<string, Trouble>()

  // Of an earlier process: its ticks that it did not live to submit.
  for (const { id, jobId } of yield* store.unsubmitted) {
    troubles.set(id, { jobId, failures: 0, retryAt: Number.NEGATIVE_INFINITY })
  }

  /** The job that a tick stands for. One that can never be is recorded, and the schedule goes on. */
  const submit = (
    id: string,
    jobId: string,
    job: ScheduledJob,
  ): Effect.Effect<void, SubmitError | ScheduleNotFound | ActorError> =>
    queue.submit(submissionOf(id, job, { jobId })).pipe(
      Effect.asVoid,
      Effect.catch((error): Effect.Effect<void, SubmitError | ScheduleNotFound | ActorError> => {
        const reason = REFUSALS[error._tag]
        if (reason === undefined) return Effect.fail(error)
        return Effect.logError("the job of a tick was refused", { schedule: id, job: jobId, reason }).pipe(
          Effect.andThen(schedule(id).RefuseJob({ job_id: jobId, reason })),
          Effect.asVoid,
        )
      }),
    )

  /** Submits the job of an earlier tick unless it is there: whoever failed may have got that far. */
  const mend = (id: string, jobId: string) =>
    Effect.asVoid(queue.get(jobId)).pipe(
      Effect.catchTag("JobNotFound", () =>
        Effect.flatMap(schedule(id).Get(), ({ job }) => submit(id, jobId, job)),
      ),
    )

  /** One tick of one schedule, if it is due. */
  const advance = (id: string): Effect.Effect<void> =>
    Effect.suspend(() => {
      const trouble = troubles.get(id)
      let jobId = trouble?.jobId
      const work = Effect.gen(function* () {
        if (jobId !== undefined) yield* mend(id, jobId)
        jobId = undefined
        const next = ids.next("job", yield* Clock.currentTimeMillis)
        const { state, ticked } = yield* schedule(id).Tick({ job_id: next })
        if (!ticked) return
        jobId = next
        yield* submit(id, next, state.job)
      }).pipe(
        // Deleted in the meantime: it submits nothing any more.
        Effect.catchTag("ScheduleNotFound", () => Effect.void),
      )
      return Effect.flatMap(Effect.exit(work), (outcome) =>
        Exit.isSuccess(outcome)
          ? Effect.sync(() => void troubles.delete(id))
          : postpone(id, jobId, trouble?.failures ?? 0, outcome.cause),
      )
    })

  const postpone = Effect.fnUntraced(function* (
    id: string,
    jobId: string | undefined,
    failures: number,
    cause: Cause.Cause<unknown>,
  ) {
    const pause = Math.min(RETRY_FIRST_MS * 2 ** failures, RETRY_MAX_MS)
    troubles.set(id, { jobId, failures: failures + 1, retryAt: (yield* Clock.currentTimeMillis) + pause })
    yield* Effect.logWarning("a schedule could not go on and tries again", { schedule: id, pause }, cause)
  })

  /** Whether it may try again. A retry further off than any pause was set by a clock that has since stepped back. */
  const isReady = (now: number) => (id: string) => {
    const retryAt = troubles.get(id)?.retryAt
    return retryAt === undefined || retryAt <= now || retryAt > now + RETRY_MAX_MS
  }

  /** Everything that is due now, one tick of each schedule; answers how long there is nothing to do, in milliseconds. */
  const pass = Effect.gen(function* () {
    changed.closeUnsafe()
    const now = yield* Clock.currentTimeMillis
    const due = yield* store.due(now, PASS_MAX + troubles.size)
    const ready = [...new Set([...troubles.keys(), ...due])].filter(isReady(now)).slice(0, PASS_MAX)
    if (ready.length > 0) {
      yield* Effect.forEach(ready, advance, { concurrency: CONCURRENCY, discard: true })
      return 0
    }
    let next = yield* store.nextTickAfter(now)
    for (const { retryAt } of troubles.values()) next = Math.min(next, retryAt)
    return Math.min(Math.ceil(next - now), SLEEP_MAX_MS)
  }).pipe(
    Effect.catchCause((cause) =>
      Effect.as(Effect.logError("schedules could not be looked up", cause), LOOK_UP_RETRY_MS),
    ),
  )

  yield* Effect.forkScoped(
    Effect.forever(
      Effect.flatMap(pass, (idle) => (idle === 0 ? Effect.void : Effect.timeoutOption(changed.await, idle))),
    ),
  )
})

/** Runs the schedules of this database while the layer lives. */
export const layer = Layer.effectDiscard(make)
