/**
 * What the routes of API keys do.
 */
import { Clock, Effect, Redacted, Result, Schema } from "effect"
import { HttpApiBuilder, HttpApiSchema } from "effect/http-api"
import { isExpired } from "../../../domain/keys/ApiKey.ts"
import { ApiKeys, type ApiKeySnapshot } from "../../../domain/keys/ApiKeys.ts"
import { KeyUses } from "../../../domain/keys/KeyUses.ts"
import * as Cursor from "../../../http/Cursor.ts"
import * as Pagination from "../../../http/Pagination.ts"
import { canonical } from "../../../security/AllowedNetworks.ts"
import { CurrentPrincipal } from "../../../security/Principal.ts"
import { ApiV1 } from "../ApiV1.ts"
import { impossible, toProblem } from "../DomainProblems.ts"
import { requestMetadata } from "../RequestMetadata.ts"
import { toInstant, toInstantOrNull } from "../Timestamp.ts"
import { type ApiKeyJson, OVERLAP_DEFAULT_MS } from "./Api.ts"

const ApiKeysCursor = Cursor.make("api-keys", Schema.Struct({ position: Schema.Int }))

const statusOf = ({ state }: ApiKeySnapshot, now: number) => {
  if (state.status === "revoked") return "revoked"
  return isExpired(state, now) ? "expired" : "active"
}

export const ApiKeysLive = HttpApiBuilder.group(
  ApiV1,
  "api_keys",
  Effect.fnUntraced(function* (handlers) {
    const keys = yield* ApiKeys
    const uses = yield* KeyUses

    const toJson = Effect.fnUntraced(function* (key: ApiKeySnapshot) {
      const { id, state } = key
      const now = yield* Clock.currentTimeMillis
      const json: typeof ApiKeyJson.Type = {
        id,
        name: state.name,
        prefix: state.prefix,
        status: statusOf(key, now),
        owner: state.owner,
        scopes: state.scopes,
        tier: state.tier,
        expires_at: toInstantOrNull(state.expires_at),
        allowed_ips: state.allowed_ips,
        allowed_origins: state.allowed_origins,
        created_at: toInstant(state.createdAt),
        rotated_at: toInstantOrNull(state.rotatedAt),
        previous_valid_until:
          state.previous !== null && now < state.previous.until ? toInstant(state.previous.until) : null,
        last_used_at: toInstantOrNull(yield* uses.lastUse(id)),
      }
      return json
    })

    return handlers.handleAll({
      create: ({ payload: { allowed_ips, ...payload } }) =>
        Effect.gen(function* () {
          const wanted =
            allowed_ips === undefined
              ? payload
              : { ...payload, allowed_ips: allowed_ips.map((text) => Result.getOrThrow(canonical(text))) }
          const issued = yield* keys.create(yield* CurrentPrincipal, wanted, yield* requestMetadata)
          return HttpApiSchema.withHeaders({
            body: { ...(yield* toJson(issued)), key: Redacted.value(issued.secret) },
            headers: { location: `/v1/api-keys/${issued.id}` },
          })
        }).pipe(toProblem),

      list: ({ query: { cursor, limit }, request }) =>
        Effect.gen(function* () {
          const principal = yield* CurrentPrincipal
          const before = (yield* ApiKeysCursor.decode(cursor))?.position ?? Number.MAX_SAFE_INTEGER
          const rows = yield* keys.page(principal, { before, limit: limit + 1 })
          const positionOf = ({ position }: (typeof rows)[number]) => ({ position })
          const page = yield* Pagination.page({ request, rows, limit, cursor: ApiKeysCursor, positionOf })
          const data = yield* Effect.forEach(page.body.data, ({ id }) =>
            Effect.flatMap(keys.get(principal, id), toJson),
          )
          return HttpApiSchema.withHeaders({ body: { ...page.body, data }, headers: page.headers })
        }).pipe(impossible("ApiKeyNotFound"), toProblem),

      get: ({ params: { id } }) =>
        Effect.gen(function* () {
          return yield* toJson(yield* keys.get(yield* CurrentPrincipal, id))
        }).pipe(toProblem),

      rotate: ({ params: { id }, payload: { overlap_seconds } }) =>
        Effect.gen(function* () {
          const overlapMs = overlap_seconds === undefined ? OVERLAP_DEFAULT_MS : overlap_seconds * 1_000
          const issued = yield* keys.rotate(yield* CurrentPrincipal, id, overlapMs, yield* requestMetadata)
          return { ...(yield* toJson(issued)), key: Redacted.value(issued.secret) }
        }).pipe(toProblem),

      revoke: ({ params: { id } }) =>
        Effect.gen(function* () {
          yield* keys.revoke(yield* CurrentPrincipal, id, yield* requestMetadata)
        }).pipe(toProblem),
    })
  }),
)
