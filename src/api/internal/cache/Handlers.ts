/**
 * What the cache routes do.
 */
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { type CacheStats, TaggedCache } from "../../../cache/TaggedCache.ts"
import { ApiV1 } from "../../v1/ApiV1.ts"
import type { CacheJson } from "./Api.ts"

const toCacheJson = (stats: CacheStats): typeof CacheJson.Type => {
  const { bytesMax, entriesMax, hits, isFileInUse, misses, ...rest } = stats
  return {
    ...rest,
    entries_max: entriesMax,
    bytes_max: bytesMax,
    hits,
    misses,
    hit_rate: hits + misses === 0 ? null : hits / (hits + misses),
    file: isFileInUse ? "in_use" : "bypassed",
  }
}

export const CacheLive = HttpApiBuilder.group(
  ApiV1,
  "cache",
  Effect.fnUntraced(function* (handlers) {
    const cache = yield* TaggedCache
    return handlers.handleAll({
      get: () => Effect.sync(() => toCacheJson(cache.stats())),
      invalidate: ({ params: { tag } }) => Effect.sync(() => ({ removed: cache.invalidate([tag]) })),
    })
  }),
)
