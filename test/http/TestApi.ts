/**
 * A small API under the whole contract, for the tests of this room: one guarded group with a list, a body, an id and a
 * live stream, and one open group whose routes misbehave on purpose. Real server, real sockets.
 */
import { Cause, Context, Effect, Layer, Logger, Option, Redacted, Schema, Stream } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import { Authorization, requireScopes } from "../../src/http/Authorization.ts"
import { Contract, contract } from "../../src/http/Contract.ts"
import * as Cursor from "../../src/http/Cursor.ts"
import * as Documentation from "../../src/http/Documentation.ts"
import { Drain } from "../../src/http/Drain.ts"
import * as ErrorPages from "../../src/http/ErrorPages.ts"
import * as Pagination from "../../src/http/Pagination.ts"
import * as Prefer from "../../src/http/Prefer.ts"
import * as ProblemMapper from "../../src/http/ProblemMapper.ts"
import { CurrentRequest } from "../../src/http/RequestIdentity.ts"
import { InvalidRequestProblem } from "../../src/http/RequestProblems.ts"
import { JobNotFoundProblem } from "../../src/http/ResourceProblems.ts"
import * as Server from "../../src/http/Server.ts"
import * as ServerSentEvents from "../../src/http/ServerSentEvents.ts"
import { MailboxFullProblem } from "../../src/http/ServiceProblems.ts"
import {
  Authenticator,
  AuthenticatorUnavailable,
  ExpiredToken,
  InvalidApiKey,
  InvalidToken,
} from "../../src/security/Authenticator.ts"
import { CurrentPrincipal, Principal } from "../../src/security/Principal.ts"
import type { Scope } from "../../src/security/Scope.ts"
import { keyedRecords } from "../support/KeyedRecords.ts"

// The domain's errors, free of HTTP.
class JobNotFound extends Schema.TaggedError<JobNotFound>()("JobNotFound", { id: Schema.String }) {}
class MailboxFull extends Schema.TaggedError<MailboxFull>()("MailboxFull", {}) {}

const toProblem = ProblemMapper.make({
  JobNotFound: (error: JobNotFound) => new JobNotFoundProblem({ detail: `No job has the id ${error.id}.` }),
  MailboxFull: () => new MailboxFullProblem({ retry_after: 7 }),
})

const Id = Schema.String.pipe(Schema.check(Schema.isPattern(/^job_[0-9a-z]{4}$/)))
const Item = Schema.Struct({ position: Schema.Int })
const ItemsCursor = Cursor.make("items", Schema.Struct({ position: Schema.Int }))

const Order = Schema.Struct({
  name: Schema.String.pipe(Schema.check(Schema.isMinLength(3))),
  priority: Schema.Literals(["urgent", "normal"]),
  output_settings: Schema.optionalKey(
    Schema.Struct({ fps: Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: 120 }))) }),
  ),
  words: Schema.optionalKey(Schema.Array(Schema.Struct({ start: Schema.Finite }))),
  due: Schema.optionalKey(Schema.DateTimeUtcFromString),
  source: Schema.optionalKey(
    Schema.Union([
      Schema.Struct({ kind: Schema.Literal("url"), url: Schema.String }),
      Schema.Struct({ kind: Schema.Literal("asset"), asset_id: Schema.String }),
    ]),
  ),
})

const guarded = HttpApiGroup.make("guarded")
  .add(
    HttpApiEndpoint.get("list", "/v1/items", {
      query: Pagination.pageQuery,
      success: Pagination.Page(Item),
      error: InvalidRequestProblem,
    }).annotateMerge(requireScopes("jobs:read")),
    HttpApiEndpoint.post("submit", "/v1/jobs", {
      payload: Order,
      success: HttpApiSchema.WithHeaders(
        Schema.Struct({ id: Schema.String }).pipe(HttpApiSchema.status(202)),
        {
          location: Schema.String,
        },
      ),
    }).annotateMerge(requireScopes("jobs:write")),
    HttpApiEndpoint.get("get", "/v1/jobs/:id", {
      params: { id: Id },
      success: Schema.Struct({ id: Schema.String, caller: Schema.String }),
      error: [JobNotFoundProblem, MailboxFullProblem],
    }).annotateMerge(requireScopes("jobs:read")),
    HttpApiEndpoint.get("events", "/v1/jobs/:id/events", {
      params: { id: Id },
      success: [Schema.Array(Schema.Int), ServerSentEvents.EventStream],
      error: InvalidRequestProblem,
    }).annotateMerge(requireScopes("jobs:read")),
  )
  .middleware(Authorization)

const open = HttpApiGroup.make("open").add(
  HttpApiEndpoint.post("echo", "/v1/echo", {
    payload: Schema.Struct({ text: Schema.String }),
    success: Schema.Struct({ length: Schema.Int }),
  }),
  HttpApiEndpoint.put("replace", "/v1/echo", { payload: Schema.Struct({ text: Schema.String }) }),
  HttpApiEndpoint.post("upload", "/v1/uploads", {
    payload: HttpApiSchema.StreamUint8Array({ maxBytes: 1000 }),
    success: Schema.Struct({ bytes: Schema.Int }),
  }),
  HttpApiEndpoint.get("identity", "/v1/identity", {
    success: Schema.Struct({ request_id: Schema.String, trace_id: Schema.String }),
  }),
  HttpApiEndpoint.get("defect", "/v1/defect", {}),
  HttpApiEndpoint.get("unencodable", "/v1/unencodable", { success: Schema.Struct({ n: Schema.Int }) }),
  HttpApiEndpoint.get("slow", "/v1/slow", { success: Schema.String }),
  HttpApiEndpoint.get("never", "/v1/never", { success: Schema.String }),
  HttpApiEndpoint.get("wait", "/v1/wait", {}),
  HttpApiEndpoint.get("failing", "/v1/failing-events", { success: ServerSentEvents.EventStream }),
  HttpApiEndpoint.get("endless", "/v1/endless-events", { success: ServerSentEvents.EventStream }),
  HttpApiEndpoint.get("hurried", "/v1/hurried-events", { success: ServerSentEvents.EventStream }),
  HttpApiEndpoint.get("rare", "/v1/rare-events", { success: ServerSentEvents.EventStream }),
  HttpApiEndpoint.get("silent", "/v1/silent-events", { success: ServerSentEvents.EventStream }),
)

export const api = contract(HttpApi.make("test").add(guarded, open))

/** Opened when the slow route was entered, so that tests need not guess. */
export class Progress extends Context.Service<
  Progress,
  { entered: number; pulled: number; readonly finish: PromiseWithResolvers<void> }
>()("test/Progress") {
  static readonly layer = Layer.sync(Progress, () => ({
    entered: 0,
    pulled: 0,
    finish: Promise.withResolvers<void>(),
  }))
}

/** What was logged: causes must be here, with the trace id, and nowhere else. */
export class Logs extends Context.Service<Logs, Array<string>>()("test/Logs") {
  static readonly layer = Layer.sync(Logs, () => [])
}

const collecting = Layer.effectContext(
  Effect.gen(function* () {
    const lines = yield* Logs
    const logger = Logger.make(({ cause, fiber, message }) => {
      lines.push(
        [JSON.stringify(message), Cause.pretty(cause), fiber.getRef(CurrentRequest)?.traceId].join("\n"),
      )
    })
    return yield* Layer.build(Logger.layer([logger]))
  }),
)

const guardedHandlers = HttpApiBuilder.group(api, "guarded", (handlers) =>
  handlers.handleAll({
    list: Effect.fnUntraced(function* ({ query, request }) {
      const after = (yield* ItemsCursor.decode(query.cursor))?.position ?? 0
      const rows = Array.from({ length: 45 }, (_, i) => ({ position: i + 1 })).filter(
        (row) => row.position > after,
      )
      return yield* Pagination.page({
        request,
        rows: rows.slice(0, query.limit + 1),
        limit: query.limit,
        cursor: ItemsCursor,
        positionOf: (row) => row,
      })
    }),
    submit: () =>
      Effect.succeed(
        HttpApiSchema.withHeaders({ body: { id: "job_0001" }, headers: { location: "/v1/jobs/job_0001" } }),
      ),
    get: ({ params: { id } }) =>
      Effect.gen(function* () {
        if (id === "job_none") return yield* new JobNotFound({ id })
        if (id === "job_full") return yield* new MailboxFull({})
        const principal = yield* CurrentPrincipal
        return { id, caller: principal.id }
      }).pipe(toProblem),
    events: Effect.fnUntraced(function* ({ request }) {
      const after = (yield* ServerSentEvents.lastEventId(request)) ?? 0
      const events = [1, 2, 3].filter((version) => version > after)
      if (request.headers["accept"] !== "text/event-stream") return events
      return yield* ServerSentEvents.respond(
        Stream.fromIterable(events).pipe(
          Stream.map((version) => ({ id: version, event: "tick", data: { version } })),
        ),
      )
    }),
  }),
)

const openHandlers = HttpApiBuilder.group(
  api,
  "open",
  Effect.fnUntraced(function* (handlers) {
    const progress = yield* Progress
    return handlers.handleAll({
      echo: ({ payload }) => Effect.succeed({ length: payload.text.length }),
      replace: () => Effect.void,
      upload: ({ payload }) =>
        Stream.runFold(
          payload,
          () => 0,
          (bytes, chunk) => bytes + chunk.length,
        ).pipe(Effect.map((bytes) => ({ bytes }))),
      identity: () =>
        Effect.map(CurrentRequest, (identity) => ({
          request_id: identity?.requestId ?? "",
          trace_id: identity?.traceId ?? "",
        })),
      defect: () => Effect.die(new Error("the secret of the database")),
      unencodable: () => Effect.succeed({ n: 1.5 }),
      slow: () =>
        Effect.suspend(() => {
          progress.entered++
          return Effect.as(
            Effect.promise(() => progress.finish.promise),
            "done",
          )
        }),
      never: () =>
        Effect.suspend(() => {
          progress.entered++
          return Effect.never
        }),
      wait: ({ request }) =>
        Effect.succeed(HttpServerResponse.empty({ headers: Prefer.wait(request.headers)?.headers ?? {} })),
      failing: () =>
        ServerSentEvents.respond(
          Stream.concat(
            Stream.succeed({ id: 1, data: "before" }),
            Stream.die(new Error("the secret of the stream")),
          ),
        ),
      endless: () =>
        ServerSentEvents.respond(
          Stream.fromEffectRepeat(
            Effect.sync(() => {
              progress.pulled++
              return { id: progress.pulled, data: "x".repeat(10_000) }
            }),
          ),
        ),
      hurried: ({ request }) =>
        Effect.map(ServerSentEvents.lastEventId(request), (after = 0) => {
          let next = after
          return Stream.fromEffectRepeat(
            Effect.sync(() => {
              progress.pulled++
              return { id: ++next, data: "x".repeat(10_000) }
            }),
          )
        }).pipe(Effect.flatMap((events) => ServerSentEvents.respond(events, { patience: "50 millis" }))),
      rare: () =>
        ServerSentEvents.respond(
          Stream.fromIterable(["early", "late"]).pipe(
            Stream.mapEffect((data) => Effect.delay(Effect.succeed({ data }), "400 millis")),
          ),
          { patience: "200 millis" },
        ),
      silent: () => ServerSentEvents.respond(Stream.never, { heartbeat: "20 millis" }),
    })
  }),
)

const keys: Readonly<Record<string, ReadonlyArray<Scope>>> = {
  reader: ["jobs:read"],
  writer: ["jobs:write"],
  both: ["jobs:read", "jobs:write"],
  admin: ["admin"],
}

const authenticator = Layer.succeed(Authenticator, {
  authenticate: (credential) => {
    const key = Redacted.value(credential)
    if (key === "expired") return Effect.fail(new ExpiredToken({ expiredAt: 0 }))
    if (key === "another") return Effect.fail(new InvalidToken({}))
    if (key === "unavailable") return Effect.fail(new AuthenticatorUnavailable({}))
    const scopes = keys[key]
    return scopes === undefined
      ? Effect.fail(new InvalidApiKey({}))
      : Effect.succeed(
          new Principal({ id: `key_${key}`, kind: "api_key", owner: "user_1", scopes, tier: "free" }),
        )
  },
})

const plainRoutes = Layer.mergeAll(
  HttpRouter.add("GET", "/plain-error", HttpServerResponse.text("nope", { status: 409 })),
  HttpRouter.add(
    "GET",
    "/health-error",
    HttpServerResponse.jsonUnsafe(
      { status: "fail" },
      { status: 503, contentType: "application/health+json" },
    ),
  ),
  HttpRouter.use((router) =>
    router.prefixed("/prefixed").add("DELETE", "/thing/:id", HttpServerResponse.empty()),
  ),
)

const routes = Layer.mergeAll(
  HttpApiBuilder.layer(api).pipe(
    Layer.provide([guardedHandlers, openHandlers]),
    Layer.provide([Authorization.layer, Contract.layer]),
    Layer.provide([authenticator, keyedRecords]),
  ),
  Documentation.layer(api),
  ErrorPages.layer,
  plainRoutes,
)

/** The server on a free loopback port. */
export const layer = (options?: Partial<Server.ServerOptions>) =>
  Server.layer(routes, { host: "127.0.0.1", port: 0, ...options }).pipe(
    Layer.provideMerge(Drain.layer),
    Layer.provideMerge(Progress.layer),
    Layer.provide(Cursor.CursorSecret.layer(Redacted.make("a secret of the tests"))),
    Layer.provide(collecting),
    Layer.provideMerge(Logs.layer),
  )

/** The port of the running server. */
export const port = Effect.map(HttpServer.HttpServer, ({ address }) =>
  "port" in address ? address.port : Option.getOrThrow(Option.none<number>()),
)

/** An answer as tests look at it. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The body as JSON, `{}` when it is none. */
  readonly json: { readonly [member: string]: unknown }
}

/** Calls the running server. */
export const call = Effect.fnUntraced(function* (
  path: string,
  init?: RequestInit & { readonly key?: string },
) {
  const url = `http://127.0.0.1:${yield* port}${path}`
  const headers = new Headers(init?.headers)
  if (init?.key !== undefined) headers.set("authorization", `Bearer ${init.key}`)
  return yield* Effect.promise(async (signal): Promise<Answer> => {
    const response = await fetch(url, { signal, ...init, headers })
    const text = await response.text()
    const isJson = text !== "" && /json/.test(response.headers.get("content-type") ?? "")
    return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : {} }
  })
})

/** Sends JSON. */
export const post = (path: string, body: unknown, init?: RequestInit & { readonly key?: string }) =>
  call(path, {
    method: "POST",
    ...init,
    headers: { "content-type": "application/json", ...init?.headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  })

/** The slug of a problem's type, and that it is one. */
export const slugOf = (answer: Answer): string => {
  const type = String(answer.json["type"])
  if (answer.headers.get("content-type") !== "application/problem+json") return "not a problem"
  if (answer.json["status"] !== answer.status) return "its status differs"
  return type.startsWith("https://api.renderowl.com/errors/")
    ? type.slice(type.lastIndexOf("/") + 1)
    : "another base"
}
