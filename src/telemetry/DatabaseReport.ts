/**
 * Tells the observer of work of the database: of each query of the pool, and of reads on the main thread that were slow.
 */
import { Effect, Exit, Fiber } from "effect"
import { type Observer, SLOW_QUERY_MS } from "./Observer.ts"
import { parentSpan } from "./Tracing.ts"

/** Runs a read on the main thread, within this turn. */
export const read = <A>(observer: Observer, body: () => A): A => {
  const start = performance.now()
  try {
    return body()
  } finally {
    const durationMs = performance.now() - start
    if (durationMs >= SLOW_QUERY_MS && observer.hears("database")) {
      const here = Fiber.getCurrent()
      observer.tell("database", {
        name: "READ",
        // Whoever fails tells why themselves.
        ok: true,
        cause: undefined,
        startedAt: performance.timeOrigin + start,
        durationMs,
        sql: undefined,
        rows: undefined,
        events: 0,
        traces: [],
        parent: here === undefined ? undefined : (parentSpan(here) ?? undefined),
      })
    }
  }
}

/** Runs a query somewhere else. */
export const scan = <A extends ReadonlyArray<unknown>, E, R>(
  observer: Observer,
  sql: string,
  query: Effect.Effect<A, E, R>,
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    if (!observer.hears("database")) return query
    const start = performance.now()
    return Effect.onExit(query, (exit) =>
      Effect.sync(() =>
        observer.tell("database", {
          name: "SCAN",
          ok: Exit.isSuccess(exit),
          cause: undefined,
          startedAt: performance.timeOrigin + start,
          durationMs: performance.now() - start,
          sql,
          rows: Exit.isSuccess(exit) ? exit.value.length : undefined,
          events: 0,
          traces: [],
          parent: parentSpan(fiber) ?? undefined,
        }),
      ),
    )
  })
