import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Metric } from "effect"
import { PrometheusMetrics } from "effect/observability"
import {
  Counter,
  counterOf,
  Family,
  gauge,
  Gauges,
  Histogram,
  LabelValues,
  type Registry,
} from "../../src/telemetry/Instruments.ts"

const registry = (): Registry => Context.make(Metric.MetricRegistry, new Map()) as Registry

/** What a scrape shows, but for what is for people. */
const shown = (registry: Registry) =>
  PrometheusMetrics.formatUnsafe(registry)
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))

describe("instruments", () => {
  it("count, and sort values into buckets that add up", () => {
    const all = registry()
    const counter = new Counter(all, { name: "owls_total", description: "Owls" }, { kind: "barn" })
    const histogram = new Histogram(all, { name: "nap_seconds", description: "Naps" }, [1, 2])
    counter.add()
    counter.add(2)
    for (const value of [0.5, 1, 1.5, 7]) histogram.record(value)
    assert.deepStrictEqual(shown(all), [
      'owls_total{kind="barn"} 3',
      'nap_seconds_bucket{le="1"} 2',
      'nap_seconds_bucket{le="2"} 3',
      'nap_seconds_bucket{le="+Inf"} 4',
      "nap_seconds_sum 10",
      "nap_seconds_count 4",
    ])
  })

  it("count beyond what 32 bits hold", () => {
    const all = registry()
    const counter = new Counter(all, { name: "owls_total", description: "Owls" })
    counter.add(2 ** 32)
    counter.add()
    assert.deepStrictEqual(shown(all), ["owls_total 4294967297"])
  })

  it("have as many members as they may, and one for all others", () => {
    const all = registry()
    const family = new Family(
      ([route, status]) =>
        new Counter(
          all,
          { name: "answers_total", description: "Answers" },
          { route: route!, status: status! },
        ),
      2,
    )
    for (const route of ["/a", "/b", "/c", "/d", "/a"]) family.of(route, "200").add()
    assert.deepStrictEqual(shown(all), [
      'answers_total{route="/a",status="200"} 2',
      'answers_total{route="/b",status="200"} 1',
      'answers_total{route="other",status="other"} 2',
    ])
  })

  it("give the first values of a label their own place", () => {
    const queues = new LabelValues(2)
    assert.deepStrictEqual(
      ["a", "b", "c", "a", "c"].map((value) => queues.of(value)),
      ["a", "b", "other", "a", "other"],
    )
  })

  it("show members that come and go as they are at the scrape", () => {
    const all = registry()
    const depth = new Gauges(all, { name: "depth", description: "Depth" })
    depth.set([
      [{ queue: "a" }, 1],
      [{ queue: "b" }, 2],
    ])
    assert.deepStrictEqual(shown(all), ['depth{queue="a"} 1', 'depth{queue="b"} 2'])
    depth.set([
      [{ queue: "b" }, 3],
      [{ queue: "c" }, 4],
    ])
    assert.deepStrictEqual(shown(all), ['depth{queue="b"} 3', 'depth{queue="c"} 4'])
  })

  it.effect("read what others keep when somebody asks, as long as the others are there", () =>
    Effect.gen(function* () {
      const all = registry()
      let value = 1
      yield* Effect.gen(function* () {
        yield* gauge({ name: "size", description: "Size", read: () => value })
        yield* counterOf({ name: "hits_total", description: "Hits", read: () => value * 10 })
        value = 2
        assert.deepStrictEqual(shown(all), ["size 2", "hits_total 20"])
      }).pipe(Effect.provideContext(all), Effect.scoped)
      assert.deepStrictEqual(shown(all), [])
    }),
  )
})
