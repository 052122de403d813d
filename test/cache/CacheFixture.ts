/** Caches over real files, and what they keep. */
import { Effect, Exit, Layer, Scope } from "effect"
import type { Answer } from "../../src/cache/Answer.ts"
import { type CacheOptions, type CacheRequest, TaggedCache } from "../../src/cache/TaggedCache.ts"

export type Cache = TaggedCache["Service"]

/** Opens a cache, for as long as the scope is open. */
export const open = (options: Partial<CacheOptions> & { readonly filename: string }) =>
  Effect.map(Layer.build(TaggedCache.layer({ generation: "1", ...options })), (context) =>
    context.pipe((services) => services.mapUnsafe.get(TaggedCache.key) as Cache),
  )

/** A cache that can be closed before its test ends. */
export const openClosable = Effect.fnUntraced(function* (
  options: Partial<CacheOptions> & { readonly filename: string },
) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const cache = yield* Scope.provide(open(options), scope)
  return { cache, close: Scope.close(scope, Exit.void) }
})

export const answer = (text: string): Answer => ({ head: "text", body: Buffer.from(text) })

/** What is kept under a key, as text. */
export const kept = (cache: Cache, key: string, now = 0): string | undefined => {
  const found = cache.get(key, now)
  return found === undefined ? undefined : Buffer.from(found.body).toString()
}

/** Keeps a text. */
export const keep = (cache: Cache, key: string, text: string, request: Partial<CacheRequest> = {}) =>
  cache.share({ key, tags: [], ttlMs: 60_000, ...request }, Effect.succeed(text), texts)

export const texts = { answerOf: answer, isShareable: () => true }
