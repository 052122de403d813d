/** An API of one guarded route, `probing.get`, for what is refused before it starts. */
import { Context, Effect, Exit, Layer } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { Authorization } from "../../src/http/Authorization.ts"
import { Contract, contract } from "../../src/http/Contract.ts"
import { Authenticator, InvalidApiKey } from "../../src/security/Authenticator.ts"
import { keyedRecords } from "../support/KeyedRecords.ts"

/** How its start ends, with what the route and its group are annotated with. */
export const start = (annotations: {
  readonly route?: Context.Context<never>
  readonly group?: Context.Context<never>
}): Effect.Effect<Exit.Exit<unknown, unknown>> =>
  Effect.suspend(() => {
    const group = HttpApiGroup.make("probing")
      .add(HttpApiEndpoint.get("get", "/x").annotateMerge(annotations.route ?? Context.empty()))
      .middleware(Authorization)
      .annotateMerge(annotations.group ?? Context.empty())
    const api = contract(HttpApi.make("probing").add(group))
    const routes = HttpApiBuilder.layer(api).pipe(
      Layer.provide(
        HttpApiBuilder.group(api, "probing", (handlers) => handlers.handle("get", () => Effect.void)),
      ),
      Layer.provide([Authorization.layer, Contract.layer]),
      Layer.provide(keyedRecords),
      Layer.provide(Layer.succeed(Authenticator, { authenticate: () => Effect.fail(new InvalidApiKey({})) })),
      Layer.provide(HttpServer.layerServices),
    )
    return Effect.exit(Effect.scoped(HttpRouter.toHttpEffect(routes)))
  })
