/**
 * When each key was last used, to the minute: for people who wonder whether a key may go. It is kept in memory and written
 * once a minute and at the stop; a crash loses at most that. It is no event: a request must not cost one.
 */
import { Context, Effect, Layer, Schedule } from "effect"
import { JournalError, StoreFailed } from "../../journal/Journal.ts"
import { SqliteClient } from "../../sqlite/SqliteClient.ts"

const MINUTE_MS = 60_000
const WRITE_EVERY = "1 minute"
/** Keys whose use is remembered between two writes; beyond that the oldest remain as they are. */
const USES_MAX = 10_000

/** Index: the primary key. */
export const SELECT_USE = "SELECT used_at FROM api_key_uses WHERE stream = ?"
const UPSERT_USE = `INSERT INTO api_key_uses (stream, used_at) VALUES (?, ?)
  ON CONFLICT (stream) DO UPDATE SET used_at = excluded.used_at WHERE excluded.used_at > used_at`

export class KeyUses extends Context.Service<
  KeyUses,
  {
    /** The key was used at `now` (milliseconds). */
    readonly mark: (id: string, now: number) => void
    /** The start of the minute of the last use, in milliseconds; undefined when there was none. */
    readonly lastUse: (id: string) => Effect.Effect<number | undefined, JournalError>
  }
>()("renderowl/domain/keys/KeyUses") {
  static readonly layer = Layer.effect(
    KeyUses,
    Effect.gen(function* () {
      const { reader, writeLock, writer } = yield* SqliteClient
      let fresh = new Map<string, number>()

      const write = Effect.suspend(() => {
        const uses = fresh
        fresh = new Map()
        if (uses.size === 0) return Effect.void
        return writeLock.withPermit(
          Effect.try({
            try: () =>
              writer.transaction(() => {
                for (const [id, at] of uses) writer.prepare(UPSERT_USE).run(id, at)
              }),
            catch: (cause) => new JournalError({ reason: new StoreFailed({ cause }) }),
          }),
        )
      }).pipe(
        // A full disk refuses the jobs as well, and says so: this is not worth an error.
        Effect.catch((error) => Effect.logDebug("The last uses of keys were not written", error)),
        Effect.uninterruptible,
      )
      yield* Effect.addFinalizer(() => write)
      yield* Effect.forkScoped(Effect.repeat(write, Schedule.spaced(WRITE_EVERY)))

      return KeyUses.of({
        mark: (id, now) => {
          const at = now - (now % MINUTE_MS)
          if (fresh.get(id) === at || (fresh.size >= USES_MAX && !fresh.has(id))) return
          fresh.set(id, at)
        },
        lastUse: (id) =>
          Effect.suspend(() => {
            const at = fresh.get(id)
            if (at !== undefined) return Effect.succeed(at)
            return Effect.try({
              try: () => reader.prepare(SELECT_USE).get(id)?.["used_at"] as number | undefined,
              catch: (cause) => new JournalError({ reason: new StoreFailed({ cause }) }),
            })
          }),
      })
    }),
  )
}
