/**
 * What the journal's route does.
 */
import { Effect, Stream } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { wantsEventStream } from "../../../http/Accept.ts"
import * as ServerSentEvents from "../../../http/ServerSentEvents.ts"
import { Journal, type RecordedEvent } from "../../../journal/Journal.ts"
import { ApiV1 } from "../ApiV1.ts"
import { toProblem } from "../DomainProblems.ts"
import { toInstant } from "../Timestamp.ts"
import type { EventJson } from "./Api.ts"

const toJson = ({
  event: { _tag: type, ...data },
  metadata,
  position,
  recordedAt,
  stream,
  version,
}: RecordedEvent): typeof EventJson.Type => ({
  position,
  stream,
  version,
  type,
  recorded_at: toInstant(recordedAt),
  metadata: metadata ?? null,
  data,
})

export const EventsLive = HttpApiBuilder.group(
  ApiV1,
  "events",
  Effect.fnUntraced(function* (handlers) {
    const journal = yield* Journal

    return handlers.handleAll({
      list: ({ query: { after, limit }, request }) =>
        Effect.gen(function* () {
          if (wantsEventStream(request.headers)) {
            const afterPosition = (yield* ServerSentEvents.lastEventId(request)) ?? after
            return yield* ServerSentEvents.respond(
              Stream.map(journal.subscribe({ afterPosition }), (recorded) => ({
                id: recorded.position,
                event: recorded.event._tag,
                data: toJson(recorded),
              })),
            )
          }
          const events = yield* journal.readAll({ afterPosition: after, limit: limit + 1 })
          return { data: events.slice(0, limit).map(toJson), has_more: events.length > limit }
        }).pipe(toProblem),
    })
  }),
)
