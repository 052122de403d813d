/**
 * What the project routes do.
 */
import { Effect, Schema } from "effect"
import { HttpApiBuilder, HttpApiSchema } from "effect/http-api"
import { DEFAULT_SETTINGS, Project, type ProjectState } from "../../../domain/projects/Project.ts"
import { ProjectList } from "../../../domain/projects/ProjectList.ts"
import { etagOf, ExpectedVersions } from "../../../http/Conditional.ts"
import * as Cursor from "../../../http/Cursor.ts"
import * as Pagination from "../../../http/Pagination.ts"
import { CurrentPrincipal } from "../../../security/Principal.ts"
import * as TypeId from "../../../security/TypeId.ts"
import { ApiV1 } from "../ApiV1.ts"
import { impossible, toProblem } from "../DomainProblems.ts"
import { requestMetadata } from "../RequestMetadata.ts"
import type { ProjectJson } from "./Api.ts"

const ProjectsCursor = Cursor.make("projects", Schema.Struct({ position: Schema.Int }))

const toProjectJson = (id: string, state: ProjectState): typeof ProjectJson.Type => ({
  id: id as TypeId.TypeId<"proj">,
  name: state.name,
  description: state.description,
  settings: state.settings,
  archived: state.status === "archived",
  version: state.version,
  created_at: state.createdAt,
  updated_at: state.updatedAt,
})

const shown = (id: string, state: ProjectState) =>
  HttpApiSchema.withHeaders({ body: toProjectJson(id, state), headers: { etag: etagOf(state.version) } })

/** The versions that the caller has seen, as the actor takes them. */
const expected = Effect.map(ExpectedVersions, (ifVersions) =>
  ifVersions === undefined ? {} : { ifVersions },
)

export const ProjectsLive = HttpApiBuilder.group(
  ApiV1,
  "projects",
  Effect.fnUntraced(function* (handlers) {
    const project = yield* Project.client
    const list = yield* ProjectList

    return handlers.handleAll({
      create: ({ payload }) =>
        Effect.gen(function* () {
          const { owner } = yield* CurrentPrincipal
          const id = yield* TypeId.make("proj")
          const state = yield* project(id).Create(
            {
              name: payload.name,
              description: payload.description ?? null,
              settings: { ...DEFAULT_SETTINGS, ...payload.settings },
              owner,
            },
            yield* requestMetadata,
          )
          return HttpApiSchema.withHeaders({
            body: toProjectJson(id, state),
            headers: { location: `/v1/projects/${id}`, etag: etagOf(state.version) },
          })
        }).pipe(toProblem),

      list: ({ query: { cursor, limit }, request }) =>
        Effect.gen(function* () {
          const before = (yield* ProjectsCursor.decode(cursor))?.position ?? Number.MAX_SAFE_INTEGER
          const rows = yield* list.page({ before, limit: limit + 1 })
          const positionOf = ({ position }: (typeof rows)[number]) => ({ position })
          const page = yield* Pagination.page({ request, rows, limit, cursor: ProjectsCursor, positionOf })
          const data = yield* Effect.forEach(page.body.data, ({ id }) =>
            Effect.map(project(id).Get(), (state) => toProjectJson(id, state)),
          )
          return HttpApiSchema.withHeaders({ body: { ...page.body, data }, headers: page.headers })
        }).pipe(impossible("ProjectNotFound"), toProblem),

      get: ({ params: { id } }) => Effect.map(project(id).Get(), (state) => shown(id, state)).pipe(toProblem),

      change: ({ params: { id }, payload }) =>
        Effect.gen(function* () {
          const change = { ...payload, ...(yield* expected) }
          const state = yield* project(id).Change(change, yield* requestMetadata)
          return shown(id, state)
        }).pipe(toProblem),

      archive: ({ params: { id } }) =>
        Effect.gen(function* () {
          yield* project(id).Archive(yield* expected, yield* requestMetadata)
        }).pipe(toProblem),
    })
  }),
)
