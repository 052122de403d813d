/** A tracer as somebody else has it, Effect's own, which keeps the spans that it was asked for. */
import { Tracer } from "effect"

export const recordingTracer = () => {
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = Tracer.nativeTracer.span(options)
      spans.push(span)
      return span
    },
  })
  return { tracer, spans }
}
