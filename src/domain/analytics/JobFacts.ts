/**
 * What the events of a job mean to the analytics: what is counted, how long it waited and ran, and to whom and what it is counted.
 * Pure: a fold of the job's stream that tells a fact with each step.
 */
import { Predicate } from "effect"
import type { JobEvent } from "../../jobs/JobEvents.ts"
import type { RecordedEvent } from "../../journal/Journal.ts"
import { RENDER_JOB_TYPE } from "../renders/RenderProjection.ts"
import type { Aggregate, Dimension } from "./Aggregate.ts"

/** Longer names are not worth a row each. */
const NAME_CHARACTERS_MAX = 100
/** What they are counted as. */
const OTHER = "(other)"

export const nameWithin = (name: string): string => (name.length <= NAME_CHARACTERS_MAX ? name : OTHER)

/** To what a job is counted, and what its next event is measured from. */
export interface JobMemory {
  readonly names: ReadonlyArray<readonly [Dimension, string]>
  readonly isRender: boolean
  readonly dueAt: number
  /** Of the attempt under way. */
  readonly startedAt: number | undefined
  readonly isFinished: boolean
}

/** What the analytics are made of. */
export const JOB_FACT_EVENTS = [
  "JobEnqueued",
  "JobReleased",
  "JobStarted",
  "JobCompleted",
  "JobAttemptFailed",
  "JobStalled",
  "JobDeadLettered",
  "JobCancelled",
  "JobRedriven",
  "JobRescheduled",
] as const satisfies ReadonlyArray<JobEvent["_tag"]>

/** What is to be noted of an event, in each aggregate that the job is counted to. */
export type Note = (aggregate: Aggregate) => void

/** The memory after an event, and what is to be noted. Undefined memory: the job was never heard of. */
export const evolve = (
  memory: JobMemory | undefined,
  recorded: RecordedEvent<JobEvent>,
): { readonly memory: JobMemory; readonly note: Note | undefined } => {
  const { event, recordedAt: at, stream } = recorded
  if (event._tag === "JobEnqueued")
    return { memory: enqueued(recorded, event), note: (to) => to.count("created") }
  if (memory === undefined) throw new Error(`the stream ${stream} does not begin with JobEnqueued`)
  switch (event._tag) {
    case "JobStarted": {
      const waited = at - memory.dueAt
      return {
        memory: { ...memory, startedAt: at },
        note: (to) => {
          to.count("started")
          to.wait.add(waited)
        },
      }
    }
    case "JobCompleted": {
      const output = memory.isRender ? outputOf(event.result) : undefined
      const took = at - (memory.startedAt ?? at)
      return {
        memory: { ...memory, startedAt: undefined, isFinished: true },
        note: (to) => {
          to.count("completed")
          to.processing.add(took)
          if (output === undefined) return
          to.count("frames", output.frames)
          to.count("video_ms", output.videoMs)
          to.count("output_bytes", output.bytes)
        },
      }
    }
    case "JobAttemptFailed":
    case "JobStalled": {
      const { _tag, retry_at: retryAt } = event
      return {
        memory: { ...memory, startedAt: undefined, dueAt: retryAt ?? memory.dueAt },
        note: (to) => {
          if (_tag === "JobStalled") to.count("stalled")
          if (retryAt !== null) to.count("retried")
        },
      }
    }
    case "JobDeadLettered":
      return { memory: { ...memory, isFinished: true }, note: (to) => to.count("failed") }
    case "JobCancelled":
      return {
        memory: { ...memory, startedAt: undefined, isFinished: true },
        note: (to) => to.count("cancelled"),
      }
    case "JobRedriven":
      return {
        memory: { ...memory, dueAt: event.due_at, isFinished: false },
        note: (to) => to.count("redriven"),
      }
    case "JobReleased":
    case "JobRescheduled":
      return { memory: { ...memory, dueAt: event.due_at }, note: undefined }
    case "JobReprioritized":
    case "JobProgressed":
    case "JobStepCompleted":
    case "JobLogged":
    case "JobDependencyEnded":
      return { memory, note: undefined }
  }
}

const enqueued = (
  { metadata, recordedAt }: RecordedEvent,
  { due_at, payload, queue, type }: Extract<JobEvent, { _tag: "JobEnqueued" }>,
): JobMemory => {
  const isRender = type === RENDER_JOB_TYPE
  const names: Array<readonly [Dimension, string]> = [
    ["all", ""],
    ["queue", nameWithin(queue)],
    ["type", nameWithin(type)],
  ]
  const add = (dimension: Dimension, name: unknown) => {
    if (typeof name === "string") names.push([dimension, nameWithin(name)])
  }
  add("principal", metadata?.principal)
  if (isRender && Predicate.hasProperty(payload, "project_id")) add("project", payload.project_id)
  if (isRender && Predicate.hasProperty(payload, "composition_id")) add("composition", payload.composition_id)
  return { names, isRender, dueAt: due_at ?? recordedAt, startedAt: undefined, isFinished: false }
}

const MILLIS = 1_000

/** What a render has made. */
const outputOf = (result: unknown) => {
  const amount = (name: string) => {
    const value = Predicate.hasProperty(result, name) ? result[name] : 0
    return typeof value === "number" && value > 0 && Number.isFinite(value) ? value : 0
  }
  return {
    frames: Math.round(amount("frames")),
    videoMs: Math.round(amount("duration_sec") * MILLIS),
    bytes: Math.round(amount("bytes")),
  }
}
