/**
 * The headers of requests and answers, in OpenAPI, and 304 to whoever has an answer already. Which of them an operation has is
 * worked out from its method, its middlewares and what it answers with; a header that an endpoint declares itself stays.
 */
import type { HttpApiEndpoint } from "effect/http-api"
import { IfMatch } from "./Conditional.ts"
import { Idempotency, KEY_CHARACTERS_MAX } from "./Idempotency.ts"
import type {
  Answer,
  ApiHeader,
  Components,
  HeaderParameter,
  JsonSchema,
  Operation,
  Reference,
} from "./OpenApiTypes.ts"
import { WAIT_SECONDS_MAX } from "./Prefer.ts"

const text = { type: "string" }
const header = (description: string, schema: JsonSchema = text, required = true): ApiHeader => ({
  description,
  required,
  schema,
})

/** Headers of answers, as they are spelled. */
const HEADERS = {
  "API-Version": header("The version of the API that answered."),
  "X-Request-Id": header("That of the request when it is a sane token, else one that was made for it."),
  "X-Trace-ID": header(
    "The trace of the request: that of its `traceparent` or `X-Trace-ID`, else a new one.",
    {
      type: "string",
      pattern: "^[0-9a-f]{32}$",
    },
  ),
  "X-Span-ID": header("The span of the request.", { type: "string", pattern: "^[0-9a-f]{16}$" }),
  "X-Trace-Sampled": header("Whether the trace is recorded.", { type: "string", enum: ["0", "1"] }),
  "Cache-Control": header("Who may keep the answer, and for how long (RFC 9111)."),
  ETag: header("For `If-None-Match`; when it is strong, for `If-Match` as well (RFC 9110).", text, false),
  "Retry-After": header("Seconds to wait before trying again.", { type: "integer", minimum: 0 }),
  "RateLimit-Policy": header("The share: `q` requests in `w` seconds.", text, false),
  RateLimit: header("What is left of it: `r` requests, whole again in `t` seconds.", text, false),
  "WWW-Authenticate": header("How to authenticate (RFC 6750)."),
  Location: header("Where the resource is."),
  Link: header("Other pages of the list: `first`, and `next` while there is one (RFC 8288).", text, false),
  "Idempotency-Replayed": header(
    "Present when this is the answer to an earlier request with the same `Idempotency-Key`; also on refusals that are kept.",
    { type: "string", enum: ["true"] },
    false,
  ),
  "Preference-Applied": header("Which preference was followed (RFC 7240).", text, false),
} satisfies Record<string, ApiHeader>

type HeaderName = keyof typeof HEADERS

const EVERYWHERE = [
  "API-Version",
  "X-Request-Id",
  "X-Trace-ID",
  "X-Span-ID",
  "X-Trace-Sampled",
  "Cache-Control",
] as const

const parameter = (name: string, description: string, required = false): HeaderParameter => ({
  name,
  in: "header",
  description,
  required,
  schema: text,
})

/** Headers of requests. */
const PARAMETERS = {
  IfMatch: parameter(
    "If-Match",
    "The `ETag` that the caller has seen, or `*` for any; when it is another by now, nothing is changed.",
    true,
  ),
  IfNoneMatch: parameter(
    "If-None-Match",
    "The `ETag`s that the caller has answers for: 304 when one of them is current.",
  ),
  IdempotencyKey: {
    ...parameter(
      "Idempotency-Key",
      "Makes it safe to send the request again: for 24 hours the same request with the same key is carried out once and gets the first answer. A random value, such as a UUID.",
    ),
    schema: { type: "string", minLength: 1, maxLength: KEY_CHARACTERS_MAX },
  },
  LastEventId: parameter(
    "Last-Event-ID",
    "The id of the last event that was seen: a live stream goes on after it.",
  ),
  Prefer: parameter(
    "Prefer",
    `\`wait=<seconds>\`, up to ${WAIT_SECONDS_MAX}: to be answered when the job has ended (RFC 7240).`,
  ),
}

/** What {@link describeHeaders} refers to. */
export const describeHeaderComponents = (components: Components): void => {
  components.headers = { ...components.headers, ...HEADERS }
  components.parameters = { ...components.parameters, ...PARAMETERS }
}

/** Says which headers an operation reads, and which it answers with. */
export const describeHeaders = (operation: Operation, endpoint: HttpApiEndpoint.Top): void => {
  const answers = Object.values(operation.responses)
  const has = (name: string) => answers.some(({ headers }) => headers?.[name] !== undefined)
  const isLive = answers.some(({ content }) => content?.["text/event-stream"] !== undefined)
  const takesKey = endpoint.middlewares.has(Idempotency)
  const isValidated = endpoint.method === "GET" && operation.responses["200"] !== undefined
  const parameters: Array<keyof typeof PARAMETERS> = [
    ...(isValidated ? (["IfNoneMatch"] as const) : []),
    ...(endpoint.middlewares.has(IfMatch) ? (["IfMatch"] as const) : []),
    ...(takesKey ? (["IdempotencyKey"] as const) : []),
    ...(isLive ? (["LastEventId"] as const) : []),
    ...(has("preference-applied") ? (["Prefer"] as const) : []),
  ]
  operation.parameters = [
    ...(operation.parameters ?? []),
    ...parameters.map((name) => ({ $ref: `#/components/parameters/${name}` })),
  ]
  if (isValidated) operation.responses["304"] = { description: "The caller has the answer already." }
  const traits: Traits = { isValidated, takesKey, isLimited: operation.responses["429"] !== undefined }
  for (const [status, answer] of Object.entries(operation.responses)) {
    answer.headers = headersOf(Number(status), answer, traits)
  }
}

/** What of an operation decides which headers its answers have. */
interface Traits {
  readonly isValidated: boolean
  readonly isLimited: boolean
  readonly takesKey: boolean
}

const LIMITED = ["RateLimit-Policy", "RateLimit"] as const

const headersOf = (
  status: number,
  answer: Answer,
  { isLimited, isValidated, takesKey }: Traits,
): NonNullable<Answer["headers"]> => {
  const names: Array<HeaderName> = [...EVERYWHERE, ...(isLimited ? LIMITED : [])]
  if (status === 401) names.push("WWW-Authenticate")
  if (status === 429 || status === 503) names.push("Retry-After")
  if (status === 200 && isValidated) names.push("ETag")
  if (takesKey && status < 400) names.push("Idempotency-Replayed")
  const headers: NonNullable<Answer["headers"]> = {}
  for (const name of names) headers[name] = reference(name)
  // While the first request still runs; other conflicts do not go away by waiting.
  if (status === 409 && takesKey) headers["Retry-After"] = { ...HEADERS["Retry-After"], required: false }
  if (status === 304) headers["ETag"] = { ...HEADERS.ETag, required: true }
  if (status === 429) for (const name of LIMITED) headers[name] = { ...HEADERS[name], required: true }
  for (const [name, own] of Object.entries(answer.headers ?? {})) {
    const known = (Object.keys(HEADERS) as Array<HeaderName>).find((each) => each.toLowerCase() === name)
    if (known === undefined) headers[name] = own
    else headers[known] = described(known, own)
  }
  return headers
}

const reference = (name: HeaderName): Reference => ({ $ref: `#/components/headers/${name}` })

/** A header that an endpoint declares, with what is known about it. */
const described = (name: HeaderName, own: JsonSchema | Reference): JsonSchema | Reference =>
  "required" in own && own["required"] === HEADERS[name].required
    ? reference(name)
    : { ...HEADERS[name], ...own }
