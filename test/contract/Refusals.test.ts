import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as fc from "fast-check"
import { Scope } from "../../src/security/Scope.ts"
import type { Server } from "../support/ServerProcess.ts"
import { SharedServer } from "../support/SharedServer.ts"
import { SECRET } from "../support/Signed.ts"
import { type Document, documentOf, type JsonSchema, type Operation } from "./Document.ts"
import { type Answer, Exchanges, type Request } from "./Exchange.ts"
import { type Expectations, expectationsOf, faultsOf, problemIn, shown } from "./Verdict.ts"
import { Known, resolved, valid } from "./Values.ts"

const SEED = 1
const OVERSIZE_BYTES = 20_000_000
const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
/** None of them is an id or a name of anything. */
const BAD_IDS = ["!", "job_1", "a b", "\u0000", "A".repeat(200)]
const JSON_TYPE = { "content-type": "application/json" }

/** One way to get it wrong. */
interface Case {
  readonly request: Request
  readonly status: number
  readonly problem: string | ReadonlyArray<string>
  /** One of the `field code` pairs that it must be told. */
  readonly error?: string
}

/** What the server and its document are, for all rows. */
class Subject extends Context.Service<
  Subject,
  Expectations & {
    readonly server: Server
    readonly exchanges: Exchanges
    /** A request of each operation to which nothing is wrong, but that it names what is not there. */
    readonly plain: ReadonlyMap<Operation, Request>
    /** A key with every scope but this one. */
    readonly lacking: ReadonlyMap<string, string>
  }
>()("test/contract/Subject") {
  static readonly layer = Layer.effect(
    Subject,
    Effect.gen(function* () {
      const server = yield* SharedServer
      const document = yield* documentOf(server.client)
      const lacking = new Map<string, string>()
      for (const missing of Scope.literals) {
        const scopes = Scope.literals.filter((scope) => scope !== missing && scope !== "admin")
        const made = yield* server.client.post("/v1/api-keys", { name: `not ${missing}`, scopes })
        lacking.set(missing, String(made.json()["key"]))
      }
      const exchanges = yield* Effect.acquireRelease(
        Effect.sync(() => new Exchanges(server.url)),
        (each) => Effect.sync(() => each.close()),
      )
      const plain = new Map(document.operations.map((each) => [each, plainOf(document, server, each)]))
      return { ...(yield* expectationsOf(server.client, document)), server, exchanges, plain, lacking }
    }),
  ).pipe(Layer.provide(SharedServer.layer({ INTERNAL_SECRET: SECRET })))
}
type Subjects = Subject["Service"]

const plainOf = (document: Document, server: Server, operation: Operation): Request => {
  const sample = (schema: JsonSchema) =>
    resolved(
      fc.sample(valid(document, schema), { seed: SEED, numRuns: 1 })[0],
      (known: Known) => known.otherwise,
    )
  const path = operation.path.replaceAll(/\{([^}]+)\}/g, (_, name: string) => {
    const parameter = operation.parameters.find((each) => each.in === "path" && each.name === name)
    return encodeURIComponent(String(sample(parameter!.schema)))
  })
  const query = operation.parameters
    .filter((each) => each.in === "query" && each.required)
    .map(({ name, schema }) => `${name}=${encodeURIComponent(String(sample(schema)))}`)
    .join("&")
  const headers = operation.parameters
    .filter((each) => each.in === "header" && each.required)
    .map(({ name }) => [name.toLowerCase(), "*"])
  return {
    signed: operation.isSigned,
    method: operation.method,
    path: query === "" ? path : `${path}?${query}`,
    headers: {
      ...(operation.isSigned ? {} : { authorization: `Bearer ${server.client.key}` }),
      ...Object.fromEntries(headers),
      ...(operation.body === undefined ? {} : JSON_TYPE),
    },
    ...(operation.body === undefined ? {} : { body: Buffer.from(JSON.stringify(sample(operation.body))) }),
  }
}

const without = (headers: Request["headers"], name: string): Request["headers"] =>
  Object.fromEntries(Object.entries(headers).filter(([each]) => each !== name))

const withBody = (
  request: Request,
  body: string | Uint8Array,
  headers: Request["headers"] = {},
): Request => ({
  ...request,
  headers: { ...request.headers, ...headers },
  body: Buffer.from(body as string),
})

const fieldsOf = (document: Document, body: JsonSchema): ReadonlyArray<[name: string, schema: JsonSchema]> =>
  Object.entries((document.resolve(body)["properties"] ?? {}) as Record<string, JsonSchema>)

/** The first of the values that a schema refuses. */
const refusedBy = (document: Document, schema: JsonSchema, values: ReadonlyArray<unknown>) =>
  values.find((value) => !document.accepts(schema, value))

type Row = (subject: Subjects, operation: Operation, request: Request) => ReadonlyArray<Case>

const rows: Readonly<Record<string, Row>> = {
  "no credentials": (_, { isSigned, security }, request) =>
    security.length === 0
      ? []
      : [
          {
            request: { ...request, signed: false, headers: without(request.headers, "authorization") },
            status: 401,
            problem: "unauthorized",
          },
          {
            request: {
              ...request,
              signed: false,
              headers: { ...request.headers, authorization: "Bearer nonsense" },
            },
            status: 401,
            problem: isSigned ? "unauthorized" : ["invalid-api-key", "invalid-token"],
          },
        ],

  "a scope that the caller does not hold": ({ lacking }, { isSigned, security }, request) =>
    (isSigned ? [] : [...new Set(security.flat())]).map((scope) => ({
      request: { ...request, headers: { ...request.headers, authorization: `Bearer ${lacking.get(scope)}` } },
      status: 403,
      problem: "insufficient-scope",
    })),

  "an id that is none": ({ document }, operation, request) =>
    operation.parameters.flatMap(({ in: place, name, schema }) => {
      const bad = place === "path" ? refusedBy(document, schema, BAD_IDS) : undefined
      if (bad === undefined) return []
      const at = operation.path.split("/").indexOf(`{${name}}`)
      const path = request.path
        .split("/")
        .with(at, encodeURIComponent(String(bad)))
        .join("/")
      return [{ request: { ...request, path }, status: 400, problem: "invalid-id" }]
    }),

  "a body that is no JSON": (_, { body }, request) =>
    body === undefined
      ? []
      : ["{", '{"a":1,}', "{'a':1}", '{"a":NaN}', "\ufeff{", Buffer.from([0x22, 0xff, 0xfe, 0x22])].map(
          (text) => ({
            request: withBody(request, text),
            status: 400,
            problem: "malformed-json",
          }),
        ),

  "a body of another kind, or none": ({ document }, { body }, request) =>
    body === undefined
      ? []
      : [null, [], "text", 7, true]
          .filter((value) => !document.accepts(body, value))
          .map((value) => JSON.stringify(value))
          .concat("")
          .map((text) => ({ request: withBody(request, text), status: 400, problem: "validation-failed" })),

  "a field of a wrong type, or beyond all numbers": ({ document }, { body }, request) =>
    body === undefined
      ? []
      : fieldsOf(document, body).flatMap(([name, schema]) => {
          const wrong = refusedBy(document, schema, [7, "text", true, [], {}, null])
          if (wrong === undefined) return []
          const isNumber = document.resolve(schema)["type"] === "integer"
          return [JSON.stringify(wrong), ...(isNumber ? ["1e999", "-1e999", "1e308", "0.5"] : [])].map(
            (text) => ({
              request: withBody(request, `{${JSON.stringify(name)}:${text}}`),
              status: 400,
              problem: "validation-failed",
              error: name,
            }),
          )
        }),

  "a field that does not exist": (_, { body }, request) =>
    body === undefined
      ? []
      : ["no_such_field", "__proto__", "constructor"].map((name) => {
          const own = String(request.body)
          const field = `${JSON.stringify(name)}:{"x":1}`
          return {
            request: withBody(request, own === "{}" ? `{${field}}` : `${own.slice(0, -1)},${field}}`),
            status: 400,
            problem: "validation-failed",
            error: `${name} unknown_field`,
          }
        }),

  "a query that does not exist": (_, { parameters }, request) =>
    parameters.some((each) => each.in === "query")
      ? [
          {
            request: {
              ...request,
              path: `${request.path}${request.path.includes("?") ? "&" : "?"}no_such_name=1`,
            },
            status: 400,
            problem: "validation-failed",
            error: "no_such_name unknown_field",
          },
        ]
      : [],

  "a query of a wrong type": ({ document }, { parameters }, request) =>
    parameters.flatMap(({ in: place, name, schema }) => {
      const bad =
        place === "query" ? refusedBy(document, schema, ["", "\u0000", "x".repeat(1_000)]) : undefined
      if (bad === undefined) return []
      const path = `${request.path.split("?")[0]}?${name}=${encodeURIComponent(String(bad))}`
      return [{ request: { ...request, path }, status: 400, problem: "validation-failed", error: name }]
    }),

  "a body beyond the limit": (_, { body }, request) =>
    body === undefined
      ? []
      : [
          {
            request: withBody(request, "{", { "content-length": String(OVERSIZE_BYTES) }),
            status: 413,
            problem: "payload-too-large",
          },
        ],

  "a media type that is not read": (_, { body }, request) => [
    {
      request: { ...request, headers: without(request.headers, "content-type"), body: Buffer.from("{}") },
      status: 415,
      problem: "unsupported-media-type",
    },
    {
      request: withBody(request, "{}", { ...JSON_TYPE, "content-encoding": "gzip" }),
      status: 415,
      problem: "unsupported-media-type",
    },
    ...(body === undefined
      ? []
      : ["application/xml", "text/plain", "nonsense"].map((type) => ({
          request: withBody(request, "{}", { "content-type": type }),
          status: 415,
          problem: "unsupported-media-type",
        }))),
  ],

  "a media type that is not there": (_, { answers }, request) =>
    [...answers].some(([status, { content }]) => status < 300 && content.size > 0 && !content.has("*/*"))
      ? [
          {
            request: { ...request, headers: { ...request.headers, accept: "image/x-nothing" } },
            status: 406,
            problem: "not-acceptable",
          },
        ]
      : [],

  "a change of what was not seen": (_, { parameters }, request) =>
    parameters.some(({ name }) => name === "If-Match")
      ? [
          {
            request: { ...request, headers: without(request.headers, "if-match") },
            status: 428,
            problem: "precondition-required",
          },
        ]
      : [],

  "a URL or headers beyond the limit": (_, _operation, request) => [
    {
      request: {
        ...request,
        path: `${request.path}${request.path.includes("?") ? "&" : "?"}x=${"x".repeat(3_000)}`,
      },
      status: 414,
      problem: "uri-too-long",
    },
    {
      request: { ...request, headers: { ...request.headers, "x-much": "x".repeat(20_000) } },
      status: 431,
      problem: "headers-too-large",
    },
  ],
}

const mistakes = ({ error, problem, status }: Case, answer: Answer): ReadonlyArray<string> => {
  const slug = problemIn(answer)
  // A caller that is refused this often may be told so instead; that it is declared is seen to elsewhere.
  if (slug === "rate-limit-exceeded") return []
  if (answer.status !== status || slug === undefined || ![problem].flat().includes(slug)) {
    return [`expected ${status} ${String(problem)}: ${shown(answer)}`]
  }
  if (error === undefined) return []
  const { errors = [] } = JSON.parse(String(answer.body)) as {
    readonly errors?: ReadonlyArray<{ readonly field: string; readonly code: string }>
  }
  const told = errors.map(({ code, field }) => `${field} ${code}`)
  return told.some((each) => `${each} `.startsWith(`${error} `) || each.startsWith(`${error}.`))
    ? []
    : [`expected the error ${error}: ${shown(answer)}`]
}

layer(Subject.layer, { excludeTestServices: true, timeout: 30_000 })("every operation refuses", (it) => {
  for (const [name, row] of Object.entries(rows)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const subject = yield* Subject
        const faults: Array<string> = []
        let asked = 0
        for (const [operation, request] of subject.plain) {
          for (const each of row(subject, operation, request)) {
            const answer = yield* Effect.promise(() => subject.exchanges.send(each.request))
            asked++
            for (const fault of [
              ...mistakes(each, answer),
              ...faultsOf(subject, operation, each.request, answer),
            ]) {
              faults.push(`${operation.name}: ${fault}`)
            }
          }
        }
        assert.isAbove(asked, 0)
        assert.deepStrictEqual(faults, [])
      }),
    )
  }

  it.effect("a method that it does not take, and says which ones it does", () =>
    Effect.gen(function* () {
      const subject = yield* Subject
      const faults: Array<string> = []
      for (const [operation, request] of subject.plain) {
        const allowed = subject.document.methodsOf(request.path.split("?")[0]!)
        for (const method of METHODS.filter((each) => !allowed.has(each))) {
          const answer = yield* Effect.promise(() => subject.exchanges.send({ ...request, method }))
          const told = new Set((answer.headers.allow ?? "").split(", "))
          if (answer.status !== 405 || problemIn(answer) !== "method-not-allowed")
            faults.push(`${method} ${operation.path}: ${shown(answer)}`)
          if (![...allowed].every((each) => told.has(each)) || told.has(method))
            faults.push(
              `${method} ${operation.path}: Allow is ${answer.headers.allow}, not ${[...allowed].join(", ")}`,
            )
        }
      }
      assert.deepStrictEqual(faults, [])
    }),
  )

  it.effect("nothing that was said above with a word about how it is made", () =>
    Effect.map(Subject, ({ server }) => assert.notInclude(server.process.stdout, "unexpectedly")),
  )
})
