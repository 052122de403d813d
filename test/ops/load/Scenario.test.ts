import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Request } from "../../../src/ops/load/Requester.ts"
import { RenderJson } from "../../../src/api/v1/renders/RenderJson.ts"
import { scenarioOf } from "../../../src/ops/load/Scenario.ts"

const RENDERS_MAX = 4
const REQUESTS = 5_000
const ENDED = ["completed", "failed", "cancelled"] as const
const UNFINISHED = RenderJson.fields.status.literals.filter((status) => !ENDED.some((end) => end === status))

/** Renders that a load has submitted to a server which says of each that it is in this state. */
const rendersWhile = Effect.fnUntraced(function* (status: string) {
  let renders = 0
  const send = ({ endpoint, onAnswer }: Request) => {
    if (endpoint === "POST /v1/projects") onAnswer?.(JSON.stringify({ id: "prj_1" }))
    if (endpoint === "POST /v1/projects/{id}/renders") onAnswer?.(JSON.stringify({ id: `rnd_${renders++}` }))
    if (endpoint === "GET /v1/renders/{id}") onAnswer?.(JSON.stringify({ status }))
    return Promise.resolve({ outcome: undefined, askedAt: 0, sentAt: 0, answeredAt: 0 })
  }
  const next = yield* scenarioOf("mixed-render").prepare({ send })
  for (let i = 0; i < REQUESTS; i++) void send(next())
  return renders
})

describe("a mixed load", () => {
  it.effect.each(UNFINISHED)("has four renders at most that are %s", (status) =>
    Effect.map(rendersWhile(status), (renders) => assert.strictEqual(renders, RENDERS_MAX)),
  )

  it.effect.each(ENDED)("submits more when it has seen some %s", (status) =>
    Effect.map(rendersWhile(status), (renders) => assert.isAbove(renders, RENDERS_MAX)),
  )
})
