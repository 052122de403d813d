/**
 * Which traces are recorded, as `OTEL_TRACES_SAMPLER` says.
 *
 * @source https://opentelemetry.io/docs/specs/otel/trace/sdk/#sampling
 */
import * as Otel from "@opentelemetry/api"
import { type Sampler, SamplingDecision, TraceIdRatioBasedSampler } from "@opentelemetry/sdk-trace-base"
import type { TracingSettings } from "../Tracing.ts"

/** Whether a span is recorded; `parent` says whether its parent is, and is `undefined` for the first of its trace. */
export type IsSampled = (traceId: string, parent: boolean | undefined) => boolean

export const isSampledBy = ({ ratio, sampler }: TracingSettings): IsSampled => {
  const isRootSampled = sampler.endsWith("always_on")
    ? () => true
    : sampler.endsWith("always_off")
      ? () => false
      : isInShare(ratio)
  return sampler.startsWith("parentbased_")
    ? (traceId, parent) => parent ?? isRootSampled(traceId)
    : (traceId) => isRootSampled(traceId)
}

const isInShare = (ratio: number): ((traceId: string) => boolean) => {
  const sampler = new TraceIdRatioBasedSampler(ratio)
  return (traceId) =>
    sampler.shouldSample(Otel.ROOT_CONTEXT, traceId).decision === SamplingDecision.RECORD_AND_SAMPLED
}

/** For the spans that the SDK makes. */
export const samplerOf = (isSampled: IsSampled): Sampler => ({
  shouldSample: (context, traceId) => {
    const parent = Otel.trace.getSpanContext(context)
    const isParentSampled = parent && (parent.traceFlags & Otel.TraceFlags.SAMPLED) !== 0
    return {
      decision: isSampled(traceId, isParentSampled)
        ? SamplingDecision.RECORD_AND_SAMPLED
        : SamplingDecision.NOT_RECORD,
    }
  },
  toString: () => "renderowl",
})
