/**
 * The problem behind a failure that reached the edge. What the caller may know becomes a problem of its own; anything
 * else is `internal-error` and `unexpected`, which tells the edge to log the cause under the trace id.
 */
import { Cause, Schema } from "effect"
import { HttpServerError, HttpServerRespondable, HttpServerResponse, Multipart } from "effect/http"
import { HttpApiError } from "effect/http-api"
import { type FieldError, fieldErrors } from "./FieldError.ts"
import { BODY_BYTES_MAX } from "./Limits.ts"
import {
  InvalidIdProblem,
  InvalidRequestProblem,
  MalformedJsonProblem,
  MethodNotAllowedProblem,
  NotFoundProblem,
  PayloadTooLargeProblem,
  ValidationFailedProblem,
} from "./RequestProblems.ts"
import { InternalErrorProblem, ServiceUnavailableProblem } from "./ServiceProblems.ts"

/** How a failure is answered. */
export interface FailureAnswer {
  readonly answer: HttpServerRespondable.Respondable
  /** True when the cause is our fault and belongs in the log. */
  readonly unexpected: boolean
}

/** What of the request a failure's answer depends on. */
export interface FailedRequest {
  readonly hasBody: boolean
  /** The methods of its path, asked for only when no route matched. */
  readonly allowedMethods: () => ReadonlyArray<string>
}

/**
 * Chooses the answer. Interruption alone means that the server is stopping: a client that went away reads nothing anyway.
 */
export const failureAnswer = (cause: Cause.Cause<unknown>, request: FailedRequest): FailureAnswer => {
  let interrupted = false
  let failure: { readonly error: unknown; readonly expected: boolean } | undefined
  for (const reason of cause.reasons) {
    if (reason._tag === "Interrupt") interrupted = true
    else if (reason._tag === "Fail") failure ??= { error: reason.error, expected: true }
    else failure = { error: reason.defect, expected: false }
  }
  if (failure !== undefined) return answerTo(failure.error, failure.expected, request)
  return interrupted
    ? expected(new ServiceUnavailableProblem({ detail: "The server is stopping." }))
    : unexpected()
}

const expected = (answer: HttpServerRespondable.Respondable): FailureAnswer => ({ answer, unexpected: false })
const unexpected = (): FailureAnswer => ({ answer: new InternalErrorProblem({}), unexpected: true })

const answerTo = (error: unknown, isFailure: boolean, request: FailedRequest): FailureAnswer => {
  if (HttpApiError.HttpApiSchemaError.is(error)) return schemaProblem(error.kind, error.cause, request)
  if (HttpApiError.HttpApiPayloadTooLarge.is(error)) return expected(tooLarge(Number(error.size)))
  if (HttpServerError.isHttpServerError(error)) return serverProblem(error, request)
  if (error instanceof Multipart.MultipartError) return multipartProblem(error)
  if (isFailure && Schema.isSchemaError(error)) return schemaProblem("Payload", error, request)
  if (HttpServerResponse.isHttpServerResponse(error)) return expected(respondWith(error))
  if (HttpServerRespondable.isRespondable(error)) return expected(error)
  return unexpected()
}

const respondWith = (response: HttpServerResponse.HttpServerResponse): HttpServerRespondable.Respondable =>
  response as unknown as HttpServerRespondable.Respondable

/** The text by which `HttpApiBuilder` reports a body that `JSON.parse` refused; a test holds it in place. */
const UNPARSABLE_JSON = "Expected a valid JSON body"

const schemaProblem = (
  kind: HttpApiError.HttpApiSchemaError["kind"],
  { issue }: Schema.SchemaError,
  request: FailedRequest,
): FailureAnswer => {
  switch (kind) {
    case "Body":
    case "ResponseHeaders":
      return unexpected()
    case "Params":
      return expected(new InvalidIdProblem({ errors: fieldErrors(issue) }))
    case "Payload":
      if (!request.hasBody) return expected(new ValidationFailedProblem({ errors: [missingBody] }))
      if (issue._tag === "InvalidValue" && issue.annotations?.["message"] === UNPARSABLE_JSON) {
        return expected(new MalformedJsonProblem({}))
      }
      return expected(new ValidationFailedProblem({ errors: fieldErrors(issue) }))
    default:
      return expected(new ValidationFailedProblem({ errors: fieldErrors(issue) }))
  }
}

const missingBody: FieldError = { field: "", code: "missing", message: "a body is required" }

const serverProblem = (
  error: HttpServerError.HttpServerError,
  { allowedMethods }: FailedRequest,
): FailureAnswer => {
  switch (error.reason._tag) {
    case "RouteNotFound":
      return expected(unrouted(error.reason.request.method, allowedMethods()))
    case "RequestParseError":
      return expected(
        error.reason.reason === "BodyTooLarge"
          ? tooLarge(BODY_BYTES_MAX)
          : new InvalidRequestProblem({ detail: "The body could not be read." }),
      )
    default:
      return unexpected()
  }
}

/** No route has the path, or not for the method; `OPTIONS` asks for just that (RFC 9110 §9.3.7) and is answered. */
const unrouted = (method: string, allowed: ReadonlyArray<string>): HttpServerRespondable.Respondable => {
  if (allowed.length === 0) return new NotFoundProblem({ detail: "No route has this path." })
  if (method === "OPTIONS") {
    return respondWith(HttpServerResponse.empty({ headers: { allow: allowed.join(", ") } }))
  }
  return new MethodNotAllowedProblem({ detail: `${method} is not supported here.`, allowed_methods: allowed })
}

const multipartProblem = (error: Multipart.MultipartError): FailureAnswer => {
  switch (error.reason._tag) {
    case "InternalError":
      return unexpected()
    case "Parse":
      return expected(new InvalidRequestProblem({ detail: "The multipart body could not be read." }))
    default:
      return expected(
        new PayloadTooLargeProblem({ detail: "A part of the multipart body exceeds its limit." }),
      )
  }
}

const tooLarge = (limit: number): PayloadTooLargeProblem => new PayloadTooLargeProblem({ limit_bytes: limit })
