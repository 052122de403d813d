/** The load of `load-test`, from within a benchmark. */
import { Effect } from "effect"
import { runLoad } from "../../src/ops/load/LoadRun.ts"
import { makeRequester } from "../../src/ops/load/Requester.ts"
import { type ScenarioName, scenarioOf } from "../../src/ops/load/Scenario.ts"
import { targetOf } from "../../src/ops/load/Target.ts"

/** A request. */
const TIMEOUT_MS = 10_000

/** Opens connections to a server on loopback, for as long as the scope is open; answers how to load it for so many milliseconds. */
export const open = Effect.fnUntraced(function* (
  scenario: ScenarioName,
  { connections, key, port }: { readonly connections: number; readonly key: string; readonly port: number },
) {
  const target = yield* targetOf(`http://127.0.0.1:${port}`, { allowRemote: false })
  const requester = yield* makeRequester({ target, connections, key, timeoutMs: TIMEOUT_MS })
  const next = yield* scenarioOf(scenario).prepare(requester)
  return (durationMs: number) => runLoad({ requester, next, concurrency: connections, durationMs })
})
