/**
 * Time under the `TestClock`. The journal commits in a turn of the event loop, and SQLite is synchronous: with the clock
 * standing still, a fixed number of turns carries whatever is under way to the point where it waits for time.
 */
import { type Duration, Effect } from "effect"
import { TestClock } from "effect/testing"

/** Far more turns than any chain of commits in these tests takes; they cost about a microsecond each. */
const TURNS = 200

const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Lets everything happen that needs no time to pass. */
export const settle = Effect.repeat(turn, { times: TURNS })

/** Lets the system come to rest, moves the clock, and lets it come to rest again. */
export const advance = (duration: Duration.Input): Effect.Effect<void> =>
  settle.pipe(Effect.andThen(TestClock.adjust(duration)), Effect.andThen(settle))
