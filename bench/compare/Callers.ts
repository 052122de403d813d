/**
 * The shapes of work that every rival does alike: many callers at once, batches in a row, a handler that tells when it is
 * called. All rivals speak promises.
 */
import { NOOP_PAYLOAD, type NoopPayload } from "../support/NoopJob.ts"

/** So many callers at once, each with its share of the jobs, one after the other. */
export const byCallers = async (jobs: number, callers: number, enqueue: () => unknown): Promise<void> => {
  const caller = async () => {
    for (let i = 0; i < jobs / callers; i++) await enqueue()
  }
  await Promise.all(Array.from({ length: callers }, caller))
}

/** Batches one after the other. */
export const inBatches = async (
  jobs: number,
  size: number,
  enqueue: (payloads: ReadonlyArray<NoopPayload>) => unknown,
): Promise<void> => {
  const batch = Array.from({ length: size }, () => NOOP_PAYLOAD)
  for (let done = 0; done < jobs; done += size)
    await enqueue(done + size <= jobs ? batch : batch.slice(0, jobs - done))
}

/** A promise that somebody else settles, with the moment at which that was. */
export class Signal {
  readonly #promise: Promise<number>
  #resolve!: (at: number) => void

  constructor() {
    this.#promise = new Promise((resolve) => (this.#resolve = resolve))
  }

  /** In milliseconds, as `performance.now` counts. */
  get moment(): Promise<number> {
    return this.#promise
  }

  readonly give = (): void => this.#resolve(performance.now())
}

/** Notes when a drain's first handler was called and when its last completion was acknowledged. */
export class DrainClock {
  readonly #last = new Signal()
  #startedAt = 0
  #left: number

  constructor(jobs: number) {
    this.#left = jobs
  }

  readonly called = (): void => {
    if (this.#startedAt === 0) this.#startedAt = performance.now()
  }

  readonly completed = (jobs = 1): void => {
    this.#left -= jobs
    if (this.#left <= 0) this.#last.give()
  }

  /** Ends with the last completion; answers how long it took. */
  get elapsed(): Promise<number> {
    return this.#last.moment.then((at) => at - this.#startedAt)
  }
}
