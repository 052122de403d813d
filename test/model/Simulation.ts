/**
 * A machine of its own for the engine under test: its fibers take turns as a seed says, its time passes only when nobody has
 * anything left to do, and its random numbers are the seed's. Everything runs within one synchronous call, so nothing of
 * the real world can come in between: the same seed is the same run, to the last event.
 */
import { Cause, Clock, Context, Duration, Effect, Exit, type Fiber, Logger, Random, Scheduler } from "effect"
import * as TypeId from "../../src/security/TypeId.ts"

/** When every simulation begins. */
export const START = 1_700_000_000_000
/** Tasks within one moment, above which nothing will ever come to rest. */
const TASKS_PER_MOMENT_MAX = 200_000
/** How often time goes by between two tasks, where it does. */
const LAG_CHANCE = 0.005
/** As Effect's own scheduler: a fiber that does not give way is made to. */
const OPERATIONS_MAX = 2_048

/** Numbers in [0, 1) that a seed decides (mulberry32). */
export const randomOf = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

interface Sleeper {
  readonly at: number
  readonly wake: () => void
}

export class Simulation {
  /** What has gone wrong without anybody being told: defects that were only logged. */
  readonly defects: Array<string> = []
  readonly #random: () => number
  /** How likely a fiber is to be stopped before any one of its steps. */
  readonly #preemption: number
  #ready: Array<() => void> = []
  #sleepers: Array<Sleeper> = []
  #now = START
  readonly #context: Context.Context<never>
  /** Up to so many milliseconds go by between two tasks, now and then, as they do while an event loop is busy. */
  lag = 0

  constructor(seed: number) {
    this.#random = randomOf(seed)
    // Some runs are orderly, some stop fibers wherever they can be stopped.
    this.#preemption = [0, 0, 0.01, 0.1][seed % 4]!
    this.#context = Context.make(Scheduler.Scheduler, this.#scheduler()).pipe(
      Context.add(Clock.Clock, this.#clock()),
      Context.add(Random.Random, {
        nextDoubleUnsafe: this.#random,
        nextIntUnsafe: () => Math.floor((this.#random() - 0.5) * 2 * Number.MAX_SAFE_INTEGER),
      }),
      Context.add(
        TypeId.Generator,
        new TypeId.TypeIdGenerator((bytes) => {
          for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(this.#random() * 256)
        }),
      ),
      Context.add(Logger.CurrentLoggers, new Set([this.#logger()])),
    ) as Context.Context<never>
  }

  get now(): number {
    return this.#now
  }

  /** Starts an effect. It goes on when the simulation runs. */
  fork<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    return this.#inside(() => Effect.runForkWith(this.#context)(effect))
  }

  /** Runs until nobody has anything to do at this moment. */
  rest(): void {
    this.#inside(() => {
      for (let count = 0; this.#ready.length > 0; count++) {
        if (count > TASKS_PER_MOMENT_MAX) throw new Error("the simulation does not come to rest")
        this.#next()()
      }
    })
  }

  /** Runs an effect to its end, which must need no time. */
  run<A, E>(effect: Effect.Effect<A, E>): Exit.Exit<A, E> {
    const fiber = this.fork(effect)
    this.rest()
    const exit = fiber.pollUnsafe()
    if (exit === undefined) throw new Error("nobody answers")
    return exit
  }

  /** When the next sleeper wakes; infinite when nobody sleeps. */
  get nextAt(): number {
    return this.#sleepers[0]?.at ?? Number.POSITIVE_INFINITY
  }

  /**
   * Lets time pass until a moment. Whenever all is at rest, before time goes on and at the end, `atRest` has a look.
   */
  runUntil(moment: number, atRest: () => void): void {
    this.rest()
    atRest()
    while (this.nextAt <= moment) {
      this.#now = this.nextAt
      while (this.nextAt <= this.#now) this.#ready.push(this.#sleepers.shift()!.wake)
      this.rest()
      atRest()
    }
    this.#now = Math.max(this.#now, moment)
  }

  /**
   * `queueMicrotask` and `setImmediate` are where the journal waits for others to join its commit. For as long as the simulation
   * has the thread, such a callback is one more task among all that are ready.
   */
  #inside<A>(body: () => A): A {
    const { queueMicrotask, setImmediate } = globalThis
    const makeReady = (task: () => void) => void this.#ready.push(task)
    globalThis.queueMicrotask = makeReady
    globalThis.setImmediate = makeReady as never
    try {
      return body()
    } finally {
      globalThis.queueMicrotask = queueMicrotask
      globalThis.setImmediate = setImmediate
    }
  }

  #next(): () => void {
    if (this.lag > 0 && this.#random() < LAG_CHANCE) this.#lose(1 + Math.floor(this.#random() * this.lag))
    const ready = this.#ready
    const at = Math.floor(this.#random() * ready.length)
    const task = ready[at]!
    ready[at] = ready.at(-1)!
    ready.pop()
    return task
  }

  /** Time goes on although there is work to do: sleepers who are due join those who are ready. */
  #lose(millis: number): void {
    this.#now += millis
    while (this.nextAt <= this.#now) this.#ready.push(this.#sleepers.shift()!.wake)
  }

  #scheduler(): Scheduler.Scheduler {
    const dispatcher: Scheduler.SchedulerDispatcher = {
      scheduleTask: (task) => void this.#ready.push(task),
      flush: () => {},
    }
    return {
      executionMode: "async",
      shouldYield: ({ currentOpCount }) =>
        currentOpCount >= OPERATIONS_MAX || (this.#preemption > 0 && this.#random() < this.#preemption),
      makeDispatcher: () => dispatcher,
    }
  }

  #clock(): Clock.Clock {
    const nanos = () => BigInt(this.#now) * 1_000_000n
    return {
      currentTimeMillisUnsafe: () => this.#now,
      currentTimeMillis: Effect.sync(() => this.#now),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: nanos,
      monotonicTimeNanos: Effect.sync(nanos),
      sleep: (duration) => this.#sleep(Duration.toMillis(duration)),
    }
  }

  #sleep(millis: number): Effect.Effect<void> {
    if (millis <= 0) return Effect.yieldNow
    if (!Number.isFinite(millis)) return Effect.never
    return Effect.callback((resume) => {
      const sleeper: Sleeper = { at: this.#now + millis, wake: () => resume(Effect.void) }
      const after = this.#sleepers.findIndex(({ at }) => at > sleeper.at)
      this.#sleepers.splice(after < 0 ? this.#sleepers.length : after, 0, sleeper)
      return Effect.sync(() => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper)
      })
    })
  }

  #logger(): Logger.Logger<unknown, void> {
    return Logger.make(({ cause, logLevel, message }) => {
      if (logLevel !== "Error" && logLevel !== "Fatal") return
      const texts = Array.isArray(message) ? message.map(String) : [String(message)]
      this.defects.push(`${texts.join(" ")}: ${Cause.pretty(cause)}`)
    })
  }
}
