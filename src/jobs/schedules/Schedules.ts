/**
 * Schedules as people and programs use them: made, changed, paused, triggered and listed. What is wrong with one is said
 * field by field and nothing of it is stored. Ticks are the `Scheduler`'s: without one in the process, none happen.
 */
import { Clock, Context, Effect, Latch, Layer, Result, Schema, Semaphore } from "effect"
import type { Json } from "effect/Schema"
import type { ActorError } from "../../actor/ActorSystem.ts"
import { type FieldError, fieldErrors } from "../../http/FieldError.ts"
import type { EventMetadata, JournalError } from "../../journal/Journal.ts"
import { hasActedBefore, idsOr } from "../../security/KeyedRequest.ts"
import * as TypeId from "../../security/TypeId.ts"
import { InvalidPayload } from "../JobErrors.ts"
import type { JobType } from "../JobType.ts"
import { Queue, type SubmitError } from "../Queue.ts"
import type { Submission } from "../Submission.ts"
import type { Enqueued } from "../Enqueue.ts"
import type { CatchUp } from "./CatchUp.ts"
import { isTimeZone, nextTick, parse } from "./CronTime.ts"
import { Schedule, type ScheduleState } from "./Schedule.ts"
import { InvalidSchedule, ScheduleNotFound, TooManySchedules } from "./ScheduleErrors.ts"
import type { ScheduledJob } from "./ScheduleEvents.ts"
import { type ListedSchedule, ScheduleStore } from "./ScheduleStore.ts"

/** Schedules that one installation holds. */
export const SCHEDULES_MAX = 10_000
/** The longest expression that says something: every field as a list. */
export const CRON_CHARACTERS_MAX = 500
/** The zone of a schedule that names none. */
const DEFAULT_TIME_ZONE = "UTC"
/** A payload is taken as its schema says or not at all; everything that is wrong with it is reported. */
const STRICT = { onExcessProperty: "error", errors: "all" } as const

/** A schedule that is wanted. */
export interface NewSchedule {
  readonly name: string
  /** 5 fields, minute first, or 6, second first: `30 2 * * mon-fri`. */
  readonly cron: string
  /** IANA name. Default: UTC. */
  readonly time_zone?: string | undefined
  readonly job: ScheduledJob
  /** What becomes of missed ticks. Default: latest. */
  readonly catch_up?: CatchUp | undefined
}

/** What of a schedule can be changed. A `job` replaces the one before it as a whole. */
export type ScheduleChanges = { readonly [Key in keyof NewSchedule]?: NewSchedule[Key] | undefined }

/** A schedule as it stands. */
export interface ScheduleSnapshot {
  readonly id: string
  readonly state: ScheduleState
}

type CommandError = ScheduleNotFound | ActorError

export class Schedules extends Context.Service<
  Schedules,
  {
    /**
     * Makes a schedule whose first tick is the first one after now.
     *
     * @example
     * yield* schedules.create({
     *   name: "weekly report",
     *   cron: "0 9 * * mon",
     *   time_zone: "Europe/Berlin",
     *   job: yield* Schedules.job(Report, { days: 7 }),
     * })
     */
    readonly create: (
      schedule: NewSchedule,
      metadata?: EventMetadata,
    ) => Effect.Effect<ScheduleSnapshot, InvalidSchedule | TooManySchedules | ActorError>
    readonly get: (id: string) => Effect.Effect<ScheduleSnapshot, CommandError>
    /** Changes what is given. With another expression or zone, the next tick is the first of the new ones after now. */
    readonly update: (
      id: string,
      changes: ScheduleChanges,
      metadata?: EventMetadata,
    ) => Effect.Effect<ScheduleSnapshot, InvalidSchedule | CommandError>
    /** No tick happens until it is resumed. */
    readonly pause: (id: string, metadata?: EventMetadata) => Effect.Effect<ScheduleSnapshot, CommandError>
    /** Goes on; the ticks of the pause are missed ones. */
    readonly resume: (id: string, metadata?: EventMetadata) => Effect.Effect<ScheduleSnapshot, CommandError>
    /** Submits the job now, beside the ticks. Also while paused. */
    readonly trigger: (
      id: string,
      metadata?: EventMetadata,
    ) => Effect.Effect<Enqueued, SubmitError | CommandError>
    /** Ends the schedule. Jobs that it has submitted are not touched. */
    readonly delete: (id: string, metadata?: EventMetadata) => Effect.Effect<void, CommandError>
    /** At most `limit` schedules that were created before the one at the position `before`. */
    readonly page: (page: {
      readonly before: number
      readonly limit: number
    }) => Effect.Effect<ReadonlyArray<ListedSchedule>, JournalError>
    /** Opens whenever the next tick of a schedule may be another one. */
    readonly changed: Latch.Latch
  }
>()("renderowl/jobs/schedules/Schedules") {
  /** The job of a schedule, from its definition: its payload is encoded and its own settings stay its own. */
  static job<Type extends string, Payload, Success, Failure>(
    job: JobType<Type, Payload, Success, Failure>,
    payload: Payload,
    options: Omit<ScheduledJob, "type" | "payload"> = {},
  ): Effect.Effect<ScheduledJob, InvalidPayload> {
    return Schema.encodeEffect(job.payload)(payload).pipe(
      Effect.mapError((cause) => new InvalidPayload({ type: job.type, cause })),
      Effect.map((encoded) => ({ type: job.type, payload: (encoded ?? null) as Json, ...options })),
    )
  }

  static readonly layer = Layer.effect(
    Schedules,
    Effect.gen(function* () {
      const queue = yield* Queue
      const store = yield* ScheduleStore
      const schedule = yield* Schedule.client
      const ids = yield* TypeId.Generator
      const changed = Latch.makeUnsafe(false)
      /** Counting and creating are one step, so that the limit is one. */
      const creating = Semaphore.makeUnsafe(1)

      const jobFaults = Effect.fnUntraced(function* ({ payload, type }: ScheduledJob) {
        const types = yield* queue.types
        const job = types.find((known) => known.type === type)
        if (job === undefined) {
          const known = types.map(({ type }) => type).toSorted()
          return [fault("job.type", "invalid_value", `must be one of ${known.join(", ")}`)]
        }
        return yield* Schema.decodeUnknownEffect(job.payload)(payload, STRICT).pipe(
          Effect.as<ReadonlyArray<FieldError>>([]),
          Effect.catch(({ issue }) => Effect.succeed(fieldErrors(issue, ["job", "payload"]))),
        )
      })

      const check = Effect.fnUntraced(function* (
        time: { readonly cron: string; readonly time_zone: string } | undefined,
        job: ScheduledJob | undefined,
      ) {
        const errors = [
          ...(time === undefined ? [] : timeFaults(time, yield* Clock.currentTimeMillis)),
          ...(job === undefined ? [] : yield* jobFaults(job)),
        ]
        if (errors.length > 0) return yield* new InvalidSchedule({ errors })
      })

      const create = Effect.fnUntraced(function* (wanted: NewSchedule, metadata?: EventMetadata) {
        const { catch_up = "latest", cron, job, name, time_zone = DEFAULT_TIME_ZONE } = wanted
        yield* check({ cron, time_zone }, job)
        const isFull = !(yield* hasActedBefore) && (yield* store.count) >= SCHEDULES_MAX
        if (isFull) return yield* new TooManySchedules({ max: SCHEDULES_MAX })
        const id = (yield* idsOr(ids)).next("sched", yield* Clock.currentTimeMillis)
        const state = yield* schedule(id).Create({ name, cron, time_zone, job, catch_up }, metadata)
        return { id, state }
      }, creating.withPermit)

      const update = Effect.fnUntraced(function* (
        id: string,
        changes: ScheduleChanges,
        metadata?: EventMetadata,
      ) {
        const { cron, job, time_zone } = changes
        const now = yield* schedule(id).Get()
        const isRetimed = cron !== undefined || time_zone !== undefined
        yield* check(
          isRetimed ? { cron: cron ?? now.cron, time_zone: time_zone ?? now.time_zone } : undefined,
          job,
        )
        return { id, state: yield* schedule(id).Update(given(changes), metadata) }
      })

      /** The scheduler looks again, whether or not the caller is still there. */
      const announced = <A, E>(effect: Effect.Effect<A, E>) => Effect.ensuring(effect, changed.open)

      const shown = <E>(id: string, effect: Effect.Effect<ScheduleState, E>) =>
        announced(Effect.map(effect, (state) => ({ id, state })))

      return Schedules.of({
        create: (wanted, metadata) => announced(create(wanted, metadata)),
        get: (id) => Effect.map(schedule(id).Get(), (state) => ({ id, state })),
        update: (id, changes, metadata) => announced(update(id, changes, metadata)),
        pause: (id, metadata) => shown(id, schedule(id).Pause(undefined, metadata)),
        resume: (id, metadata) => shown(id, schedule(id).Resume(undefined, metadata)),
        trigger: (id, metadata) =>
          Effect.flatMap(schedule(id).Get(), ({ job }) => queue.submit(submissionOf(id, job, { metadata }))),
        delete: (id, metadata) => announced(Effect.asVoid(schedule(id).Delete(undefined, metadata))),
        page: store.page,
        changed,
      })
    }),
  )
}

/** A schedule's job as it is submitted: findable by the tag `schedule:<id>`, and caused by the schedule. */
export const submissionOf = (
  id: string,
  job: ScheduledJob,
  options: { readonly jobId?: string; readonly metadata?: EventMetadata | undefined },
): Submission => ({
  id: options.jobId,
  type: job.type,
  payload: job.payload,
  queue: job.queue,
  priority: job.priority,
  maxAttempts: job.max_attempts,
  timeoutMs: job.timeout_ms,
  concurrencyKey: job.concurrency_key,
  tags: [...(job.tags ?? []), `schedule:${id}`],
  metadata: { ...options.metadata, causation_id: id },
})

const fault = (field: string, code: FieldError["code"], message: string): FieldError => ({
  field,
  code,
  message,
})

const timeFaults = (
  { cron, time_zone }: { readonly cron: string; readonly time_zone: string },
  now: number,
): ReadonlyArray<FieldError> => {
  const isKnownZone = isTimeZone(time_zone)
  const zoneFaults = isKnownZone
    ? []
    : [fault("time_zone", "invalid_value", "must be the name of an IANA time zone, like Europe/Berlin")]
  return [...cronFaults(cron, isKnownZone ? time_zone : DEFAULT_TIME_ZONE, now), ...zoneFaults]
}

const cronFaults = (cron: string, timeZone: string, now: number): ReadonlyArray<FieldError> => {
  if (cron.length > CRON_CHARACTERS_MAX) {
    return [fault("cron", "invalid_length", `must be at most ${CRON_CHARACTERS_MAX} characters long`)]
  }
  const parsed = parse(cron, timeZone)
  if (Result.isFailure(parsed)) {
    const { detail } = parsed.failure
    return [fault("cron", "invalid_format", `must be a cron expression of 5 or 6 fields: ${detail}`)]
  }
  return nextTick(parsed.success, now) === null
    ? [fault("cron", "invalid_value", "must be due at some time, and never is")]
    : []
}

/** Without what is not given. */
const given = <Changes extends object>(changes: Changes) =>
  Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined)) as {
    [Key in keyof Changes]?: Exclude<Changes[Key], undefined>
  }
