/**
 * Conditional changes (RFC 9110 §13): the entity tag of a version, and the version that `If-Match` was sent for.
 */
import { Effect } from "effect"
import type { HttpServerRequest } from "effect/http"
import { PreconditionRequiredProblem } from "./RequestProblems.ts"

/** The strong entity tag of a resource at a version. */
export const etagOf = (version: number): string => `"${version}"`

/**
 * The version that a change was made for; `undefined` for `*`, which is any. A change without `If-Match` is refused, so that
 * nobody overwrites what they have not seen; a tag that no version has matches none.
 */
export const ifMatch = ({
  headers,
}: HttpServerRequest.HttpServerRequest): Effect.Effect<number | undefined, PreconditionRequiredProblem> => {
  const text = headers["if-match"]?.trim()
  if (text === undefined || text === "") {
    return Effect.fail(
      new PreconditionRequiredProblem({ detail: "Send If-Match with the ETag that you have seen." }),
    )
  }
  if (text === "*") return Effect.undefined
  const version = /^"(\d{1,15})"$/.exec(text)?.[1]
  return Effect.succeed(version === undefined ? -1 : Number(version))
}
