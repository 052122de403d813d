/**
 * The one mechanism by which domain errors become problems: a record from error tag to problem, written once for the API,
 * and applied to whatever a handler runs. Domain errors stay free of HTTP; the compiler refuses a handler whose
 * mapped problems are not declared by its endpoint.
 */
import { Effect } from "effect"
import type { AnyProblem } from "./Problem.ts"

/** One case per domain error tag; a parameter's type says which error it takes, and may be left out. */
type Cases = { readonly [tag: string]: (error: never) => AnyProblem }

/** The error channel after mapping: errors with a case become its problem, all others stay. */
export type Mapped<E, C extends Cases> = E extends { readonly _tag: infer Tag extends keyof C & string }
  ? [E, ...ReadonlyArray<unknown>] extends [...Parameters<C[Tag]>, ...ReadonlyArray<unknown>]
    ? ReturnType<C[Tag]>
    : E
  : E

/**
 * Makes the mapper.
 *
 * @example
 * const toProblem = ProblemMapper.make({
 *   JobNotFound: (error: JobNotFound) => new JobNotFoundProblem({ detail: `No job has the id ${error.id}.` }),
 *   MailboxFull: () => new MailboxFullProblem({}),
 * })
 * handlers.handle("get", ({ params }) => jobs.get(params.id).pipe(toProblem))
 */
export const make = <const C extends Cases>(cases: C) => {
  const map = (error: unknown): unknown => {
    const tag = typeof error === "object" && error !== null && "_tag" in error ? error._tag : undefined
    return typeof tag === "string" && Object.hasOwn(cases, tag) ? cases[tag]!(error as never) : error
  }
  return <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, Mapped<E, C>, R> =>
    Effect.mapError(effect, (error) => map(error) as Mapped<E, C>)
}
