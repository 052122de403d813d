/** Property tests of effects with fast-check: each run is an effect of its own, and a failing one is shrunk. */
import { Effect } from "effect"
import * as fc from "fast-check"

/** Holds for all values of the arbitrary, as far as `runs` of them can tell. */
export const forAll = <A, E>(
  arbitrary: fc.Arbitrary<A>,
  property: (value: A) => Effect.Effect<void, E>,
  options: { readonly runs?: number } = {},
): Effect.Effect<void> =>
  Effect.promise(() =>
    fc.assert(
      fc.asyncProperty(arbitrary, (value) => Effect.runPromise(property(value))),
      {
        numRuns: options.runs ?? 50,
        interruptAfterTimeLimit: 20_000,
        markInterruptAsFailure: false,
        // What went wrong, beside the values it went wrong with.
        includeErrorInReport: true,
      },
    ),
  )
