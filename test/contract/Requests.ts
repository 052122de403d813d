/**
 * Requests for the operations of a document: what a caller would send, what one would send by mistake, and what one would send to
 * break the server. They are plans: ids, cursors and tags that the server gave out before are put in when a plan becomes a request.
 */
import * as fc from "fast-check"
import type { Document, JsonSchema, Operation } from "./Document.ts"
import type { Request } from "./Exchange.ts"
import type { Memory } from "./Memory.ts"
import { hostile, hostileText, Known, nearlyValid, resolved, valid } from "./Values.ts"

/** A request but for what is only known when it is sent. */
export interface Plan {
  readonly operation: Operation
  readonly path: Readonly<Record<string, unknown>>
  /** Names and values; a name may come twice. */
  readonly query: ReadonlyArray<readonly [name: string, value: unknown]>
  /** Appended to the query as it is. */
  readonly rawQuery: string | undefined
  readonly headers: ReadonlyArray<readonly [name: string, value: unknown]>
  readonly credential: Credential
  readonly body: Body | undefined
}

type Credential = "key" | "x-api-key" | "none" | "nonsense"

interface Body {
  readonly contentType: string | undefined
  /** Bytes as they are, or a value to be written as JSON. */
  readonly content: { readonly raw: Uint8Array } | { readonly value: unknown }
}

/** Any text that was given out, of whatever kind. */
const ANY_KNOWN: JsonSchema = { type: "string", minLength: 1 }

const mostly = <A>(usual: fc.Arbitrary<A>, weight: number, ...unusual: ReadonlyArray<fc.Arbitrary<A>>) =>
  fc.oneof({ weight, arbitrary: usual }, ...unusual)

const known = (schema: JsonSchema): fc.Arbitrary<unknown> =>
  fc.nat().map((pick) => new Known(schema, pick, "nothing"))

const pathValue = (document: Document, schema: JsonSchema): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 6, arbitrary: known(schema) },
    { weight: 2, arbitrary: valid(document, schema) },
    { weight: 1, arbitrary: known(ANY_KNOWN) },
    { weight: 1, arbitrary: hostileText },
  )

const queryValue = (document: Document, schema: JsonSchema): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 3, arbitrary: valid(document, schema) },
    { weight: 1, arbitrary: known(ANY_KNOWN) },
    { weight: 1, arbitrary: hostileText },
  )

const RAW_QUERIES = [
  "&&&==",
  "%ff=%fe",
  "limit=1&limit=2",
  "limit[]=1",
  "limit%00=1",
  "cursor=",
  "cursor=AAAA.AAAA",
  "__proto__[admin]=true",
  "api_version=v1",
  "api_version=v9",
  "a=b;c=d?e=f",
  "%",
  "é=ü",
]

/** Printable or not, as far as a header may have it: Latin-1 without control characters. */
const headerText = fc
  .string({
    unit: fc
      .integer({ min: 0x20, max: 0xff })
      .filter((code) => code !== 0x7f)
      .map((code) => String.fromCharCode(code)),
  })
  .map((text) => text.trim())

const HEADERS: Readonly<Record<string, ReadonlyArray<string>>> = {
  accept: [
    "application/json",
    "text/event-stream",
    "image/png",
    "*/*;q=0",
    "text/html, application/xhtml+xml, */*;q=0.1",
    "application/json;version=v1",
    "application/json;version=v9",
    ",;q=",
  ],
  "accept-encoding": ["br", "gzip", "identity;q=0, *;q=0", "deflate, zstd", "x"],
  "api-version": ["v1", "v9", "V1", " ", "1"],
  "content-encoding": ["gzip", "identity", "x"],
  cookie: ["a=b; c", "x".repeat(2_000)],
  expect: ["100-continue", "the-unexpected"],
  "idempotency-key": ["one", "two", "three", "k".repeat(255), "k".repeat(300), " ", '"quoted"'],
  "if-match": ["*", '"1"', '"0"', 'W/"1"', '"1", "2"', '"', "nonsense", '"99999999999999999999"'],
  "if-modified-since": ["Sat, 29 Oct 1994 19:43:31 GMT", "x"],
  "if-none-match": ["*", '"1"', 'W/"1"', '"', '""', '"a", '.repeat(100)],
  "if-unmodified-since": ["Sat, 29 Oct 1994 19:43:31 GMT"],
  "last-event-id": ["0", "1", "-1", "99999999999999999", "x", ""],
  origin: ["https://evil.example", "null", "https://app.example.com"],
  prefer: ["wait=0", "wait=1", "wait=-1", "wait", 'wait="1', "respond-async, wait=0"],
  range: ["bytes=0-", "bytes=5-1", "x"],
  "sec-websocket-key": ["x"],
  traceparent: [
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "00-00000000000000000000000000000000-0000000000000000-00",
    "ff-x",
  ],
  "x-forwarded-for": ["127.0.0.1", "x, y"],
  "x-forwarded-proto": ["https", ","],
  "x-http-method-override": ["DELETE"],
  "x-request-id": ["mine", "a b", "x".repeat(300)],
  "x-trace-id": ["4bf92f3577b34da6a3ce929d0e0e4736", "x"],
}

const header: fc.Arbitrary<readonly [string, unknown]> = fc
  .constantFrom(...Object.keys(HEADERS))
  .chain((name) =>
    fc
      .oneof(
        { weight: 5, arbitrary: fc.constantFrom(...HEADERS[name]!) },
        { weight: 1, arbitrary: headerText },
        { weight: name.startsWith("if-") ? 5 : 1, arbitrary: known(ETAG) },
      )
      .map((value) => [name, value] as const),
  )

/** The form of an entity tag, which nothing else that is given out has. */
const ETAG: JsonSchema = { type: "string", pattern: '^(W/)?".*"$' }

const TEXT_BODIES = [
  "",
  "{",
  "[[[[",
  '{"a":NaN}',
  '{"a":1e999}',
  '{"a":01}',
  '{"a":1,"a":2}',
  '{"type":"system:echo","type":"system:fail"}',
  '{"__proto__":{"admin":true}}',
  '"\\ud800"',
  '{"\\u0000":1}',
  "\ufeff{}",
  "a=b&c=d",
  "<xml/>",
  "undefined",
]

const raw = fc.oneof(
  fc.constantFrom(...TEXT_BODIES).map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 200 }),
  fc
    .constantFrom("utf16le", "latin1")
    .map((encoding) => Buffer.from('{"name":"é"}', encoding as BufferEncoding)),
  fc.integer({ min: 1, max: 20_000 }).map((levels) => Buffer.from("[".repeat(levels) + "]".repeat(levels))),
  fc
    .integer({ min: 1, max: 20_000 })
    .map((levels) => Buffer.from('{"a":'.repeat(levels) + "1" + "}".repeat(levels))),
  fc.integer({ min: 10_000, max: 300_000 }).map((length) => Buffer.from(JSON.stringify("x".repeat(length)))),
)

const JSON_TYPE = "application/json"
const contentType = mostly<string | undefined>(
  fc.constant(JSON_TYPE),
  20,
  fc.constantFrom(
    undefined,
    "application/json; charset=utf-8",
    "application/json; charset=utf-16",
    "APPLICATION/JSON",
    "application/problem+json",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "text/plain",
    "*/*",
    ";",
  ),
)

const bodyOf = (document: Document, schema: JsonSchema | undefined): fc.Arbitrary<Body | undefined> => {
  const odd = fc.record({
    contentType,
    content: fc.oneof(
      raw.map((bytes) => ({ raw: bytes })),
      asValue(hostile),
    ),
  })
  if (schema === undefined) return mostly<Body | undefined>(fc.constant(undefined), 15, odd)
  const content = fc.oneof(
    { weight: 5, arbitrary: asValue(valid(document, schema)) },
    { weight: 4, arbitrary: asValue(nearlyValid(document, schema)) },
  )
  return mostly<Body | undefined>(fc.record({ contentType, content }), 9, odd, fc.constant(undefined))
}

const asValue = (arbitrary: fc.Arbitrary<unknown>) => arbitrary.map((value) => ({ value }))

const credential = mostly<Credential>(
  fc.constant("key"),
  30,
  fc.constantFrom("x-api-key", "none", "nonsense"),
)

const planOf = (document: Document, operation: Operation): fc.Arbitrary<Plan> => {
  const inPlace = (place: string) => operation.parameters.filter((each) => each.in === place)
  const query = inPlace("query").map(({ name, schema }) =>
    fc.option(
      queryValue(document, schema).map((value) => [name, value] as const),
      { freq: 1, nil: undefined },
    ),
  )
  // Most know the precondition of a change: what comes after it is to be seen as well.
  const required = inPlace("header")
    .filter((each) => each.required)
    .map(({ name }) =>
      fc.option(
        fc.oneof(fc.constant("*"), known(ETAG)).map((value) => [name.toLowerCase(), value] as const),
        { freq: 8, nil: undefined },
      ),
    )
  return fc.record({
    operation: fc.constant(operation),
    path: fc.record(
      Object.fromEntries(inPlace("path").map(({ name, schema }) => [name, pathValue(document, schema)])),
    ),
    query: fc
      .tuple(
        fc.tuple(...query),
        mostly<ReadonlyArray<readonly [string, unknown]>>(
          fc.constant([]),
          12,
          fc.array(fc.tuple(hostileText, hostileText), { minLength: 1, maxLength: 3 }),
        ),
      )
      .map(([given, more]) => given.filter((each) => each !== undefined).concat(more)),
    rawQuery: mostly<string | undefined>(fc.constant(undefined), 20, fc.constantFrom(...RAW_QUERIES)),
    headers: fc
      .tuple(
        fc.tuple(...required),
        mostly<ReadonlyArray<readonly [string, unknown]>>(
          fc.constant([]),
          4,
          fc.array(header, { minLength: 1, maxLength: 4 }),
        ),
      )
      .map(([given, more]) => more.concat(given.filter((each) => each !== undefined))),
    credential,
    body: bodyOf(document, operation.body),
  })
}

/** Plans for all operations; those with a body more often, as there is more that can be wrong, and others need what they make. */
export const plans = (document: Document): fc.Arbitrary<Plan> =>
  fc.oneof(
    ...document.operations.map((operation) => ({
      weight: operation.body === undefined ? 1 : 3,
      arbitrary: planOf(document, operation),
    })),
  )

/** The request of a plan; undefined when it would not reach its operation, or no client could send it. */
export const requestOf = (plan: Plan, memory: Memory, key: string): Request | undefined => {
  const text = (value: unknown) => encodeURIComponent(String(memoryOf(memory)(value)).toWellFormed())
  const path = plan.operation.path.replaceAll(/\{([^}]+)\}/g, (_, name: string) => text(plan.path[name]))
  if (path.split("/").slice(1).includes("")) return undefined
  const query = plan.query
    .map(([name, value]) => `${text(name)}=${text(value)}`)
    .concat(plan.rawQuery ?? [])
    .join("&")
  const headers: Record<string, string> = {}
  const target = query === "" ? path : `${path}?${query}`
  for (const [name, value] of plan.headers) {
    const tag = value instanceof Known && value.pick % 3 > 0 ? memory.tagOf(target) : undefined
    headers[name] = asHeader(tag ?? String(memoryOf(memory)(value)))
  }
  if (plan.credential === "key") headers["authorization"] = `Bearer ${key}`
  if (plan.credential === "x-api-key") headers["x-api-key"] = key
  if (plan.credential === "nonsense") headers["authorization"] = "Bearer nonsense"
  if (plan.body?.contentType !== undefined) headers["content-type"] = plan.body.contentType
  return {
    signed: plan.operation.isSigned && plan.credential === "key",
    method: plan.operation.method,
    path: target,
    headers,
    body: plan.body === undefined ? undefined : bytesOf(plan.body, memory),
  }
}

const memoryOf = (memory: Memory) => (value: unknown) => resolved(value, (each) => memory.find(each))

const bytesOf = ({ content }: Body, memory: Memory): Uint8Array =>
  "raw" in content ? content.raw : Buffer.from(JSON.stringify(memoryOf(memory)(content.value)) ?? "")

/** Clients refuse to send line breaks and what is beyond Latin-1. */
const asHeader = (text: string): string => text.replaceAll(/[^\u0020-\u007e\u00a0-\u00ff]/g, "?").trim()
