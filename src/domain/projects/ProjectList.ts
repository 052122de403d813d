/**
 * Lists of projects, newest first.
 */
import { Context, Effect, Layer } from "effect"
import { JournalError, StoreFailed } from "../../journal/Journal.ts"
import { limitTo } from "../../sqlite/Limit.ts"
import { SqliteClient } from "../../sqlite/SqliteClient.ts"

/** Index: projects_live, backwards; each id costs one primary-key look-up. */
export const SELECT_PROJECTS = `SELECT p.position, e.stream
  FROM projects p INDEXED BY projects_live CROSS JOIN events e ON e.position = p.position
  WHERE p.archived = 0 AND p.position < ? ORDER BY p.position DESC ${limitTo()}`

/** One entry of a list: the id, and the position to go on from. */
export interface Listed {
  readonly id: string
  readonly position: number
}

export class ProjectList extends Context.Service<
  ProjectList,
  {
    /** At most `limit` live projects that were created before the one at `before`. */
    readonly page: (page: {
      readonly before: number
      readonly limit: number
    }) => Effect.Effect<ReadonlyArray<Listed>, JournalError>
  }
>()("renderowl/domain/projects/ProjectList") {
  static readonly layer = Layer.effect(
    ProjectList,
    Effect.gen(function* () {
      const { reader } = yield* SqliteClient
      return ProjectList.of({
        page: ({ before, limit }) =>
          Effect.try({
            try: () =>
              reader
                .prepare(SELECT_PROJECTS)
                .all(before, limit)
                .map((row) => ({ id: row["stream"] as string, position: row["position"] as number })),
            catch: (cause) => new JournalError({ reason: new StoreFailed({ cause }) }),
          }),
      })
    }),
  )
}
