/**
 * Who did what: the events that a caller caused, newest first. The journal itself is the trail, since its metadata names the
 * caller and the request; two partial indexes make it searchable, and an event without a caller, as all of a worker's
 * are, is in neither and pays nothing. Jobs that were archived are found by their stream alone.
 */
import { Context, Effect, Layer } from "effect"
import { type EventMetadata, Journal, JournalError, StoreFailed } from "../../journal/Journal.ts"
import { limitTo } from "../../sqlite/Limit.ts"
import { SqliteClient } from "../../sqlite/SqliteClient.ts"

const COLUMNS = "position, stream, version, type, recorded_at, metadata"
const IS_AUDITED = "metadata ->> '$.principal' IS NOT NULL"

/** Everything between two moments. Index: events_audited, backwards. */
export const SELECT_AUDITED = `SELECT ${COLUMNS} FROM events INDEXED BY events_audited
  WHERE ${IS_AUDITED} AND recorded_at >= ?1 AND recorded_at <= ?2 AND (recorded_at < ?2 OR position < ?3)
  ORDER BY recorded_at DESC, position DESC ${limitTo("?4")}`
/** What one caller did between two moments. Index: events_audited_by, backwards. */
export const SELECT_AUDITED_BY = `SELECT ${COLUMNS} FROM events INDEXED BY events_audited_by
  WHERE metadata ->> '$.principal' = ?5 AND ${IS_AUDITED}
    AND recorded_at >= ?1 AND recorded_at <= ?2 AND (recorded_at < ?2 OR position < ?3)
  ORDER BY recorded_at DESC, position DESC ${limitTo("?4")}`
/** What callers did to one stream. Index: UNIQUE (stream, version), backwards. */
export const SELECT_AUDITED_OF_STREAM = `SELECT ${COLUMNS} FROM events
  WHERE stream = ?5 AND version < ?3 AND ${IS_AUDITED} AND recorded_at >= ?1 AND recorded_at < ?2
    AND (?6 IS NULL OR metadata ->> '$.principal' = ?6)
  ORDER BY version DESC ${limitTo("?4")}`

/** One act of a caller. */
export interface AuditEntry {
  readonly position: number
  readonly stream: string
  readonly version: number
  readonly type: string
  /** Milliseconds since 1970. */
  readonly recordedAt: number
  readonly metadata: EventMetadata
}

/** Where to go on: behind this entry. */
export type AuditPosition = Pick<AuditEntry, "position" | "version" | "recordedAt">

export interface AuditQuery {
  readonly principal?: string | undefined
  readonly stream?: string | undefined
  /** The first moment, in milliseconds since 1970. */
  readonly after?: number | undefined
  /** The first moment that is too late. */
  readonly before?: number | undefined
  readonly behind?: AuditPosition | undefined
  readonly limit: number
}

export class AuditTrail extends Context.Service<
  AuditTrail,
  { readonly read: (query: AuditQuery) => Effect.Effect<ReadonlyArray<AuditEntry>, JournalError> }
>()("renderowl/domain/audit/AuditTrail") {
  static readonly layer = Layer.effect(
    AuditTrail,
    Effect.gen(function* () {
      const { reader } = yield* SqliteClient
      const journal = yield* Journal

      const select = (sql: string, ...values: ReadonlyArray<string | number | null>) =>
        Effect.try({
          try: () =>
            reader
              .prepare(sql)
              .all(...values)
              .map(
                (row): AuditEntry => ({
                  position: row["position"] as number,
                  stream: row["stream"] as string,
                  version: row["version"] as number,
                  type: row["type"] as string,
                  recordedAt: row["recorded_at"] as number,
                  metadata: JSON.parse(row["metadata"] as string) as EventMetadata,
                }),
              ),
          catch: (cause) => new JournalError({ reason: new StoreFailed({ cause }) }),
        })

      const ofStream = Effect.fnUntraced(function* (stream: string, query: AuditQuery) {
        const { after = 0, before = Number.MAX_SAFE_INTEGER, behind, limit, principal } = query
        const below = behind?.version ?? Number.MAX_SAFE_INTEGER
        if (!(yield* journal.isArchived(stream)))
          return yield* select(
            SELECT_AUDITED_OF_STREAM,
            after,
            before,
            below,
            limit,
            stream,
            principal ?? null,
          )
        // The history of one job, which is short.
        const events = yield* journal.readStream(stream)
        return events
          .flatMap(({ event, metadata, ...recorded }) =>
            metadata?.principal === undefined ? [] : [{ ...recorded, metadata, type: event._tag }],
          )
          .filter(
            ({ metadata, recordedAt, version }) =>
              version < below &&
              recordedAt >= after &&
              recordedAt < before &&
              (principal === undefined || metadata.principal === principal),
          )
          .toReversed()
          .slice(0, limit)
      })

      return AuditTrail.of({
        read: (query) => {
          if (query.stream !== undefined) return ofStream(query.stream, query)
          const { after = 0, before = Number.MAX_SAFE_INTEGER, behind, limit, principal } = query
          // Behind an entry of this very moment, or behind everything that is before `before`.
          const at = behind?.recordedAt ?? before - 1
          const position = behind?.position ?? Number.MAX_SAFE_INTEGER
          return principal === undefined
            ? select(SELECT_AUDITED, after, at, position, limit)
            : select(SELECT_AUDITED_BY, after, at, position, limit, principal)
        },
      })
    }),
  )
}
