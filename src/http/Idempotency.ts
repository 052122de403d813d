/**
 * `Idempotency-Key` on every route that changes something: the same request comes again and is answered with the first answer,
 * another request with the key is refused, and so is one while the first still runs. What was interrupted before it was
 * answered is carried out again, and recalls from the journal what it had done already (`Recall.ts`).
 *
 * The contract puts it around the handler itself, inside of all other middlewares: what they refuse has not been carried out,
 * and is not kept.
 *
 * @source https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/07/
 */
import { hash } from "node:crypto"
import { Clock, Context, Effect, Exit, Fiber, Layer, type Types } from "effect"
import { HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "effect/http"
import { type HttpApi, type HttpApiEndpoint, type HttpApiGroup, HttpApiMiddleware } from "effect/http-api"
import { KeyedRequest, keyHash, type KeyScope } from "../security/KeyedRequest.ts"
import { CurrentPrincipal } from "../security/Principal.ts"
import { IdempotencyRecords } from "./IdempotencyRecords.ts"
import { decodeAnswer, encodeAnswer } from "./KeptAnswer.ts"
import { ValidationFailedProblem } from "./RequestProblems.ts"
import { IdempotencyInProgressProblem, IdempotencyKeyReusedProblem } from "./ResourceProblems.ts"
import { withHeaders } from "./ResponseHeaders.ts"
import { ServiceUnavailableProblem } from "./ServiceProblems.ts"

type Response = HttpServerResponse.HttpServerResponse
type Request = HttpServerRequest.HttpServerRequest

type Refusal =
  | ValidationFailedProblem
  | IdempotencyInProgressProblem
  | IdempotencyKeyReusedProblem
  | ServiceUnavailableProblem

export const KEY_CHARACTERS_MAX = 255
/** How long a key counts. */
export const KEY_LIFETIME_MS = 24 * 3_600_000
/** Keyed requests under way at a time, those whose callers have gone as well. Beyond, 503. */
const RUNNING_MAX = 2_000
/**
 * Refusals that are the answer to the request, and stay so. Not among them is what may be different in a moment (401, 403, 429,
 * 5xx) or is about the request's form (400): then nothing was done, and the key is free.
 */
const KEPT_REFUSALS: ReadonlySet<number> = new Set([404, 409, 410, 412, 422])

/** Several answers in one. Each is kept for its own request, and the whole is made again of what they are by then. */
const MULTI_STATUS = 207

/** The middleware: see {@link withIdempotency}. */
export class Idempotency extends HttpApiMiddleware.Service<Idempotency>()("renderowl/http/Idempotency", {
  error: [
    ValidationFailedProblem,
    IdempotencyInProgressProblem,
    IdempotencyKeyReusedProblem,
    ServiceUnavailableProblem,
  ],
}) {
  static readonly layer = Layer.effect(
    Idempotency,
    Effect.map(IdempotencyRecords, (records) => {
      const { running } = records
      /** Carries the request out, and keeps its answer before anybody gets it. */
      const carryOut = <E, R>(
        handler: Effect.Effect<Response, E, R>,
        request: KeyedRequest,
        isAgain: boolean,
      ) =>
        Effect.gen(function* () {
          records.begin(request)
          const exit = yield* Effect.exit(request.carryOut(handler))
          const response = yield* responseOf(exit)
          if (response === undefined || !isKept(response.status)) return yield* exit
          const answer = response.status === MULTI_STATUS ? null : encodeAnswer(response)
          yield* records.keep(request, answer === null ? null : request.sealAnswer(answer))
          return isAgain ? replayed(response) : yield* exit
        }).pipe(Effect.ensuring(Effect.sync(() => records.end(request))))

      /** The answer to the request: kept, or made. The key is marked as running by then. */
      const answer = Effect.fnUntraced(function* <E, R>(
        handler: Effect.Effect<Response, E, R>,
        text: string,
        key: Uint8Array,
        fingerprint: Uint8Array,
      ) {
        const now = yield* Clock.currentTimeMillis
        const kept = yield* Effect.catchTag(
          records.find(key, now - KEY_LIFETIME_MS),
          "RecordsUnavailable",
          (error) =>
            Effect.andThen(
              Effect.logError("the keys of requests cannot be looked up", error),
              Effect.fail(new ServiceUnavailableProblem({ detail: "The store cannot be read right now." })),
            ),
        )
        if (kept === undefined) {
          return yield* carryOut(
            handler,
            KeyedRequest.first({ text, key, fingerprint, startedAt: now }),
            false,
          )
        }
        if (!isSame(kept.fingerprint, fingerprint)) return yield* new IdempotencyKeyReusedProblem({})
        const { sealed } = kept
        if (sealed._tag === "Answer")
          return replayed(decodeAnswer(KeyedRequest.openAnswer(text, kept, sealed.answer)))
        return yield* carryOut(handler, KeyedRequest.again(text, key, kept, sealed.seed), true)
      })

      const keyed = <E, R>(
        handler: Effect.Effect<Response, E, R>,
        text: string,
        scope: KeyScope,
        fingerprint: Uint8Array,
      ) =>
        Effect.uninterruptibleMask((restore): Effect.Effect<Response, E | Refusal, R> => {
          const key = keyHash(scope, text)
          const name = Buffer.from(key).toString("base64url")
          const other = running.get(name)
          if (other !== undefined) return Effect.fail(refusalOf(other, fingerprint))
          if (running.size >= RUNNING_MAX)
            return Effect.fail(
              new ServiceUnavailableProblem({ detail: "Too many requests with keys at a time." }),
            )
          running.set(name, fingerprint)
          const work = Effect.ensuring(
            restore(answer(handler, text, key, fingerprint)),
            Effect.sync(() => running.delete(name)),
          )
          // Once begun it goes on, also when the client hangs up: what it has under way would come about all the same.
          return Effect.flatMap(records.fork(work), (fiber) => restore(Fiber.join(fiber)))
        })

      return (handler, { endpoint }) => {
        const readsBody = [...endpoint.payload.values()].every(({ encoding }) => isBuffered(encoding._tag))
        return Effect.withFiber((fiber): Effect.Effect<Response, Types.unhandled | Refusal> => {
          const request = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)
          const text = request.headers["idempotency-key"]
          if (text === undefined) return handler
          if (text.length === 0 || text.length > KEY_CHARACTERS_MAX) return Effect.fail(wrongLength())
          const principal = Context.getOrUndefined(
            fiber.context as Context.Context<CurrentPrincipal>,
            CurrentPrincipal,
          )
          const { path, query } = splitUrl(request.url)
          const scope = { principal: principal?.id ?? "", method: request.method, path }
          // A body that cannot be read or is too large is no matter of keys: as a defect it passes by what the contract
          // declares, and the edge answers it with its own problem (FailureProblem.ts).
          return Effect.flatMap(readsBody ? Effect.orDie(request.text) : Effect.succeed(""), (body) =>
            keyed(handler, text, scope, fingerprintOf(request, query, body)),
          )
        })
      }
    }),
  )
}

/** What must be the same for a request to be the same: its query, what it is conditional on, and its body. */
const fingerprintOf = ({ headers }: Request, query: string, body: string): Uint8Array =>
  hash(
    "sha256",
    JSON.stringify([query, headers["if-match"] ?? "", headers["content-type"] ?? "", body]),
    "buffer",
  )

const splitUrl = (url: string): { readonly path: string; readonly query: string } => {
  const end = url.indexOf("?")
  return end === -1 ? { path: url, query: "" } : { path: url.slice(0, end), query: url.slice(end + 1) }
}

/** A body that comes as a stream is its handler's alone to read. */
const isBuffered = (encoding: string): boolean => encoding !== "Stream" && encoding !== "Multipart"

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

const refusalOf = (running: Uint8Array, fingerprint: Uint8Array) =>
  isSame(running, fingerprint) ? new IdempotencyInProgressProblem({}) : new IdempotencyKeyReusedProblem({})

const wrongLength = () =>
  new ValidationFailedProblem({
    errors: [
      {
        field: "Idempotency-Key",
        code: "invalid_length",
        message: `must have 1 to ${KEY_CHARACTERS_MAX} characters`,
      },
    ],
  })

/** What the caller is answered, as far as that is known here: a defect and what the contract makes of it is not. */
const responseOf = (exit: Exit.Exit<Response, unknown>): Effect.Effect<Response | undefined> => {
  if (Exit.isSuccess(exit)) return Effect.succeed(exit.value)
  const [reason, ...others] = exit.cause.reasons
  return reason?._tag === "Fail" && others.length === 0 && HttpServerRespondable.isRespondable(reason.error)
    ? HttpServerRespondable.toResponse(reason.error)
    : Effect.succeed(undefined)
}

const isKept = (status: number): boolean => status < 400 || KEPT_REFUSALS.has(status)

const replayed = (response: Response): Response =>
  withHeaders(response, { ...response.headers, "idempotency-replayed": "true" })

const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE"])

/** Whether an endpoint changes something (RFC 9110 §9.2.1), and so takes the header. */
export const takesKey = ({ method }: HttpApiEndpoint.Top): boolean => !SAFE_METHODS.has(method)

/**
 * The API with {@link Idempotency} around the handler of every endpoint that changes something. It goes by the types as if all
 * endpoints had it.
 */
export const withIdempotency = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
) => {
  // Middlewares are applied in their order, and a new one comes last and outermost: these copies get another order.
  const copy = api.middleware(Idempotency)
  for (const { endpoints } of Object.values(copy.groups as unknown as Record<string, HttpApiGroup.Top>)) {
    for (const endpoint of Object.values(endpoints) as Array<HttpApiEndpoint.Top>) {
      const middlewares = endpoint.middlewares as Set<unknown>
      middlewares.delete(Idempotency)
      const others = [...middlewares]
      middlewares.clear()
      if (takesKey(endpoint)) middlewares.add(Idempotency)
      for (const other of others) middlewares.add(other)
    }
  }
  return copy
}
