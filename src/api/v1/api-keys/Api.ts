/**
 * API keys over HTTP. A key itself is in the answer that makes it and nowhere else.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { InsufficientScopeProblem, ForbiddenProblem } from "../../../http/AccessProblems.ts"
import { Authorization, requireScopes } from "../../../http/Authorization.ts"
import { unconditional } from "../../../http/Conditional.ts"
import { Page, pageQuery } from "../../../http/Pagination.ts"
import { InvalidRequestProblem, ValidationFailedProblem } from "../../../http/RequestProblems.ts"
import { ApiKeyNotFoundProblem, ConflictProblem } from "../../../http/ResourceProblems.ts"
import { NETWORKS_MAX, NetworkText } from "../../../security/AllowedNetworks.ts"
import { Tier } from "../../../security/Principal.ts"
import { Scope } from "../../../security/Scope.ts"
import * as TypeId from "../../../security/TypeId.ts"
import { ORIGINS_MAX, WebOrigin } from "../../../security/WebOrigin.ts"
import { StoreProblems } from "../DomainProblems.ts"
import { Instant, Timestamp } from "../Timestamp.ts"

const NAME_CHARACTERS_MAX = 200
const SECONDS_A_DAY = 86_400
const OVERLAP_SECONDS_MAX = 30 * SECONDS_A_DAY
/** A day to bring the new key to everywhere. */
const OVERLAP_SECONDS_DEFAULT = SECONDS_A_DAY

const ApiKeyId = TypeId.schema("key").annotate({ identifier: "ApiKeyId" })

/** A user of RenderOwl's own, or one by the name that the issuer of tokens gives it. */
const Owner = Schema.String.pipe(
  Schema.check(
    Schema.isPattern(/^(user_[0-7][0-9a-z]{25}|user:[!-~]{1,128})$/u, {
      expected: "an id like user_01k8w3e5r7fm2vx9q4ztd6yhbn or user:<subject>",
    }),
  ),
)

const listOf = <S extends Schema.Top>(
  item: S,
  options: { readonly minimum?: number; readonly maximum: number },
) =>
  Schema.Array(item).pipe(
    Schema.check(
      Schema.isMinLength(options.minimum ?? 0),
      Schema.isMaxLength(options.maximum),
      Schema.isUnique(),
    ),
  )

const NewApiKey = Schema.Struct({
  name: Schema.String.pipe(Schema.check(Schema.isNonEmpty(), Schema.isMaxLength(NAME_CHARACTERS_MAX))),
  scopes: listOf(Scope, { minimum: 1, maximum: Scope.literals.length }),
  // What follows is as the caller's own where it is left out.
  tier: Schema.optionalKey(Tier),
  owner: Schema.optionalKey(Owner),
  expires_at: Schema.optionalKey(Schema.NullOr(Timestamp)),
  allowed_ips: Schema.optionalKey(listOf(NetworkText, { maximum: NETWORKS_MAX })),
  allowed_origins: Schema.optionalKey(listOf(WebOrigin, { maximum: ORIGINS_MAX })),
}).annotate({ identifier: "NewApiKey" })

const keyFields = {
  id: Schema.String,
  name: Schema.String,
  /** The beginning of the key, by which people recognise it. */
  prefix: Schema.String,
  status: Schema.Literals(["active", "expired", "revoked"]),
  owner: Schema.String,
  scopes: Schema.Array(Scope),
  tier: Tier,
  expires_at: Schema.NullOr(Instant),
  allowed_ips: Schema.Array(Schema.String),
  allowed_origins: Schema.Array(Schema.String),
  created_at: Instant,
  rotated_at: Schema.NullOr(Instant),
  /** Until when the key before the last rotation is good; null when it is not. */
  previous_valid_until: Schema.NullOr(Instant),
  /** To the minute. */
  last_used_at: Schema.NullOr(Instant),
}

export const ApiKeyJson = Schema.Struct(keyFields).annotate({ identifier: "ApiKey" })

export const IssuedApiKeyJson = Schema.Struct({
  ...keyFields,
  /** Shown this once. */
  key: Schema.String,
}).annotate({ identifier: "IssuedApiKey" })

const params = { id: ApiKeyId }
/** Beyond what the caller has itself. */
const grantErrors = [InsufficientScopeProblem, ForbiddenProblem] as const

export class ApiKeysApi extends HttpApiGroup.make("api_keys")
  .add(
    HttpApiEndpoint.post("create", "/v1/api-keys", {
      payload: NewApiKey,
      success: HttpApiSchema.WithHeaders(IssuedApiKeyJson.pipe(HttpApiSchema.status(201)), {
        location: Schema.String,
      }),
      error: [ValidationFailedProblem, ConflictProblem, ...grantErrors, ...StoreProblems],
    }).annotate(OpenApi.Summary, "Create an API key"),
    HttpApiEndpoint.get("list", "/v1/api-keys", {
      query: pageQuery,
      success: Page(ApiKeyJson),
      error: [InvalidRequestProblem, ...StoreProblems],
    }).annotate(OpenApi.Summary, "List API keys"),
    HttpApiEndpoint.get("get", "/v1/api-keys/:id", {
      params,
      success: ApiKeyJson,
      error: [ApiKeyNotFoundProblem, ...StoreProblems],
    }).annotate(OpenApi.Summary, "Get an API key"),
    HttpApiEndpoint.post("rotate", "/v1/api-keys/:id/rotate", {
      params,
      payload: Schema.Struct({
        overlap_seconds: Schema.optionalKey(
          Schema.Int.pipe(
            Schema.check(Schema.isBetween({ minimum: 0, maximum: OVERLAP_SECONDS_MAX })),
            Schema.annotate({
              description: `For how long the key before goes on, ${OVERLAP_SECONDS_DEFAULT} by default`,
            }),
          ),
        ),
      }),
      success: IssuedApiKeyJson,
      error: [ApiKeyNotFoundProblem, ConflictProblem, ...grantErrors, ...StoreProblems],
    }).annotate(OpenApi.Summary, "Give an API key a new secret"),
    HttpApiEndpoint.delete("revoke", "/v1/api-keys/:id", {
      params,
      success: HttpApiSchema.NoContent,
      error: [ApiKeyNotFoundProblem, ...grantErrors, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Revoke an API key")
      .annotateMerge(unconditional("a key that may be in wrong hands ends at once, whatever was seen of it")),
  )
  .middleware(Authorization)
  .annotateMerge(requireScopes("keys:write"))
  .annotateMerge(
    OpenApi.annotations({ title: "API keys", description: "What opens the API, and for whom" }),
  ) {}

/** The overlap of a rotation that names none. */
export const OVERLAP_DEFAULT_MS = OVERLAP_SECONDS_DEFAULT * 1_000
