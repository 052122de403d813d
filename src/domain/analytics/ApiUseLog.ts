/**
 * Counts the uses of the API in memory and writes them to the journal now and then, and at the stop: a request costs the
 * increment of a number. A crash loses the counts since the last write, ten minutes at most, and nothing else.
 */
import { Clock, Effect, Layer, Schedule } from "effect"
import { ApiUse } from "../../http/ApiUse.ts"
import { Journal } from "../../journal/Journal.ts"
import { HOUR_MS } from "./AnalyticsProjection.ts"
import { type ApiUseRecorded, apiUseStream } from "./ApiUseEvents.ts"

const WRITE_EVERY = "10 minutes"
/** Pairs of caller and group that are told apart between two writes: about 60 bytes of the event each. */
const PAIRS_MAX = 2_000
/** Who the callers beyond are. */
const OTHERS = "(other)"

/** What was used in one hour: requests by group and caller. */
type Hour = Map<string, Map<string, number>>

/** Takes what the edge says for as long as the layer lives. */
export const layer: Layer.Layer<never, never, Journal> = Layer.effect(
  ApiUse,
  Effect.gen(function* () {
    const journal = yield* Journal
    let hours = new Map<number, Hour>()
    let pairs = 0

    const add = (hour: number, route: string, principal: string, requests: number): void => {
      let uses = hours.get(hour)
      if (uses === undefined) hours.set(hour, (uses = new Map()))
      let callers = uses.get(route)
      if (callers === undefined) uses.set(route, (callers = new Map()))
      const before = callers.get(principal)
      if (before !== undefined) return void callers.set(principal, before + requests)
      if (pairs >= PAIRS_MAX && principal !== OTHERS) return add(hour, route, OTHERS, requests)
      pairs++
      callers.set(principal, requests)
    }

    const append = Effect.fnUntraced(function* (hour: number, uses: Hour, now: number) {
      const event: ApiUseRecorded = {
        _tag: "ApiUseRecorded",
        hour,
        uses: [...uses].flatMap(([route, callers]) =>
          [...callers].map(([principal, requests]) => ({ principal, route, requests })),
        ),
      }
      const stream = apiUseStream(hour)
      const { length } = yield* journal.readStream(stream)
      yield* journal.append([{ stream, expectedVersion: length, events: [event] }], now)
    })

    const write = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const taken = hours
      hours = new Map()
      pairs = 0
      for (const [hour, uses] of taken) {
        yield* append(hour, uses, now).pipe(
          // A full disk refuses the jobs as well, and says so. The counts are not lost by it.
          Effect.catch((error) =>
            Effect.andThen(
              Effect.logDebug("the uses of the API were not written", error),
              Effect.sync(() => {
                for (const [route, callers] of uses)
                  for (const [principal, requests] of callers) add(hour, route, principal, requests)
              }),
            ),
          ),
        )
      }
    }).pipe(Effect.uninterruptible)
    yield* Effect.addFinalizer(() => write)
    yield* Effect.forkScoped(Effect.repeat(write, Schedule.spaced(WRITE_EVERY)))

    return {
      record: (principal, route, now) => add(Math.floor(now / HOUR_MS) * HOUR_MS, route, principal, 1),
    }
  }),
)
