import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Metric } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { TestClock } from "effect/testing"
import type { AlertRule, Sign } from "../../../src/telemetry/alerts/AlertRule.ts"
import { type Alert, Alerts, type Audience, RESOLVED_MAX } from "../../../src/telemetry/alerts/Alerts.ts"
import * as Metrics from "../../../src/telemetry/Metrics.ts"

const STALLED = { subject: "videos", detail: "nothing has ended for 70 seconds" }

/** Something to watch, and somebody who hears of it. */
const stage = (options: { readonly forMs?: number; readonly remembered?: Audience["remembered"] } = {}) => {
  const scene = {
    signs: [] as ReadonlyArray<Sign>,
    isBlind: false,
    isDeaf: false,
    heard: [] as Array<string>,
    logged: [] as Array<string>,
  }
  const rule: AlertRule = {
    name: "queue_stalled",
    severity: "critical",
    summary: "A queue does not move",
    forMs: options.forMs ?? 0,
    coolDownMs: 30_000,
    signs: Effect.suspend(() => (scene.isBlind ? Effect.fail("no light") : Effect.succeed(scene.signs))),
  }
  let ids = 0
  const audience: Audience = {
    nextId: Effect.sync(() => `alert_${++ids}`),
    remembered: options.remembered ?? Effect.succeed([]),
    tell: ({ alert, occasion }) =>
      Effect.suspend(() => {
        if (scene.isDeaf) return Effect.fail("deaf")
        scene.heard.push(`${occasion} ${alert.id} ${alert.subject}`)
        return Effect.void
      }),
  }
  const logger = Logger.make(({ logLevel, message }) => {
    scene.logged.push(`${logLevel} ${String(Array.isArray(message) ? message[0] : message)}`)
  })
  const layer = Alerts.layer(Effect.succeed([rule]), Effect.succeed(audience)).pipe(
    Layer.provideMerge(Metrics.registryLayer),
    Layer.provide(Logger.layer([logger])),
  )
  return { scene, layer }
}

const listed = Effect.gen(function* () {
  const alerts = yield* Effect.flatMap(Alerts, ({ list }) => list)
  return alerts.map(({ detail, id, resolvedAt }) => [id, resolvedAt, detail])
})

const states = Effect.map(
  Effect.flatMap(Alerts, ({ rules }) => rules),
  (rules) => rules.map(({ state }) => state),
)

describe("alerts", () => {
  it.effect("are listed, logged, counted and told when they begin and when they are over", () => {
    const { layer, scene } = stage()
    return Effect.gen(function* () {
      const registry = yield* Metric.MetricRegistry
      const shown = () => PrometheusMetrics.formatUnsafe(Context.make(Metric.MetricRegistry, registry))
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual(yield* states, ["ok"])
      scene.signs = [STALLED]
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual(yield* listed, [["alert_1", null, STALLED.detail]])
      assert.deepStrictEqual(yield* states, ["firing"])
      assert.include(shown(), 'renderowl_alerts_firing{rule="queue_stalled",severity="critical"} 1')
      scene.signs = [{ ...STALLED, detail: "nothing has ended for 85 seconds" }]
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual(yield* listed, [["alert_1", null, "nothing has ended for 85 seconds"]])
      scene.signs = []
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* listed, [["alert_1", 75_000, STALLED.detail]])
      assert.include(shown(), 'renderowl_alerts_firing{rule="queue_stalled",severity="critical"} 0')
      assert.deepStrictEqual(scene.heard, ["firing alert_1 videos", "resolved alert_1 videos"])
      assert.deepStrictEqual(scene.logged, ["Error alert firing", "Info alert resolved"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("wait until something has been wrong for long enough", () => {
    const { layer, scene } = stage({ forMs: 60_000 })
    scene.signs = [STALLED]
    return Effect.gen(function* () {
      yield* TestClock.adjust("45 seconds")
      assert.deepStrictEqual([yield* states, yield* listed], [["pending"], []])
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual([yield* states, scene.heard], [["firing"], ["firing alert_1 videos"]])
    }).pipe(Effect.provide(layer))
  })

  it.effect("are told until somebody hears, in order", () => {
    const { layer, scene } = stage()
    scene.isDeaf = true
    scene.signs = [STALLED]
    return Effect.gen(function* () {
      yield* TestClock.adjust("1 second")
      scene.signs = []
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(scene.heard, [])
      scene.isDeaf = false
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(scene.heard, ["firing alert_1 videos", "resolved alert_1 videos"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("go on where a rule cannot look, and say that it could not", () => {
    const { layer, scene } = stage()
    scene.signs = [STALLED]
    return Effect.gen(function* () {
      yield* TestClock.adjust("1 second")
      scene.isBlind = true
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(scene.heard, ["firing alert_1 videos"])
      assert.strictEqual(scene.logged.filter((line) => line.includes("could not look")).length, 1)
    }).pipe(Effect.provide(layer))
  })

  it.effect("of the process before go on, and are told no second time", () => {
    const before: Alert = {
      id: "alert_before",
      rule: "queue_stalled",
      severity: "critical",
      summary: "A queue does not move",
      subject: "videos",
      detail: "then",
      since: -60_000,
      firedAt: -60_000,
      resolvedAt: null,
    }
    const past = { ...before, id: "alert_past", resolvedAt: -30_000 }
    const forgotten = { ...before, id: "alert_forgotten", rule: "gone" }
    const { layer, scene } = stage({ remembered: Effect.succeed([before, forgotten, past]) })
    scene.signs = [STALLED]
    return Effect.gen(function* () {
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual((yield* listed)[0], ["alert_before", null, STALLED.detail])
      scene.signs = []
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(scene.heard, ["resolved alert_forgotten videos", "resolved alert_before videos"])
      assert.deepStrictEqual(
        (yield* listed).map(([id]) => id),
        ["alert_before", "alert_forgotten", "alert_past"],
      )
    }).pipe(Effect.provide(layer))
  })

  it.effect("that are over are kept in a bounded number, the newest first", () => {
    const { layer, scene } = stage()
    return Effect.gen(function* () {
      for (let i = 0; i < RESOLVED_MAX + 5; i++) {
        scene.signs = [STALLED]
        yield* TestClock.adjust("15 seconds")
        scene.signs = []
        yield* TestClock.adjust("45 seconds")
      }
      const all = yield* listed
      assert.lengthOf(all, RESOLVED_MAX)
      assert.strictEqual(all[0]![0], `alert_${RESOLVED_MAX + 5}`)
    }).pipe(Effect.provide(layer))
  })
})
