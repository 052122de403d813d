/** One server process for all tests of a suite: `layer(SharedServer.layer())("…", (it) => …)`. */
import { Context, Layer } from "effect"
import { type Server, startFresh } from "./ServerProcess.ts"

export class SharedServer extends Context.Service<SharedServer, Server>()("test/SharedServer") {
  static readonly layer = (env: Readonly<Record<string, string>> = {}) =>
    Layer.effect(SharedServer, startFresh(env))
}
