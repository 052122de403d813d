import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { targetOf } from "../../../src/ops/load/Target.ts"

const refusal = (url: string, allowRemote = false) =>
  Effect.map(Effect.flip(targetOf(url, { allowRemote })), ({ message }) => message)

describe("where a load may go", () => {
  it.effect.each([
    "http://127.0.0.1:8000",
    "http://127.8.9.10",
    "http://[::1]:80/",
    "http://localhost:8000",
    "http://2130706433:8000",
  ])("%s is this machine", (url) =>
    Effect.gen(function* () {
      const { address, isLoopback } = yield* targetOf(url, { allowRemote: false })
      assert.isTrue(isLoopback)
      assert.match(address, /^(127\.|::1$)/)
    }),
  )

  it.effect.each(["http://10.0.0.1", "http://192.0.2.1:8000", "http://[2001:db8::1]", "http://0.0.0.0:8000"])(
    "%s is another one, and needs --allow-remote",
    (url) =>
      Effect.gen(function* () {
        assert.match(yield* refusal(url), /is not on this machine; --allow-remote/)
        assert.isFalse((yield* targetOf(url, { allowRemote: true })).isLoopback)
      }),
  )

  it.effect.each([
    ["ftp://127.0.0.1", /is not an http/],
    ["127.0.0.1:8000", /is not an http/],
    ["http://127.0.0.1:8000/v1/jobs", /--endpoint takes the path/],
    ["http://user@127.0.0.1", /--endpoint takes the path/],
    ["http://no-such-host.invalid", /has a name that is not known/],
  ] as const)("%s is refused", ([url, why]) =>
    Effect.gen(function* () {
      assert.match(yield* refusal(url, true), why)
    }),
  )
})
