/**
 * An OpenTelemetry collector on a port of loopback: it takes OTLP over HTTP and decodes it with code that was generated from the
 * published protobuf definitions, of another release than the exporter's own.
 */
import { Effect } from "effect"
import { createServer, type IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import { gunzipSync } from "node:zlib"
import generated from "otlp-definitions/build/src/generated/root.js"

/** By its number in the definitions. */
const KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"] as const
const STATUSES = ["unset", "ok", "error"] as const

export interface ReceivedSpan {
  readonly name: string
  readonly kind: (typeof KINDS)[number]
  readonly status: (typeof STATUSES)[number]
  readonly traceId: string
  readonly spanId: string
  /** Empty for a root. */
  readonly parentId: string
  readonly links: ReadonlyArray<{ readonly traceId: string; readonly spanId: string }>
  readonly attributes: Readonly<Record<string, unknown>>
  readonly events: ReadonlyArray<{
    readonly name: string
    readonly attributes: Readonly<Record<string, unknown>>
  }>
  /** Of the process that it comes from. */
  readonly resource: Readonly<Record<string, unknown>>
  /** Nanoseconds since 1970. */
  readonly start: bigint
  readonly end: bigint
}

/** What the definitions make of a message, as far as it is looked at: numbers of 64 bits are objects. */
interface AnyValue {
  readonly arrayValue?: { readonly values: ReadonlyArray<AnyValue> } | null
  readonly stringValue?: string | null
  readonly boolValue?: boolean | null
  readonly intValue?: object | null
  readonly doubleValue?: number | null
}
type KeyValues = ReadonlyArray<{ readonly key: string; readonly value: AnyValue }>
interface Ids {
  readonly traceId: Uint8Array
  readonly spanId: Uint8Array
}
interface Span extends Ids {
  readonly name: string
  readonly kind: number
  readonly status: { readonly code: number } | null
  readonly parentSpanId: Uint8Array | null
  readonly links: ReadonlyArray<Ids>
  readonly attributes: KeyValues
  readonly events: ReadonlyArray<{ readonly name: string; readonly attributes: KeyValues }>
  readonly startTimeUnixNano: object
  readonly endTimeUnixNano: object
}
interface TraceRequest {
  readonly resourceSpans: ReadonlyArray<{
    readonly resource: { readonly attributes: KeyValues }
    readonly scopeSpans: ReadonlyArray<{ readonly spans: ReadonlyArray<Span> }>
  }>
}

/** Every field of the definitions, with its default where it was not sent. */
export interface PlainTraceRequest {
  readonly resourceSpans: ReadonlyArray<{
    readonly scopeSpans: ReadonlyArray<{ readonly spans: ReadonlyArray<{ status: object | null }> }>
  }>
}

const { ExportTraceServiceRequest } = (
  generated as unknown as {
    readonly opentelemetry: {
      readonly proto: {
        readonly collector: {
          readonly trace: {
            readonly v1: {
              readonly ExportTraceServiceRequest: {
                readonly decode: (body: Uint8Array) => TraceRequest
                readonly toObject: (request: TraceRequest, options: object) => PlainTraceRequest
              }
            }
          }
        }
      }
    }
  }
).opentelemetry.proto.collector.trace.v1

const valueOf = ({ arrayValue, boolValue, doubleValue, intValue, stringValue }: AnyValue): unknown =>
  stringValue ??
  boolValue ??
  doubleValue ??
  arrayValue?.values.map(valueOf) ??
  (intValue === null ? undefined : Number(intValue))

const attributesOf = (all: KeyValues): Readonly<Record<string, unknown>> =>
  Object.fromEntries(all.map(({ key, value }) => [key, valueOf(value)]))

const hex = (bytes: Uint8Array | null): string => Buffer.from(bytes ?? []).toString("hex")

/** An `ExportTraceServiceRequest`, as far as it goes. */
export const readTraceRequest = (body: Uint8Array): PlainTraceRequest =>
  ExportTraceServiceRequest.toObject(ExportTraceServiceRequest.decode(body), {
    defaults: true,
    longs: String,
    bytes: String,
  })

/** The spans of an `ExportTraceServiceRequest`. */
export const decodeTraceRequest = (body: Uint8Array): ReadonlyArray<ReceivedSpan> =>
  ExportTraceServiceRequest.decode(body).resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        name: span.name,
        kind: KINDS[span.kind]!,
        status: STATUSES[span.status?.code ?? 0]!,
        traceId: hex(span.traceId),
        spanId: hex(span.spanId),
        parentId: hex(span.parentSpanId),
        links: span.links.map(({ spanId, traceId }) => ({ traceId: hex(traceId), spanId: hex(spanId) })),
        attributes: attributesOf(span.attributes),
        events: span.events.map(({ attributes, name }) => ({ name, attributes: attributesOf(attributes) })),
        resource: attributesOf(resource.attributes),
        start: BigInt(String(span.startTimeUnixNano)),
        end: BigInt(String(span.endTimeUnixNano)),
      })),
    ),
  )

const bodyOf = async (request: IncomingMessage): Promise<Uint8Array> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  return request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body
}

export class OtlpReceiver {
  readonly spans: Array<ReceivedSpan> = []
  /** Headers of each request. */
  readonly requests: Array<IncomingMessage["headers"]> = []
  /** What it does with requests; one that hangs is never answered. */
  mood: "takes" | "refuses" | "hangs" = "takes"
  url = ""

  named(name: string): ReadonlyArray<ReceivedSpan> {
    return this.spans.filter((span) => span.name === name)
  }

  /** A collector, until the scope closes. */
  static readonly start = Effect.gen(function* () {
    const receiver = new OtlpReceiver()
    const server = createServer((request, response) => {
      void (async () => {
        receiver.requests.push(request.headers)
        const body = await bodyOf(request)
        if (receiver.mood === "hangs") return
        if (receiver.mood === "refuses" || request.url !== "/v1/traces") {
          response.writeHead(400).end()
          return
        }
        receiver.spans.push(...decodeTraceRequest(body))
        response.writeHead(200, { "content-type": "application/x-protobuf" }).end()
      })()
    })
    yield* Effect.acquireRelease(
      Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
      () =>
        Effect.promise(
          () =>
            new Promise<void>((resolve) => {
              server.close(() => resolve())
              server.closeAllConnections()
            }),
        ),
    )
    receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    return receiver
  })
}
