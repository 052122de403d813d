/** A database with its analytics behind it, random journals, and what the analytics of a journal must be. */
import { Effect, Layer } from "effect"
import * as fc from "fast-check"
import { DatabaseSync } from "node:sqlite"
import type { ApiUseRecorded } from "../../../src/domain/analytics/ApiUseEvents.ts"
import { COUNTS, type Count } from "../../../src/domain/analytics/Aggregate.ts"
import { DURATION_MS_MAX } from "../../../src/domain/analytics/Durations.ts"
import { bucketOf } from "../../../src/telemetry/LogLinear.ts"
import { asyncProjections, eventTypes, projections } from "../../../src/EventModel.ts"
import { JobBehavior } from "../../../src/jobs/JobBehavior.ts"
import { isJobEvent } from "../../../src/jobs/JobEvents.ts"
import type { JobState } from "../../../src/jobs/JobState.ts"
import { AsyncProjector } from "../../../src/journal/AsyncProjector.ts"
import { JournalArchive } from "../../../src/journal/Archiving.ts"
import type { DomainEvent } from "../../../src/journal/DomainEvent.ts"
import { Journal, type RecordedEvent } from "../../../src/journal/Journal.ts"
import * as SqliteJournal from "../../../src/journal/SqliteJournal.ts"
import { type AnyCommand, anyCommand, decide, enqueueCommand } from "../../jobs/JobHistories.ts"
import { databaseAt } from "../../support/TestDatabase.ts"
import { advance } from "../../support/Turns.ts"

export const HOUR = 3_600_000
export const DAY = 24 * HOUR
/** Three hours before a day ends. */
export const START = Date.UTC(2026, 0, 1, 21)

/** The journal of a file, opened anew each time it is provided. */
export const journalAt = (filename: string) =>
  Layer.suspend(() => SqliteJournal.layer({ events: eventTypes, projections: projections() })).pipe(
    Layer.provideMerge(databaseAt(filename)),
    Layer.fresh,
  )

/** Its analytics: as a process that starts. */
export const projector = Layer.suspend(() => AsyncProjector.layer(asyncProjections())).pipe(Layer.fresh)

export const lag = Effect.flatMap(AsyncProjector, ({ status }) => Effect.map(status, ([one]) => one!.lag))

/** Lets time pass until the analytics have seen everything. */
export const caughtUp: Effect.Effect<void, never, AsyncProjector> = Effect.suspend(() =>
  Effect.flatMap(Effect.andThen(advance("1 second"), lag), (behind) =>
    behind === 0 ? Effect.void : caughtUp,
  ),
)

/** Moves these streams to the archive, as they are now. */
export const archive = (streams: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const journal = yield* Journal
    const leaving = yield* Effect.forEach(streams, (stream) =>
      Effect.map(journal.readStream(stream), ({ length }) => ({ stream, version: length })),
    )
    return yield* (yield* JournalArchive).move(leaving)
  })

type Rows = Readonly<Record<string, ReadonlyArray<Record<string, unknown>>>>

/** Every row of the analytics, as text and in order. */
export const rowsOf = (filename: string): Rows => {
  const database = new DatabaseSync(filename)
  try {
    return Object.fromEntries(
      ["analytics_hourly", "analytics_daily"].map((table) => [
        table,
        database
          .prepare(`SELECT * FROM ${table} ORDER BY start, dimension, name`)
          .all()
          .map((row) => Object.assign({}, row)),
      ]),
    )
  } finally {
    database.close()
  }
}

/** One thing that happened, as somebody would note it who reads the history of each job by itself. */
interface Noted {
  readonly at: number
  readonly names: ReadonlyArray<readonly [string, string]>
  readonly counts: Partial<Record<Count, number>>
  readonly wait?: number
  readonly processing?: number
}

const notesOf = (events: ReadonlyArray<RecordedEvent>): ReadonlyArray<Noted> => {
  let state: JobState = JobBehavior.initial
  let names: Noted["names"] = []
  return events.flatMap(({ event, metadata, recordedAt: at }): ReadonlyArray<Noted> => {
    if (event._tag === "ApiUseRecorded") {
      const { hour, uses } = event as ApiUseRecorded
      return uses.map(({ principal, requests, route }) => ({
        at: hour,
        names: [
          ["all", ""],
          ["principal", principal],
          ["route", route],
        ] as const,
        counts: { requests },
      }))
    }
    if (!isJobEvent(event)) return []
    const before = state
    state = JobBehavior.evolve(before, event, at)
    if (event._tag === "JobEnqueued") {
      const payload = event.payload as { readonly project_id?: string; readonly composition_id?: string }
      const isRender = event.type === "render:canvas"
      names = [
        ["all", ""],
        ["queue", event.queue],
        ["type", event.type],
        ...(metadata?.principal === undefined ? [] : [["principal", metadata.principal] as const]),
        ...(isRender ? [["project", payload.project_id!] as const] : []),
        ...(isRender ? [["composition", payload.composition_id!] as const] : []),
      ]
    }
    const note = (counts: Noted["counts"], more: Partial<Noted> = {}) => [{ at, names, counts, ...more }]
    switch (event._tag) {
      case "JobEnqueued":
        return note({ created: 1 })
      case "JobStarted":
        return note({ started: 1 }, { wait: state.attempts.at(-1)!.waitMs })
      case "JobCompleted": {
        const processing = at - state.attempts.at(-1)!.startedAt
        const { bytes, duration_sec: seconds, frames } = event.result as Record<string, number>
        const output = { frames: frames!, output_bytes: bytes!, video_ms: seconds! * 1_000 }
        return note({ completed: 1, ...(state.type === "render:canvas" ? output : {}) }, { processing })
      }
      case "JobAttemptFailed":
        return event.retry_at === null ? [] : note({ retried: 1 })
      case "JobStalled":
        return note({ stalled: 1, ...(event.retry_at === null ? {} : { retried: 1 }) })
      case "JobDeadLettered":
        return note({ failed: 1 })
      case "JobCancelled":
        return note({ cancelled: 1 })
      case "JobRedriven":
        return note({ redriven: 1 })
      default:
        return []
    }
  })
}

const extremes = (name: string, values: ReadonlyArray<number>) => {
  const buckets = new Map<number, number>()
  for (const value of values) {
    const bucket = bucketOf(value, 3)
    buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1)
  }
  return {
    [`${name}_ms`]: values.reduce((sum, value) => sum + value, 0),
    [`${name}_ms_min`]: values.length === 0 ? null : Math.min(...values),
    [`${name}_ms_max`]: values.length === 0 ? null : Math.max(...values),
    [`${name}_buckets`]: [...buckets]
      .toSorted(([a], [b]) => a - b)
      .map((entry) => entry.join(":"))
      .join(" "),
  }
}

/** The rows that follow from whole streams, each by itself. */
export const referenceRows = (streams: ReadonlyArray<ReadonlyArray<RecordedEvent>>): Rows => {
  const notes = streams.flatMap(notesOf)
  const tableOf = (length: number) => {
    const groups = Map.groupBy(
      notes.flatMap((note) =>
        note.names.map(([dimension, name]) => ({
          note,
          key: JSON.stringify([Math.floor(note.at / length) * length, dimension, name]),
        })),
      ),
      ({ key }) => key,
    )
    const rows = [...groups].map(([key, of]) => {
      const [start, dimension, name] = JSON.parse(key) as [number, string, string]
      const sum = (count: Count) => of.reduce((total, { note }) => total + (note.counts[count] ?? 0), 0)
      const all = (what: "wait" | "processing") =>
        of.flatMap(({ note }) => note[what] ?? []).map((millis) => Math.min(millis, DURATION_MS_MAX))
      return Object.assign(
        { start, dimension, name },
        Object.fromEntries(COUNTS.map((count) => [count, sum(count)])),
        extremes("wait", all("wait")),
        extremes("processing", all("processing")),
      )
    })
    const ascending = (a: string, b: string) => (a < b ? -1 : Number(a > b))
    return rows.toSorted(
      (a, b) => a.start - b.start || ascending(a.dimension, b.dimension) || ascending(a.name, b.name),
    )
  }
  return { analytics_hourly: tableOf(HOUR), analytics_daily: tableOf(DAY) }
}

/** What happens next to one of the jobs, or how often the API was asked. */
const happenings = fc.oneof(
  { weight: 12, arbitrary: fc.record({ job: fc.nat(), command: anyCommand }) },
  {
    weight: 1,
    arbitrary: fc.record({
      requests: fc.integer({ min: 1, max: 50 }),
      principal: fc.constantFrom("key_a", "user_b"),
      route: fc.constantFrom("jobs", "renders"),
    }),
  },
)

/** Random histories of a few jobs and of the API's use, over some hours around midnight. */
export const journals = fc.record({
  jobs: fc.array(fc.record({ first: enqueueCommand, isRender: fc.boolean(), isOwned: fc.boolean() }), {
    minLength: 1,
    maxLength: 8,
  }),
  happenings: fc.array(happenings, { maxLength: 80 }),
  /** Milliseconds between two of them, times what their commands say. */
  pace: fc.constantFrom(1, 7_000, 400_000),
})
export type RandomJournal = typeof journals extends fc.Arbitrary<infer A> ? A : never

/** The histories begin in 1970: half of the jobs have been due since, the others are due after they were enqueued. */
const later = (command: AnyCommand, index: number): AnyCommand => {
  if (command.tag !== "Enqueue" || index % 2 === 1) return command
  const { due_at, expires_at, ...spec } = command.spec
  return {
    ...command,
    spec: {
      ...spec,
      ...(due_at === undefined ? {} : { due_at: START + due_at }),
      ...(expires_at === undefined ? {} : { expires_at: START + expires_at }),
    },
  }
}

/** Writes a random journal, and does something between any two appends. Answers the streams of jobs that are finished. */
export const write = <E, R>(
  { happenings, jobs, pace }: RandomJournal,
  between: Effect.Effect<unknown, E, R>,
) =>
  Effect.gen(function* () {
    const journal = yield* Journal
    const states = new Map<string, { readonly state: JobState; readonly version: number }>()
    let now = START
    let uses = 0
    const happen = Effect.fnUntraced(function* (what: RandomJournal["happenings"][number]) {
      if ("requests" in what) {
        now += pace
        const hour = Math.floor(now / HOUR) * HOUR
        const event = { _tag: "ApiUseRecorded", hour, uses: [what] } as DomainEvent
        return yield* journal.append([{ stream: "api-use/x", expectedVersion: uses++, events: [event] }], now)
      }
      const index = what.job % jobs.length
      const job = jobs[index]!
      const stream = `job_${index}`
      const { state, version } = states.get(stream) ?? { state: JobBehavior.initial, version: 0 }
      now += what.command.pause * pace
      const events = decide(state, later(what.command, index), now).map((event) => {
        if (event._tag === "JobCompleted")
          return Object.assign(event, { result: { frames: 60, duration_sec: 2, bytes: 1_000 + index } })
        if (event._tag !== "JobEnqueued" || !job.isRender) return event
        const payload = { project_id: `proj_${index % 2}`, composition_id: "TitleCard", input_props: {} }
        return Object.assign(event, { type: "render:canvas", payload })
      })
      if (events.length === 0) return
      const metadata = job.isOwned ? { principal: "key_a" } : undefined
      yield* journal.append([{ stream, expectedVersion: version, events, metadata }], now)
      const after = events.reduce((before, event) => JobBehavior.evolve(before, event, now), state)
      states.set(stream, { state: after, version: version + events.length })
    })
    for (const [job, { first }] of jobs.entries()) yield* happen({ job, command: first })
    for (const what of happenings) {
      yield* happen(what)
      yield* between
    }
    const streams = [...states.keys()]
    return {
      streams: [...streams, "api-use/x"],
      finished: streams.filter((stream) => states.get(stream)!.state.finishedAt !== undefined),
    }
  })
