/**
 * What becomes of the spans that are exported, as OpenTelemetry's conventions for SDKs name it.
 *
 * @source https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/
 */
import { Effect, Layer } from "effect"
import { Counter } from "./Instruments.ts"
import { CurrentObserver } from "./Observer.ts"

const EXPORTED = {
  name: "otel_sdk_exporter_span_exported_total",
  description:
    "Spans that the collector was sent; with an error_type, those that it did not take, or that too many were waiting before: they are lost",
}
const COMPONENT = { otel_component_type: "otlp_http_span_exporter" }

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const registry = yield* Effect.context<never>()
    const observer = yield* CurrentObserver
    const counterOf = (error_type: string) => new Counter(registry, EXPORTED, { ...COMPONENT, error_type })
    const taken = counterOf("")
    const refused = counterOf("export_failed")
    const dropped = counterOf("queue_full")
    yield* observer.on("spans", ({ isQueueFull, ok, spans }) =>
      (ok ? taken : isQueueFull === true ? dropped : refused).add(spans),
    )
  }),
)
