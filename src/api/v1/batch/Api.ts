/**
 * Several requests in one: `POST /v1/batch`.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Authorization, requireScopes } from "../../../http/Authorization.ts"
import { BATCH_HEADERS, BATCH_METHODS, BATCH_REQUESTS_MAX } from "../../../http/Batch.ts"
import { HEADER_BYTES_MAX } from "../../../http/Limits.ts"
import { BoundedJson, StoredJson } from "../../../security/BoundedJson.ts"

const ID_CHARACTERS_MAX = 100
/** What Node lets a header have (RFC 9110 §5.5). */
const HEADER_VALUE = /^(?:[!-~\u0080-\u00ff](?:[\t -~\u0080-\u00ff]*[!-~\u0080-\u00ff])?)?$/
/** Of this server: neither `//host` nor a whole URL, and no fragment, which is never sent. */
const PATH = /^\/(?!\/)[!"$-~]*$/

/** Each problem at its own place. */
const knownHeaders = Schema.makeFilter((headers: Readonly<Record<string, string>>) => {
  const names = new Set<string>()
  let bytes = 0
  const issues: Array<{ readonly path: ReadonlyArray<string>; readonly issue: string }> = []
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase()
    const refuse = (issue: string) => issues.push({ path: [name], issue })
    if (!BATCH_HEADERS.has(lower)) refuse(`is not one of ${[...BATCH_HEADERS].join(", ")}`)
    else if (names.has(lower)) refuse("is given twice")
    else if (!HEADER_VALUE.test(value)) refuse("has characters that a header cannot have")
    names.add(lower)
    bytes += name.length + value.length
  }
  if (bytes > HEADER_BYTES_MAX)
    issues.push({ path: [], issue: `must have at most ${HEADER_BYTES_MAX} bytes` })
  return issues
})

const BatchRequest = Schema.Struct({
  id: Schema.optionalKey(
    Schema.String.pipe(Schema.check(Schema.isNonEmpty(), Schema.isMaxLength(ID_CHARACTERS_MAX))).annotate({
      description: "Given back with the answer; without it, the place in the batch, from 0",
    }),
  ),
  method: Schema.Literals(BATCH_METHODS),
  path: Schema.String.pipe(
    Schema.check(Schema.isPattern(PATH, { expected: "a path of this server, such as /v1/jobs?limit=5" })),
  ),
  headers: Schema.optionalKey(Schema.Record(Schema.String, Schema.String).pipe(Schema.check(knownHeaders))),
  body: Schema.optionalKey(BoundedJson.annotate({ description: "Sent as JSON; not with GET" })),
}).pipe(
  Schema.check(
    Schema.makeFilter(({ body, method }: { readonly body?: unknown; readonly method: string }) =>
      method === "GET" && body !== undefined
        ? { path: ["body"], issue: "means nothing with GET" }
        : undefined,
    ),
  ),
  Schema.annotate({ identifier: "BatchRequest" }),
)

const distinct = Schema.makeFilter((requests: ReadonlyArray<{ readonly id?: string }>) => {
  const ids = new Set<string>()
  for (const [index, { id = String(index) }] of requests.entries()) {
    if (ids.has(id)) return { path: [index, "id"], issue: "is that of another request as well" }
    ids.add(id)
  }
  return undefined
})

export const BatchJson = Schema.Struct({
  responses: Schema.Array(
    Schema.Struct({
      id: Schema.String,
      status: Schema.Int,
      headers: Schema.Record(Schema.String, Schema.String),
      body: StoredJson.annotate({
        description: "JSON as it is, other text as a text, and null where there is none",
      }),
    }).annotate({ identifier: "BatchResponse" }),
  ),
}).annotate({ identifier: "Batch" })

export class BatchApi extends HttpApiGroup.make("batch")
  .add(
    HttpApiEndpoint.post("run", "/v1/batch", {
      payload: Schema.Struct({
        requests: Schema.Array(BatchRequest).pipe(
          Schema.check(Schema.isMinLength(1), Schema.isMaxLength(BATCH_REQUESTS_MAX), distinct),
        ),
      }),
      success: BatchJson.pipe(HttpApiSchema.status(207)),
    })
      .annotate(OpenApi.Summary, "Send several requests in one")
      // Any recognised caller: each request is authorized by itself.
      .annotateMerge(requireScopes()),
  )
  .middleware(Authorization)
  .annotateMerge(
    OpenApi.annotations({
      title: "Batch",
      description: "Up to 20 requests in one, each with its own authorization, limits and answer",
    }),
  ) {}
