/**
 * SQLite works on the thread of its caller. Whoever has much to do there does it in pieces, and lets the others have their
 * turn in between.
 */
import { Effect } from "effect"

/** Goes on when everything that the event loop holds ready now (requests, timers, commits) has had its turn. */
export const letOthersRun = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
