import { assert, describe, it } from "@effect/vitest"
import { type AlertEvent, AlertLogBehavior, type AlertLogState } from "../../../src/domain/alerts/AlertLog.ts"
import { RESOLVED_MAX } from "../../../src/telemetry/alerts/Alerts.ts"

const { decide, evolve, initial } = AlertLogBehavior
const context = { id: "alert_log", now: 0 }

const alert = (id: string) => ({
  id,
  rule: "disk_space",
  severity: "critical" as const,
  summary: "The disk is nearly full",
  subject: "disk",
  detail: "12 MB free",
  since: 1,
  firedAt: 2,
})

/** The state after what a command has decided. */
const after = (state: AlertLogState, decision: ReturnType<typeof decide.Fire>) => {
  assert(decision._tag === "Accepted")
  const events = decision.events as ReadonlyArray<AlertEvent>
  return {
    events: events.map(({ _tag }) => _tag),
    state: events.reduce((now, event) => evolve(now, event, 0), state),
  }
}
const fire = (state: AlertLogState, id: string) => after(state, decide.Fire(state, alert(id), context))
const resolve = (state: AlertLogState, id: string) =>
  after(state, decide.Resolve(state, { id, resolvedAt: 9 }, context))

describe("the log of alerts", () => {
  it("keeps what began and what ended, each once however often it is told", () => {
    const fired = fire(initial, "a").state
    assert.deepStrictEqual(fired.alerts, [{ ...alert("a"), resolvedAt: null }])
    assert.deepStrictEqual(fire(fired, "a").events, [])
    const resolved = resolve(fired, "a")
    assert.deepStrictEqual(resolved.events, ["AlertResolved"])
    assert.deepStrictEqual(resolved.state.alerts, [{ ...alert("a"), resolvedAt: 9 }])
    assert.deepStrictEqual(resolve(resolved.state, "a").events, [])
  })

  it("has nothing to say of the end of what it never heard of", () => {
    assert.deepStrictEqual(resolve(initial, "a"), { events: [], state: initial })
  })

  it("shows those that go on first, and forgets the oldest of the others", () => {
    let state = fire(initial, "goes on").state
    for (let i = 0; i < RESOLVED_MAX + 3; i++) state = resolve(fire(state, `a${i}`).state, `a${i}`).state
    assert.lengthOf(state.alerts, RESOLVED_MAX + 1)
    assert.deepStrictEqual(
      [state.alerts[0]!.id, state.alerts[1]!.id, state.alerts.at(-1)!.id],
      ["goes on", `a${RESOLVED_MAX + 2}`, "a3"],
    )
  })
})
