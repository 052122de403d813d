import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Redacted, Schema } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { Rpc } from "effect/rpc"
import { TestClock } from "effect/testing"
import * as Actor from "../../../src/actor/Actor.ts"
import { accept } from "../../../src/actor/Behavior.ts"
import { healthChecks } from "../../../src/api/system/HealthChecks.ts"
import * as AlertDelivery from "../../../src/domain/alerts/AlertDelivery.ts"
import { alertRules } from "../../../src/domain/alerts/AlertRules.ts"
import { AlertWebhook } from "../../../src/domain/alerts/AlertWebhook.ts"
import { asyncProjections } from "../../../src/EventModel.ts"
import * as Job from "../../../src/jobs/Job.ts"
import { Queue } from "../../../src/jobs/Queue.ts"
import { AsyncProjector } from "../../../src/journal/AsyncProjector.ts"
import * as RenderOwl from "../../../src/RenderOwl.ts"
import { ReplayGuard } from "../../../src/security/ReplayGuard.ts"
import * as Webhook from "../../../src/security/WebhookSignature.ts"
import { SqliteClient } from "../../../src/sqlite/SqliteClient.ts"
import { Alerts } from "../../../src/telemetry/alerts/Alerts.ts"
import * as DatabaseMetrics from "../../../src/telemetry/DatabaseMetrics.ts"
import { Health } from "../../../src/telemetry/Health.ts"
import * as JobMetrics from "../../../src/telemetry/JobMetrics.ts"
import * as Metrics from "../../../src/telemetry/Metrics.ts"
import * as Observer from "../../../src/telemetry/Observer.ts"
import { PerformanceMonitor } from "../../../src/telemetry/PerformanceMonitor.ts"
import * as TraceMetrics from "../../../src/telemetry/TraceMetrics.ts"
import { smallDisk, unmountable } from "../../faults/SmallDisk.ts"
import { samplesOf, sum } from "../../support/Prometheus.ts"
import { SECRET } from "../../support/Signed.ts"
import { WebhookReceiver } from "../../support/WebhookReceiver.ts"

/** Everything that an operator looks at, around a whole system whose time the test moves. */
const operations = Effect.fnUntraced(function* (
  work: Layer.Layer<never, never, Queue> = Layer.empty,
  /** Where there may be too little room; undefined: nobody looks, as that takes real time, which this clock does not wait for. */
  disk?: string,
) {
  const receiver = yield* WebhookReceiver.start
  const logged: Array<string> = []
  const logger = Logger.make(({ message }) => {
    const [words, details] = Array.isArray(message) ? message : [message]
    logged.push(
      `${String(words)} ${String((details as Record<string, unknown> | undefined)?.["rule"] ?? "")}`.trim(),
    )
  })
  const target = {
    url: receiver.url,
    secrets: [yield* Effect.orDie(Webhook.secret(Redacted.make(SECRET)))],
  } as const
  const outside = disk === undefined ? ["disk", "readers"] : ["readers"]
  const checks = Effect.map(healthChecks({ data: disk ?? "" }), (all) =>
    all.filter(({ name }) => !outside.includes(name)),
  )
  const alerts = Alerts.layer(alertRules, AlertDelivery.audience).pipe(
    Layer.provideMerge(AlertDelivery.layer),
    Layer.provide(AlertWebhook.layer(target)),
    Layer.provide(Webhook.WebhookSignature.layer),
    Layer.provide([ReplayGuard.layer, NodeCrypto.layerMac]),
    Layer.provideMerge(Health.layer(checks)),
  )
  const context = yield* Layer.build(
    alerts.pipe(
      Layer.provideMerge(work),
      Layer.provideMerge(Layer.suspend(() => AsyncProjector.layer(asyncProjections()))),
      Layer.provideMerge(RenderOwl.layerTest({ concurrency: 1 })),
      Layer.provideMerge(
        Layer.mergeAll(JobMetrics.layer, DatabaseMetrics.layer, TraceMetrics.layer, PerformanceMonitor.layer),
      ),
      Layer.provideMerge(Layer.mergeAll(Observer.layer, Metrics.registryLayer, Logger.layer([logger]))),
    ),
  )
  const alertsNow = Context.get(context, Alerts)
  return {
    context,
    receiver,
    logged,
    observer: Context.get(context, Observer.CurrentObserver),
    /** What fires. */
    firing: Effect.map(alertsNow.list, (all) =>
      all.filter(({ resolvedAt }) => resolvedAt === null).map(({ rule, subject }) => `${rule} ${subject}`),
    ),
    /** The checks that fail. */
    ill: Effect.map(Context.get(context, Health).report, ({ checks }) =>
      checks.filter(({ status }) => status === "fail").map(({ name }) => name),
    ),
    metric: (name: string, labels: Readonly<Record<string, string>> = {}) =>
      sum(samplesOf(PrometheusMetrics.formatUnsafe(context)), name, labels),
  }
})

const Hanging = Job.make("test:hanging", { timeout: "1 day" })
const Big = Job.make("test:big", { payload: Schema.String })
const hanging = Layer.merge(
  Hanging.toLayer(() => Effect.never),
  Big.toLayer(() => Effect.void),
)

describe("a stuck worker", () => {
  it.effect("shows up in logs, metrics, health and alerts", () =>
    Effect.gen(function* () {
      const { context, firing, ill, logged, metric, receiver } = yield* operations(hanging)
      const enqueue = Queue.enqueue(Hanging, undefined, { queue: "videos" })
      yield* Effect.provide(Effect.andThen(enqueue, enqueue), context)
      yield* TestClock.adjust("105 seconds")
      assert.deepStrictEqual([yield* firing, yield* ill], [[], []])
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual([yield* firing, yield* ill], [["queue_stalled videos"], ["queue"]])
      assert.include(logged, "alert firing queue_stalled")
      assert.strictEqual(metric("renderowl_alerts_firing", { rule: "queue_stalled" }), 1)
      yield* receiver.received(1)
      assert.deepStrictEqual(receiver.told, ["alert.firing queue_stalled videos"])
    }).pipe(Effect.scoped),
  )
})

const PAGES_MAX = 1_073_741_823

describe("a full disk", () => {
  it.effect(
    "that the journal runs into shows up in logs, metrics, health and alerts, told without a job",
    () =>
      Effect.gen(function* () {
        const { context, firing, ill, logged, metric, receiver } = yield* operations(hanging)
        const { writer } = Context.get(context, SqliteClient)
        yield* TestClock.adjust("1 second")
        writer.exec("PRAGMA max_page_count = 1")
        const big = Queue.enqueue(Big, "x".repeat(100_000))
        yield* Effect.provide(Effect.flip(big), context)
        yield* TestClock.adjust("14 seconds")
        assert.deepStrictEqual(yield* firing, ["journal_failures journal"])
        assert.include(logged, "alert firing journal_failures")
        assert.isAbove(metric("renderowl_database_failures_total", { db_operation_name: "COMMIT" }), 0)
        yield* receiver.received(1)
        yield* TestClock.adjust("15 seconds")
        assert.include(yield* ill, "journal")
        writer.exec(`PRAGMA max_page_count = ${PAGES_MAX}`)
        yield* TestClock.adjust("3 minutes")
        yield* receiver.received(2)
        assert.deepStrictEqual(receiver.told, [
          "alert.firing journal_failures journal",
          "alert.resolved journal_failures journal",
        ])
        assert.deepStrictEqual(yield* firing, [])
      }).pipe(Effect.scoped),
  )

  it.effect.skipIf(unmountable !== undefined)("is told before it is full", () =>
    Effect.gen(function* () {
      const { folder } = yield* smallDisk(1_024)
      const { firing, ill, logged, receiver } = yield* operations(hanging, folder)
      yield* receiver.received(1)
      assert.deepStrictEqual(receiver.told, ["alert.firing disk_space disk"])
      assert.deepStrictEqual([yield* firing, yield* ill], [["disk_space disk"], ["disk"]])
      assert.include(logged, "alert firing disk_space")
    }).pipe(Effect.scoped),
  )
})

describe("a collector that is gone", () => {
  it.effect("shows up in metrics, health and alerts, until it is there again", () =>
    Effect.gen(function* () {
      const { firing, ill, metric, observer, receiver } = yield* operations()
      observer.tell("spans", { spans: 512, ok: false })
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual([yield* firing, yield* ill], [[], ["traces"]])
      assert.strictEqual(
        metric("otel_sdk_exporter_span_exported_total", { error_type: "export_failed" }),
        512,
      )
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(yield* firing, ["trace_export traces"])
      yield* receiver.received(1)
      observer.tell("spans", { spans: 1, ok: true })
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual([yield* firing, yield* ill], [[], []])
      yield* receiver.received(2)
    }).pipe(Effect.scoped),
  )
})

const request = { method: "POST", route: "/v1/jobs", streamedMs: undefined, bytes: 0, waited: false } as const
const who = { principal: undefined, requestId: "", traceId: "", spanId: "" } as const

describe("a route", () => {
  it.effect(
    "that fails, or is slow, is an alert once it has been so for a minute, and not for a few requests",
    () =>
      Effect.gen(function* () {
        const { firing, observer } = yield* operations()
        const answer = (times: number, status: number, durationMs: number, route = "/v1/jobs") => {
          for (let i = 0; i < times; i++)
            observer.tell("request", { ...request, ...who, route, status, durationMs })
          observer.deliver()
        }
        yield* TestClock.adjust("10 seconds")
        answer(19, 500, 1, "/v1/few")
        answer(18, 200, 1)
        answer(2, 500, 1)
        answer(18, 200, 1, "/v1/slow")
        answer(2, 200, 1_500, "/v1/slow")
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* firing, [])
        answer(1, 503, 1)
        yield* TestClock.adjust("80 seconds")
        assert.sameMembers(yield* firing, ["route_errors POST /v1/jobs", "route_slow POST /v1/slow"])
      }).pipe(Effect.scoped),
  )
})

const Flawed = Actor.make("flawed", {
  state: Schema.Null,
  events: [],
  commands: [Rpc.make("Break"), Rpc.make("Do")],
})
const flawed = Flawed.toLayer({
  initial: null,
  decide: {
    Break: () => {
      throw new Error("it is broken")
    },
    Do: () => accept([], () => undefined),
  },
  evolve: (state) => state,
})

describe("what is told of", () => {
  it.effect("dead letters, but not those of its own deliveries", () =>
    Effect.gen(function* () {
      const { firing, observer } = yield* operations()
      const dead = (queue: string) =>
        observer.tell("job", { queue, type: "test", outcome: "dead_letter", totalMs: 1, waiting: undefined })
      dead("videos")
      dead(AlertDelivery.ALERT_QUEUE)
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual(yield* firing, ["dead_letters videos"])
      yield* TestClock.adjust("6 minutes")
      assert.deepStrictEqual(yield* firing, [])
    }).pipe(Effect.scoped),
  )

  it.effect("an actor in quarantine, by its id", () =>
    Effect.gen(function* () {
      const { context, firing } = yield* operations()
      yield* Effect.gen(function* () {
        const client = yield* Flawed.client
        for (let i = 0; i < 5; i++) yield* Effect.exit(client("flawed_1").Break())
        yield* TestClock.adjust("15 seconds")
        assert.deepStrictEqual(yield* firing, ["actor_quarantined flawed_1"])
        yield* TestClock.adjust("6 minutes")
        assert.deepStrictEqual(yield* firing, [])
        yield* client("flawed_1").Do()
      }).pipe(Effect.provide(flawed), Effect.provide(context))
    }).pipe(Effect.scoped),
  )
})
