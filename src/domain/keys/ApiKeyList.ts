/**
 * Lists of the keys that were not revoked, newest first: of one owner, or of all.
 */
import { Context, Effect, Layer } from "effect"
import { JournalError, StoreFailed } from "../../journal/Journal.ts"
import { limitTo } from "../../sqlite/Limit.ts"
import { SqliteClient } from "../../sqlite/SqliteClient.ts"

/** Index: the primary key, backwards; each id costs one primary-key look-up. */
export const SELECT_KEYS = `SELECT k.position, e.stream
  FROM issued_keys k CROSS JOIN events e ON e.position = k.position
  WHERE k.position < ? ORDER BY k.position DESC ${limitTo()}`
/** Index: issued_keys_of_owner, backwards. */
export const SELECT_KEYS_OF_OWNER = `SELECT k.position, e.stream
  FROM issued_keys k INDEXED BY issued_keys_of_owner CROSS JOIN events e ON e.position = k.position
  WHERE k.owner = ? AND k.position < ? ORDER BY k.position DESC ${limitTo()}`
/** Index: issued_keys_of_owner, covering; an owner has few. */
export const COUNT_KEYS_OF_OWNER = "SELECT count(*) AS count FROM issued_keys WHERE owner = ?"

/** One entry of a list: the id, and the position to go on from. */
export interface ListedKey {
  readonly id: string
  readonly position: number
}

export class ApiKeyList extends Context.Service<
  ApiKeyList,
  {
    /** At most `limit` keys that were created before the one at `before`; without an owner, of all owners. */
    readonly page: (page: {
      readonly owner: string | undefined
      readonly before: number
      readonly limit: number
    }) => Effect.Effect<ReadonlyArray<ListedKey>, JournalError>
    readonly count: (owner: string) => Effect.Effect<number, JournalError>
  }
>()("renderowl/domain/keys/ApiKeyList") {
  static readonly layer = Layer.effect(
    ApiKeyList,
    Effect.gen(function* () {
      const { reader } = yield* SqliteClient
      const read = <A>(body: () => A) =>
        Effect.try({
          try: body,
          catch: (cause) => new JournalError({ reason: new StoreFailed({ cause }) }),
        })
      return ApiKeyList.of({
        page: ({ before, limit, owner }) =>
          read(() =>
            (owner === undefined
              ? reader.prepare(SELECT_KEYS).all(before, limit)
              : reader.prepare(SELECT_KEYS_OF_OWNER).all(owner, before, limit)
            ).map((row) => ({ id: row["stream"] as string, position: row["position"] as number })),
          ),
        count: (owner) => read(() => reader.prepare(COUNT_KEYS_OF_OWNER).get(owner)!["count"] as number),
      })
    }),
  )
}
