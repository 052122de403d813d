/**
 * How far a render is and how long it will still take: pure arithmetic over reports of finished frames.
 *
 * The speed is that of this attempt's recent frames; segments that an earlier attempt finished count as done, not as
 * fast. Time comes in with each report, so a test needs no clock.
 */

/** What the API shows. `estimated_remaining_sec` is null until there is something to judge by. */
interface Progress {
  readonly percent: number
  readonly current_frame: number
  readonly total_frames: number
  readonly estimated_remaining_sec: number | null
}

/** What is known so far. */
export interface ProgressEstimate {
  readonly total: number
  /** Frames done, by segment. */
  readonly done: ReadonlyMap<number, number>
  readonly framesDone: number
  /** Frames a second, smoothed; undefined before the second report. */
  readonly rate: number | undefined
  readonly sampledAt: number
  readonly sampledFrames: number
}

/** Reports closer together than this are not a sample of speed (milliseconds). */
const SAMPLE_MIN_MS = 250
/** Half of what the estimate knows is older than this (milliseconds). */
const HALF_LIFE_MS = 4_000

const sum = (done: ReadonlyMap<number, number>): number =>
  [...done.values()].reduce((total, frames) => total + frames, 0)

/** A render of `total` frames of which an earlier attempt finished some; `now` in milliseconds. */
const start = (
  total: number,
  now: number,
  finished: ReadonlyMap<number, number> = new Map(),
): ProgressEstimate => ({
  total,
  done: finished,
  framesDone: sum(finished),
  rate: undefined,
  sampledAt: now,
  sampledFrames: sum(finished),
})

/** Takes in that `frames` frames of segment `segment` are done. A report that comes late never takes progress back. */
const report = (state: ProgressEstimate, segment: number, frames: number, now: number): ProgressEstimate => {
  const before = state.done.get(segment) ?? 0
  const done = frames > before ? new Map(state.done).set(segment, frames) : state.done
  const framesDone = Math.min(state.total, state.framesDone + Math.max(0, frames - before))
  const elapsed = now - state.sampledAt
  if (elapsed < SAMPLE_MIN_MS) return { ...state, done, framesDone }
  const recent = ((framesDone - state.sampledFrames) * 1_000) / elapsed
  const kept = 0.5 ** (elapsed / HALF_LIFE_MS)
  return {
    ...state,
    done,
    framesDone,
    rate: state.rate === undefined ? recent : state.rate * kept + recent * (1 - kept),
    sampledAt: now,
    sampledFrames: framesDone,
  }
}

/** The progress at `now` (milliseconds); between reports the time left keeps running down. */
const progress = (state: ProgressEstimate, now: number): Progress => {
  const left = state.total - state.framesDone
  const expected =
    left === 0
      ? 0
      : state.rate === undefined || state.rate <= 0
        ? null
        : left / state.rate - (now - state.sampledAt) / 1_000
  return {
    percent: Math.floor((state.framesDone / Math.max(1, state.total)) * 1_000) / 10,
    current_frame: state.framesDone,
    total_frames: state.total,
    estimated_remaining_sec: expected === null ? null : Math.max(left > 0 ? 1 : 0, Math.ceil(expected)),
  }
}

export const ProgressEstimate = { start, report, progress }
