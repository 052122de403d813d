/**
 * Time for tests of the whole system: a `TestClock` that knows of the journal. Between two moments at which somebody wakes
 * up, it lets everything happen that needs no time – commits take a turn of the event loop each, which the plain test clock
 * does not wait for – so one `TestClock.adjust` carries a job through as many retries as fit into it, each on time.
 */
import { Clock, Context, Duration, Effect, Layer, Scheduler, Semaphore } from "effect"
import * as TestClock from "effect/testing/TestClock"

/** So many turns of the event loop in which no fiber does a step: nothing is under way. A commit takes one or two. */
const QUIET_TURNS = 8
/** A handler that goes on for longer without waiting for anything will do so for ever. */
const TURNS_MAX = 200_000

/** What the fibers of a test do, seen from their scheduler, which is asked before every step whether to yield. */
class Activity {
  #steps = 0
  readonly scheduler: Scheduler.Scheduler

  constructor(inner: Scheduler.Scheduler) {
    this.scheduler = {
      executionMode: inner.executionMode,
      shouldYield: (fiber) => {
        this.#steps++
        return inner.shouldYield(fiber)
      },
      makeDispatcher: () => inner.makeDispatcher(),
    }
  }

  /** Ends when nothing is under way. Takes no step itself. */
  readonly settled: Effect.Effect<void> = Effect.callback((resume) => {
    let seen = this.#steps
    let quiet = 0
    let turns = 0
    const look = () => {
      quiet = this.#steps === seen ? quiet + 1 : 0
      seen = this.#steps
      if (quiet === QUIET_TURNS) resume(Effect.void)
      else if (++turns === TURNS_MAX)
        resume(Effect.die(new Error("something goes on without waiting for time")))
      else next = setImmediate(look)
    }
    let next = setImmediate(look)
    return Effect.sync(() => clearImmediate(next))
  })
}

/** The test clock, with stops. */
const clockOf = (inner: TestClock.TestClock, { settled }: Activity): TestClock.TestClock => {
  const sleepers = new Set<{ readonly until: number }>()
  const inTurn = Semaphore.makeUnsafe(1).withPermits(1)

  const sleep = (duration: Duration.Duration) =>
    Effect.suspend(() => {
      // A clock shows whole milliseconds, and so does the journal.
      const millis = Math.ceil(Duration.toMillis(duration))
      const sleeper = { until: inner.currentTimeMillisUnsafe() + millis }
      sleepers.add(sleeper)
      return Effect.ensuring(
        inner.sleep(Duration.millis(millis)),
        Effect.sync(() => sleepers.delete(sleeper)),
      )
    })

  /** The next moment at which somebody wakes up. */
  const nextStop = () => {
    const now = inner.currentTimeMillisUnsafe()
    let next = Number.POSITIVE_INFINITY
    for (const { until } of sleepers) if (until > now && until < next) next = until
    return next
  }

  const moveTo = (target: () => number) =>
    inTurn(
      Effect.gen(function* () {
        yield* settled
        const end = target()
        for (let stop = nextStop(); stop < end; stop = nextStop()) {
          yield* inner.setTime(stop)
          yield* settled
        }
        yield* inner.setTime(end)
        yield* settled
      }),
    )

  return {
    ...inner,
    sleep,
    adjust: (duration) =>
      moveTo(() => inner.currentTimeMillisUnsafe() + Duration.toMillis(Duration.fromInputUnsafe(duration))),
    setTime: (timestamp) => moveTo(() => timestamp),
  }
}

/** Virtual time, and what fibers need to go by it. */
interface Virtual {
  readonly clock: TestClock.TestClock
  readonly context: Context.Context<never>
}

/** By test clock, so that whoever goes by the same one has the same stops. */
const known = new WeakMap<Clock.Clock, Virtual>()

const isTestClock = (clock: Clock.Clock): clock is TestClock.TestClock =>
  "adjust" in clock && "setTime" in clock

/** Goes by the test clock that is there, or by a new one; set to a moment first, if one is given. */
export const layer = (startAt?: number): Layer.Layer<never> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const { clock, context } = yield* virtual
      if (startAt !== undefined) yield* Effect.provideContext(clock.setTime(startAt), context)
      return context
    }),
  )

const virtual = Effect.gen(function* () {
  const outside = yield* Clock.Clock
  const base: Context.Context<never> = isTestClock(outside)
    ? yield* Effect.context<never>()
    : yield* Layer.build(TestClock.layer())
  const inner = Context.get(base, Clock.Clock) as TestClock.TestClock
  const seen = known.get(inner)
  if (seen !== undefined) return seen
  const activity = new Activity(Context.get(base, Scheduler.Scheduler))
  const clock = clockOf(inner, activity)
  const context = Context.make(Clock.Clock, clock).pipe(Context.add(Scheduler.Scheduler, activity.scheduler))
  const made: Virtual = { clock, context: context as Context.Context<never> }
  known.set(inner, made)
  known.set(clock, made)
  return made
})
