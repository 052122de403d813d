/**
 * Where a list goes on, as an opaque token: the position of the last row, signed with a secret of this installation. A
 * caller can neither read meaning into it safely nor make one up, and one list's cursor does not open another list.
 */
import { Context, Effect, Layer, Option, Redacted, Schema } from "effect"
import { createHmac, timingSafeEqual } from "node:crypto"
import { InvalidRequestProblem } from "./RequestProblems.ts"

/** Bytes of signature kept: 128 bits are out of reach of guessing. */
const SIGNATURE_BYTES = 16
/** Characters of a cursor; positions are a few numbers or ids. */
export const CURSOR_CHARACTERS_MAX = 512

/** The installation's secret for cursors; changing it makes lists start again. */
export class CursorSecret extends Context.Service<CursorSecret, Redacted.Redacted<string>>()(
  "renderowl/http/CursorSecret",
) {
  static readonly layer = (secret: Redacted.Redacted<string>) => Layer.succeed(CursorSecret, secret)
}

/** The cursors of one list. */
export interface Cursor<Position> {
  readonly encode: (position: Position) => Effect.Effect<string, never, CursorSecret>
  /** The position, or `undefined` without a cursor: the start. A cursor that this list did not give is a problem. */
  readonly decode: (
    cursor: string | undefined,
  ) => Effect.Effect<Position | undefined, InvalidRequestProblem, CursorSecret>
}

/**
 * Defines the cursors of a list. `list` names it in the signature: put what makes positions comparable there, such as the
 * sort order. A cursor whose position no longer fits the schema, after an upgrade, is refused like a forged one.
 *
 * @example const JobsCursor = Cursor.make("jobs", Schema.Struct({ position: Schema.Int }))
 */
export const make = <Position, Encoded>(
  list: string,
  position: Schema.Codec<Position, Encoded>,
): Cursor<Position> => {
  const json = Schema.fromJsonString(Schema.toCodecJson(position))
  const encode = Schema.encodeSync(json)
  const decode = Schema.decodeUnknownOption(json)
  return {
    encode: (value) =>
      CursorSecret.useSync((secret) => {
        const payload = Buffer.from(encode(value)).toString("base64url")
        return payload + sign(secret, list, payload)
      }),
    decode: (cursor) =>
      cursor === undefined
        ? Effect.undefined
        : Effect.flatMap(CursorSecret, (secret) => {
            const payload = open(secret, list, cursor)
            const value = payload === undefined ? Option.none() : decode(payload)
            return Option.isSome(value) ? Effect.succeed(value.value) : Effect.fail(refused())
          }),
  }
}

/** Base64url of 16 bytes: 22 characters, so the signature needs no separator. */
const SIGNATURE_CHARACTERS = Math.ceil((SIGNATURE_BYTES * 4) / 3)

const sign = (secret: Redacted.Redacted<string>, list: string, payload: string): string =>
  createHmac("sha256", Redacted.value(secret))
    .update(`${list}\n${payload}`)
    .digest()
    .subarray(0, SIGNATURE_BYTES)
    .toString("base64url")

/** The JSON inside a cursor that is ours. */
const open = (secret: Redacted.Redacted<string>, list: string, cursor: string): string | undefined => {
  if (cursor.length <= SIGNATURE_CHARACTERS || cursor.length > CURSOR_CHARACTERS_MAX) return undefined
  const payload = cursor.slice(0, -SIGNATURE_CHARACTERS)
  // Compared as text: base64 has spellings that decode to the same bytes, and each of them is a forgery too.
  const given = Buffer.from(cursor.slice(-SIGNATURE_CHARACTERS))
  const right = Buffer.from(sign(secret, list, payload))
  return given.length === right.length && timingSafeEqual(given, right)
    ? Buffer.from(payload, "base64url").toString()
    : undefined
}

const refused = () => new InvalidRequestProblem({ detail: "The cursor is not one that this list gave." })
