/**
 * A server for routes that one test file brings along: the edge, its limits and nothing else. Real sockets.
 */
import { Layer } from "effect"
import { Drain } from "../../src/http/Drain.ts"
import * as Server from "../../src/http/Server.ts"

export const serve = <A, E, R>(routes: Layer.Layer<A, E, R>, options?: Partial<Server.ServerOptions>) =>
  Server.layer(routes, { host: "127.0.0.1", port: 0, ...options }).pipe(Layer.provideMerge(Drain.layer))
