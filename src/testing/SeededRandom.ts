/**
 * Chance that repeats itself: whatever draws from `Random`, and every id, follows from a seed. Ids have a source of their own,
 * so that they stay the same when a handler draws once more.
 */
import { Context, Effect, Layer, Random } from "effect"
import * as TypeId from "../security/TypeId.ts"

const seeded = (seed: string) => Random.withSeed(Random.Random, seed)

/** Everything random follows from the seed. */
export const layer = (seed: string | number): Layer.Layer<never> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const random = yield* seeded(`${seed} random`)
      const ids = yield* seeded(`${seed} ids`)
      const generator = new TypeId.TypeIdGenerator((bytes) => {
        for (let i = 0; i < bytes.length; i++) bytes[i] = ids.nextDoubleUnsafe() * 256
      })
      return Context.make(Random.Random, random).pipe(Context.add(TypeId.Generator, generator))
    }),
  )
