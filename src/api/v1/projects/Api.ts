/**
 * Projects over HTTP.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { ProjectSettings } from "../../../domain/projects/Project.ts"
import { FPS_MAX, SIDE_MAX, SIDE_MIN } from "../../../domain/renders/OutputSettings.ts"
import { Authorization, requireScopes } from "../../../http/Authorization.ts"
import { Page, pageQuery } from "../../../http/Pagination.ts"
import { PROJECTS } from "../../CacheTags.ts"
import { IfMatch } from "../../../http/Conditional.ts"
import { InvalidRequestProblem } from "../../../http/RequestProblems.ts"
import { GoneProblem, ProjectNotFoundProblem } from "../../../http/ResourceProblems.ts"
import { cached, ResponseCache } from "../../../http/ResponseCache.ts"
import * as TypeId from "../../../security/TypeId.ts"
import { StoreProblems } from "../DomainProblems.ts"
import { Timestamp } from "../Timestamp.ts"

const NAME_CHARACTERS_MAX = 200
const DESCRIPTION_CHARACTERS_MAX = 2_000
const DURATION_SEC_MAX = 600

export const ProjectId = TypeId.schema("proj").annotate({ identifier: "ProjectId" })

const Name = Schema.String.pipe(Schema.check(Schema.isNonEmpty(), Schema.isMaxLength(NAME_CHARACTERS_MAX)))
const Description = Schema.NullOr(
  Schema.String.pipe(Schema.check(Schema.isMaxLength(DESCRIPTION_CHARACTERS_MAX))),
)
const Side = Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: SIDE_MIN, maximum: SIDE_MAX })))

const Settings = Schema.Struct({
  default_width: Schema.optionalKey(Side),
  default_height: Schema.optionalKey(Side),
  default_fps: Schema.optionalKey(
    Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: FPS_MAX }))),
  ),
  default_duration_sec: Schema.optionalKey(
    Schema.NullOr(
      Schema.Finite.pipe(Schema.check(Schema.isBetween({ minimum: 0.1, maximum: DURATION_SEC_MAX }))),
    ),
  ),
})

export const ProjectJson = Schema.Struct({
  id: ProjectId,
  name: Schema.String,
  description: Schema.NullOr(Schema.String),
  settings: ProjectSettings,
  archived: Schema.Boolean,
  version: Schema.Int,
  created_at: Timestamp,
  updated_at: Timestamp,
}).annotate({ identifier: "Project" })

const shown = <S extends Schema.Top>(schema: S) => HttpApiSchema.WithHeaders(schema, { etag: Schema.String })
const changeErrors = [ProjectNotFoundProblem, GoneProblem, ...StoreProblems] as const

export class ProjectsApi extends HttpApiGroup.make("projects")
  .add(
    HttpApiEndpoint.post("create", "/v1/projects", {
      payload: Schema.Struct({
        name: Name,
        description: Schema.optionalKey(Description),
        settings: Schema.optionalKey(Settings),
      }),
      success: HttpApiSchema.WithHeaders(ProjectJson.pipe(HttpApiSchema.status(201)), {
        location: Schema.String,
        etag: Schema.String,
      }),
      error: StoreProblems,
    })
      .annotate(OpenApi.Summary, "Create a project")
      .annotateMerge(requireScopes("projects:write")),
    HttpApiEndpoint.get("list", "/v1/projects", {
      query: pageQuery,
      success: Page(ProjectJson),
      error: [InvalidRequestProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "List projects")
      .annotateMerge(requireScopes("projects:read"))
      .annotateMerge(cached({ ttl: "5 minutes", tags: () => [PROJECTS] })),
    HttpApiEndpoint.get("get", "/v1/projects/:id", {
      params: { id: ProjectId },
      success: shown(ProjectJson),
      error: [ProjectNotFoundProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Get a project")
      .annotateMerge(requireScopes("projects:read"))
      .annotateMerge(cached({ ttl: "5 minutes", tags: ({ id }) => [id!] })),
    HttpApiEndpoint.patch("change", "/v1/projects/:id", {
      params: { id: ProjectId },
      payload: Schema.Struct({
        name: Schema.optionalKey(Name),
        description: Schema.optionalKey(Description),
        settings: Schema.optionalKey(Settings),
      }),
      success: shown(ProjectJson),
      error: changeErrors,
    })
      .annotate(OpenApi.Summary, "Change a project")
      .annotateMerge(requireScopes("projects:write"))
      .middleware(IfMatch),
    HttpApiEndpoint.delete("archive", "/v1/projects/:id", {
      params: { id: ProjectId },
      success: HttpApiSchema.NoContent,
      error: changeErrors,
    })
      .annotate(OpenApi.Summary, "Archive a project")
      .annotateMerge(requireScopes("projects:write"))
      .middleware(IfMatch),
  )
  .middleware(ResponseCache)
  .middleware(Authorization)
  .annotateMerge(OpenApi.annotations({ title: "Projects", description: "What renders belong to" })) {}
