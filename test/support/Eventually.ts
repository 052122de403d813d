/** Waiting for what gives no sign when it happens: a file that goes away, a process that ends. */
import { Effect } from "effect"

const LOOK_INTERVAL = "10 millis"

/** Returns once the condition holds. The test's own time limit ends a wait in vain. */
export const eventually = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() =>
    condition() ? Effect.void : Effect.andThen(Effect.sleep(LOOK_INTERVAL), eventually(condition)),
  )
