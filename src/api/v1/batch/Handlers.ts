/**
 * What the batch route does.
 */
import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import * as Batch from "../../../http/Batch.ts"
import { isDispatched } from "../../../http/DispatchedRequest.ts"
import { Dispatcher } from "../../../http/Dispatcher.ts"
import { InvalidRequestProblem } from "../../../http/RequestProblems.ts"
import { ApiV1 } from "../ApiV1.ts"

const lowerCased = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))

export const BatchLive = HttpApiBuilder.group(
  ApiV1,
  "batch",
  Effect.fnUntraced(function* (handlers) {
    const dispatcher = yield* Dispatcher
    return handlers.handleAll({
      run: ({ payload: { requests }, request }) =>
        Effect.gen(function* () {
          if (isDispatched(request))
            return yield* new InvalidRequestProblem({ detail: "A batch cannot be part of a batch." })
          const text = yield* Batch.run(
            requests.map(({ body, headers = {}, id, method, path }, index) => ({
              id: id ?? String(index),
              method,
              path,
              headers: lowerCased(headers),
              body,
            })),
          ).pipe(Effect.provideService(Dispatcher, dispatcher))
          return HttpServerResponse.text(text, { status: 207, contentType: "application/json" })
        }),
    })
  }),
)
