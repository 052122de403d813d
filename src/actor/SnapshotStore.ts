/**
 * Cached states, so that a long stream need not be folded from its start. Only an optimisation: a snapshot that is
 * missing, of another shape, or unreadable is ignored, and all of them may be deleted at any time.
 */
import { Context, Effect, Layer } from "effect"
import { SqliteClient } from "../sqlite/SqliteClient.ts"

/** A state as JSON and the version of its stream that it stands for. */
export interface Snapshot {
  readonly version: number
  readonly state: unknown
}

const SELECT = "SELECT version, state FROM snapshots WHERE stream = ? AND revision = ?"
const UPSERT = `INSERT INTO snapshots (stream, version, revision, state) VALUES (?, ?, ?, ?)
  ON CONFLICT (stream) DO UPDATE SET version = excluded.version, revision = excluded.revision, state = excluded.state`

export class SnapshotStore extends Context.Service<
  SnapshotStore,
  {
    /** The snapshot of a stream, if there is one of this revision. Never fails: no snapshot is always an answer. */
    readonly load: (stream: string, revision: number) => Effect.Effect<Snapshot | undefined>
    /** Keeps a snapshot, or quietly does not: the journal holds the truth. */
    readonly save: (stream: string, revision: number, snapshot: Snapshot) => Effect.Effect<void>
  }
>()("renderowl/actor/SnapshotStore") {
  static readonly layer = Layer.effect(
    SnapshotStore,
    Effect.gen(function* () {
      const { reader, writer, writeLock } = yield* SqliteClient
      return SnapshotStore.of({
        load: (stream, revision) =>
          Effect.try(() => {
            const row = reader.prepare(SELECT).get(stream, revision)
            if (row === undefined) return undefined
            return { version: row["version"] as number, state: JSON.parse(row["state"] as string) as unknown }
          }).pipe(Effect.catch(() => Effect.succeed(undefined))),
        save: (stream, revision, { version, state }) =>
          Effect.try(() => {
            writer.prepare(UPSERT).run(stream, version, revision, JSON.stringify(state))
          }).pipe(
            writeLock.withPermit,
            Effect.catch((cause) => Effect.logDebug("a snapshot was not kept", { stream, cause })),
          ),
      })
    }),
  )
}
