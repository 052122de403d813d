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
    "Spans that the collector was sent; with an error_type, those that it did not take and that are lost",
}
const COMPONENT = { otel_component_type: "otlp_http_span_exporter" }

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const registry = yield* Effect.context<never>()
    const observer = yield* CurrentObserver
    const taken = new Counter(registry, EXPORTED, { ...COMPONENT, error_type: "" })
    const lost = new Counter(registry, EXPORTED, { ...COMPONENT, error_type: "export_failed" })
    yield* observer.on("spans", ({ ok, spans }) => (ok ? taken : lost).add(spans))
  }),
)
