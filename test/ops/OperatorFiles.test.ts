/**
 * The files in `ops/` are for other programs, which say nothing about a name that is not there. So each name is looked up here:
 * metrics, their labels and the values of these in what a server tells, paths among its routes, settings among its settings.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { spawnSync } from "node:child_process"
import { parse, parseAllDocuments } from "yaml"
import { settingsHelp } from "../../src/Config.ts"
import { hasPromtool, type Sample, samplesOf } from "../support/Prometheus.ts"
import { startFresh } from "../support/ServerProcess.ts"

const FOLDER = join(import.meta.dirname, "../../ops")
/** When rules fire, for promtool. */
const CASES = join(import.meta.dirname, "prometheus-alerts.test.yaml")
const textOf = (name: string) => readFileSync(join(FOLDER, name), "utf8")

interface Dashboard {
  readonly panels: ReadonlyArray<{
    readonly id: number
    readonly title: string
    readonly datasource: { readonly uid: string }
    readonly targets: ReadonlyArray<{ readonly expr: string; readonly legendFormat: string }>
  }>
  readonly templating: { readonly list: ReadonlyArray<{ readonly name: string; readonly type: string }> }
}

interface Rules {
  readonly groups: ReadonlyArray<{
    readonly rules: ReadonlyArray<{
      readonly alert: string
      readonly expr: string
      readonly labels: { readonly severity: string }
      readonly annotations: { readonly summary: string; readonly action: string }
    }>
  }>
}

interface Cases {
  readonly tests: ReadonlyArray<{ readonly name: string }>
}

const dashboard = JSON.parse(textOf("grafana-dashboard.json")) as Dashboard
const rules = (parse(textOf("prometheus-alerts.yaml")) as Rules).groups.flatMap(({ rules }) => rules)

/** Prometheus' own, and those of its language. */
const NOT_OURS = new Set(
  "up rate increase sum min max by le and or unless offset histogram_quantile predict_linear".split(" "),
)

/** The metrics that an expression names. */
const metricsIn = (expression: string): ReadonlyArray<string> =>
  [
    ...expression
      .replaceAll(/\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)|offset \w+/g, "")
      .matchAll(/[a-z_][a-z0-9_]*/g),
  ]
    .map(([name]) => name)
    .filter((name) => !NOT_OURS.has(name))

/** The labels that it groups or selects by. */
const labelsIn = (expression: string): ReadonlyArray<string> => [
  ...[...expression.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(/,\s*/)),
  ...[...expression.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)].map(([, label]) => label!),
]

/** Given by whoever scrapes. */
const SCRAPED = new Set(["job", "instance"])

/** What an expression selects: a metric, one of its labels, and a value or, of several that it may have, each. */
const selectionsIn = (expression: string) =>
  [...expression.matchAll(/([a-z_]\w*)\{([^}]*)\}/g)].flatMap(([, metric, matchers]) =>
    [...matchers!.matchAll(/(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g)]
      .filter(([, label]) => !SCRAPED.has(label!))
      .flatMap(([, label, operator, text]) =>
        (operator!.endsWith("~") ? text!.split("|") : [text!]).map((value) => ({
          metric: metric!,
          label: label!,
          value,
          isMet: (shown: string) =>
            operator!.endsWith("~") ? new RegExp(`^(?:${value})$`).test(shown) : shown === value,
        })),
      ),
  )

/** What a server shows that has done something of everything, and has refused something for want of a place. */
class Shown extends Context.Service<Shown, ReadonlyArray<Sample>>()("test/Shown") {
  static readonly layer = Layer.effect(
    Shown,
    Effect.gen(function* () {
      const { client } = yield* startFresh({ MAX_REQUESTS: "1" })
      const nap = { type: "system:sleep", payload: { ms: 500 } }
      // There is one place: while the nap has it, others are refused.
      const napped = Effect.repeat(client.post("/v1/jobs", nap, { prefer: "wait=5" }), {
        until: ({ status }) => status === 200,
      })
      const refused = Effect.repeat(client.get("/v1/projects"), { until: ({ status }) => status === 503 })
      yield* Effect.all([napped, refused], { concurrency: "unbounded" })
      yield* client.post("/v1/batch", { requests: [{ id: "a", method: "GET", path: "/v1/projects" }] })
      return samplesOf((yield* client.get("/metrics")).text)
    }),
  )
}

layer(Shown.layer, { excludeTestServices: true })("names in expressions", (it) => {
  const expressions = [
    ...dashboard.panels.flatMap(({ targets, title }) => targets.map(({ expr }) => [title, expr] as const)),
    ...rules.map(({ alert, expr }) => [alert, expr] as const),
  ]

  it.effect.each(expressions)("of %s are those of a server that has worked", ([, expression]) =>
    Effect.gen(function* () {
      const samples = yield* Shown
      const names = new Set(samples.map(({ name }) => name))
      const metrics = metricsIn(expression)
      if (!expression.startsWith("up{")) assert.isNotEmpty(metrics)
      assert.includeMembers([...names], [...metrics])
      const labels = new Set(
        samples.filter(({ name }) => metrics.includes(name)).flatMap(({ labels }) => Object.keys(labels)),
      )
      assert.includeMembers([...labels, ...SCRAPED], [...labelsIn(expression)])
      for (const { isMet, label, metric, value } of selectionsIn(expression)) {
        const values = samples.filter(({ name }) => name === metric).map(({ labels }) => labels[label] ?? "")
        assert.isTrue(values.some(isMet), `${metric} has no ${label} "${value}"`)
      }
    }),
  )
})

describe("the dashboard", () => {
  it("has panels of their own number, which take the data source that is chosen", () => {
    assert.strictEqual(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
    for (const { datasource } of dashboard.panels) assert.strictEqual(datasource.uid, "${datasource}")
    assert.deepStrictEqual(
      dashboard.templating.list.map(({ name }) => name),
      ["datasource", "job"],
    )
  })

  it("calls series by labels that they have", () => {
    for (const { targets } of dashboard.panels)
      for (const { expr, legendFormat } of targets)
        for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) assert.include(labelsIn(expr), label)
  })
})

describe("the alert rules", () => {
  it("say what is wrong, how bad it is and what to do", () => {
    for (const { alert, annotations, labels } of rules) {
      assert.match(labels.severity, /^(critical|warning)$/, alert)
      assert.isNotEmpty(annotations.summary, alert)
      assert.isNotEmpty(annotations.action, alert)
    }
  })

  it("name what is wrong by labels that they have", () => {
    for (const { annotations, expr } of rules)
      for (const [, label] of Object.values(annotations)
        .join(" ")
        .matchAll(/\$labels\.(\w+)/g))
        assert.include(labelsIn(expr), label)
  })

  it("each have a case in which they fire and one in which they do not", () => {
    const cases = (parse(readFileSync(CASES, "utf8")) as Cases).tests.map(({ name }) => name)
    for (const { alert } of rules) {
      assert.isDefined(
        cases.find((name) => name.startsWith(`${alert} fires `)),
        alert,
      )
      assert.isDefined(
        cases.find((name) => name.startsWith(`${alert} is silent `)),
        alert,
      )
    }
  })

  const promtool = (...args: ReadonlyArray<string>) => spawnSync("promtool", args, { encoding: "utf8" })

  it.skipIf(!hasPromtool)("are rules to promtool (skipped where it is not installed)", () => {
    const { status, stderr } = promtool("check", "rules", join(FOLDER, "prometheus-alerts.yaml"))
    assert.strictEqual(status, 0, stderr)
  })

  it.skipIf(!hasPromtool)("fire when they should, and only then (skipped without promtool)", () => {
    const { status, stderr } = promtool("test", "rules", CASES)
    assert.strictEqual(status, 0, stderr)
  })
})

interface Manifest {
  readonly kind: string
  readonly spec: {
    readonly replicas: number
    readonly template: {
      readonly spec: {
        readonly automountServiceAccountToken: boolean
        readonly terminationGracePeriodSeconds: number
        readonly containers: ReadonlyArray<{
          readonly env: ReadonlyArray<{
            readonly name: string
            readonly value?: string
            readonly valueFrom?: { readonly secretKeyRef: { readonly name: string } }
          }>
          readonly startupProbe: Probe
          readonly livenessProbe: Probe
          readonly readinessProbe: Probe
        }>
      }
    }
  }
}

interface Probe {
  readonly httpGet: { readonly path: string }
}

/** A stop takes at most so long. */
const STOP_SEC = 15
const isSetting = (name: string) => new RegExp(`^ {2}${name} `, "m").test(settingsHelp)

describe("what starts it", () => {
  const documents = parseAllDocuments(textOf("kubernetes.yaml")).map((document) => {
    assert.isEmpty(document.errors)
    return document.toJS() as Manifest
  })
  const { spec } = documents.find(({ kind }) => kind === "StatefulSet")!
  const [container] = spec.template.spec.containers

  it("on Kubernetes is one process, with time to stop, and settings that there are", () => {
    assert.strictEqual(spec.replicas, 1)
    assert.isAbove(spec.template.spec.terminationGracePeriodSeconds, STOP_SEC)
    for (const { name } of container!.env) assert.isTrue(isSetting(name), name)
  })

  it("on Kubernetes has its secrets from a Secret, and none of the cluster's", () => {
    assert.isFalse(spec.template.spec.automountServiceAccountToken)
    const secrets = container!.env.filter(({ name }) => name.endsWith("_SECRET"))
    assert.sameMembers(
      secrets.map(({ name }) => name),
      ["JWT_SECRET", "INTERNAL_SECRET"],
    )
    for (const { name, value, valueFrom } of secrets) {
      assert.isUndefined(value, name)
      assert.strictEqual(valueFrom?.secretKeyRef.name, "renderowl", name)
    }
  })

  it("asks the process whether it lives, and for work only when it takes some", () => {
    const { livenessProbe, readinessProbe, startupProbe } = container!
    assert.deepStrictEqual(
      [startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => httpGet.path),
      ["/live", "/live", "/ready"],
    )
  })

  it("under systemd gives it time to stop, settings that there are, and never up", () => {
    const unit = textOf("renderowl.service")
    const [, stop] = /^TimeoutStopSec=(\d+)$/m.exec(unit)!
    assert.isAbove(Number(stop), STOP_SEC)
    // In its own section: elsewhere systemd would pass over it.
    const [, whole] = /^\[Unit\]$([^[]*)/m.exec(unit)!
    assert.match(whole!, /^StartLimitIntervalSec=0$/m)
    const settings = [...unit.matchAll(/^Environment=(\w+)=/gm)].map(([, name]) => name!)
    assert.isNotEmpty(settings)
    for (const name of settings) assert.isTrue(isSetting(name), name)
  })
})
