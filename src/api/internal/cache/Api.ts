/**
 * The response cache for operators: how full it is, how well it does, and a way to empty it by tag.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { requireScopes } from "../../../http/Authorization.ts"
import { unconditional } from "../../../http/Conditional.ts"
import { InternalAuthorization } from "../../../http/InternalAuthorization.ts"

const TAG_CHARACTERS_MAX = 100

export const CacheJson = Schema.Struct({
  entries: Schema.Int,
  bytes: Schema.Int,
  entries_max: Schema.Int,
  bytes_max: Schema.Int,
  /** Of the entries: those whose bodies are in memory. */
  memory: Schema.Struct({ entries: Schema.Int, bytes: Schema.Int }),
  hits: Schema.Int,
  misses: Schema.Int,
  /** Of hits and misses together, since the start; null before the first. */
  hit_rate: Schema.NullOr(Schema.Finite),
  /** Requests that waited for the answer of an identical one. */
  shared: Schema.Int,
  /** Answers that made room for others. */
  evictions: Schema.Int,
  /** Answers that a change has made out of date. */
  invalidations: Schema.Int,
  /** `bypassed`: the file gives trouble, and the cache does without it for the time being. */
  file: Schema.Literals(["in_use", "bypassed"]),
}).annotate({ identifier: "Cache" })

const Tag = Schema.String.pipe(Schema.check(Schema.isNonEmpty(), Schema.isMaxLength(TAG_CHARACTERS_MAX)))

export class CacheApi extends HttpApiGroup.make("cache")
  .add(
    HttpApiEndpoint.get("get", "/internal/cache", { success: CacheJson })
      .annotate(OpenApi.Summary, "How full the cache is, and how well it does")
      .annotateMerge(requireScopes("admin")),
    HttpApiEndpoint.delete("invalidate", "/internal/cache/tags/:tag", {
      params: { tag: Tag },
      success: Schema.Struct({ removed: Schema.Int }),
    })
      .annotate(OpenApi.Summary, "Remove the answers with a tag")
      .annotateMerge(requireScopes("admin"))
      .annotateMerge(unconditional("what is removed is made again by the next who asks")),
  )
  .middleware(InternalAuthorization)
  .annotateMerge(OpenApi.annotations({ title: "Cache", description: "Answers that are kept" })) {}
