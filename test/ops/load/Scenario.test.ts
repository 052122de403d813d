import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Request } from "../../../src/ops/load/Requester.ts"
import { RenderJson } from "../../../src/api/v1/renders/RenderJson.ts"
import { scenarioOf } from "../../../src/ops/load/Scenario.ts"

const RENDERS_MAX = 4
const REQUESTS = 5_000
const ENDED = ["completed", "failed", "cancelled"] as const
const UNFINISHED = RenderJson.fields.status.literals.filter((status) => !ENDED.some((end) => end === status))

/** A server whose renders are as the test says. */
const serverOf = (statusOf: (id: string) => string) => {
  const renders: Array<string> = []
  const answer = ({ endpoint, onAnswer, path }: Request) => {
    if (endpoint === "POST /v1/projects") onAnswer?.(JSON.stringify({ id: "prj_1" }))
    if (endpoint === "POST /v1/projects/{id}/renders") {
      renders.push(`rnd_${renders.length}`)
      onAnswer?.(JSON.stringify({ id: renders.at(-1) }))
    }
    if (endpoint === "GET /v1/renders/{id}") {
      const id = path.slice("/v1/renders/".length)
      onAnswer?.(JSON.stringify({ id, status: statusOf(id) }))
    }
    return Promise.resolve({ outcome: undefined, askedAt: 0, sentAt: 0, answeredAt: 0 })
  }
  return { renders, requester: { send: answer } }
}

describe("a mixed load", () => {
  it.effect.each(UNFINISHED)("has four renders at most that are %s", (status) =>
    Effect.gen(function* () {
      const { renders, requester } = serverOf(() => status)
      const next = yield* scenarioOf("mixed-render").prepare(requester)
      for (let i = 0; i < REQUESTS; i++) void requester.send(next())
      assert.strictEqual(renders.length, RENDERS_MAX)
    }),
  )

  it.effect.each(ENDED)("submits more when it has seen some %s", (status) =>
    Effect.gen(function* () {
      const { renders, requester } = serverOf(() => status)
      const next = yield* scenarioOf("mixed-render").prepare(requester)
      for (let i = 0; i < REQUESTS; i++) void requester.send(next())
      assert.isAbove(renders.length, RENDERS_MAX)
    }),
  )
})
