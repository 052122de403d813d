/**
 * Reading back a typed value that was kept as JSON. Nothing has no JSON and is kept as null; whoever has a schema for it gets
 * nothing again.
 */
import { Effect, Schema } from "effect"
import type { ParseOptions } from "effect/SchemaAST"

/** The value that a JSON stands for. Null stands for itself where the schema takes it, and for nothing otherwise. */
export const decodeStored = <A>(
  schema: Schema.Codec<A, unknown>,
  json: unknown,
  options?: ParseOptions,
): Effect.Effect<A, Schema.SchemaError> => {
  const decoded = Schema.decodeUnknownEffect(schema)(json, options)
  if (json !== null) return decoded
  return Effect.catch(decoded, (error) =>
    Effect.mapError(Schema.decodeUnknownEffect(schema)(undefined, options), () => error),
  )
}
