/**
 * Problems with the request itself, before any resource is looked at: its syntax, fields, size, method, media types and
 * preconditions. Statuses as in RFC 9110 and RFC 6585.
 */
import { Schema } from "effect"
import { FieldErrors } from "./FieldError.ts"
import { Problem } from "./Problem.ts"

export class ValidationFailedProblem extends Problem<ValidationFailedProblem>()(
  "ValidationFailedProblem",
  {
    slug: "validation-failed",
    status: 400,
    title: "The request is not valid",
    cause: "One or more fields of the body, the query or the headers do not follow the contract.",
    cure: "Correct every entry of `errors`; `field` is its path, `code` is stable, `message` is for people.",
  },
  { errors: FieldErrors },
) {}

export class InvalidRequestProblem extends Problem<InvalidRequestProblem>()("InvalidRequestProblem", {
  slug: "invalid-request",
  status: 400,
  title: "The request cannot be understood",
  cause: "A part of the request outside its fields is wrong: the framing, a header, or a cursor.",
  cure: "Read `detail`; start lists again without `cursor`.",
}) {}

export class InvalidIdProblem extends Problem<InvalidIdProblem>()(
  "InvalidIdProblem",
  {
    slug: "invalid-id",
    status: 400,
    title: "The id is not well formed",
    cause: "A path segment cannot be the id or name of a resource, so nothing was looked up.",
    cure: "Use ids as RenderOwl returned them: a prefix and 26 characters, like job_01k8w3e5r7fm2vx9q4ztd6yhbn.",
  },
  { errors: FieldErrors },
) {}

export class MalformedJsonProblem extends Problem<MalformedJsonProblem>()("MalformedJsonProblem", {
  slug: "malformed-json",
  status: 400,
  title: "The body is not JSON",
  cause: "The body cannot be parsed as JSON (RFC 8259).",
  cure: "Check the body with a JSON parser; common faults are trailing commas and single quotes.",
}) {}

export class MissingFieldProblem extends Problem<MissingFieldProblem>()(
  "MissingFieldProblem",
  {
    slug: "missing-field",
    status: 400,
    title: "A required field is missing",
    cause: "A field or header that this request cannot do without is absent.",
    cure: "Send the one named in `field`.",
  },
  { field: Schema.String },
) {}

export class InvalidFieldProblem extends Problem<InvalidFieldProblem>()(
  "InvalidFieldProblem",
  {
    slug: "invalid-field",
    status: 400,
    title: "A field has a value that cannot be used",
    cause: "A field is well formed but makes no sense here, for instance a date in the wrong order.",
    cure: "Change the one named in `field`.",
  },
  { field: Schema.String },
) {}

export class UnsupportedVersionProblem extends Problem<UnsupportedVersionProblem>()(
  "UnsupportedVersionProblem",
  {
    slug: "unsupported-version",
    status: 400,
    title: "This API version does not exist",
    cause: "The path, Accept, API-Version or api_version names a version that is not served.",
    cure: "Use one of `supported_versions`.",
  },
  { supported_versions: Schema.Array(Schema.String) },
) {}

export class NotFoundProblem extends Problem<NotFoundProblem>()("NotFoundProblem", {
  slug: "not-found",
  status: 404,
  title: "Nothing is here",
  cause: "No route has this path, or what it names does not exist.",
  cure: "Compare the path with /openapi.json.",
}) {}

export class MethodNotAllowedProblem extends Problem<MethodNotAllowedProblem>()(
  "MethodNotAllowedProblem",
  {
    slug: "method-not-allowed",
    status: 405,
    title: "This path does not take that method",
    cause: "The path exists, but not for the method of the request.",
    cure: "Use one of `allowed_methods`, also listed in the Allow header.",
  },
  { allowed_methods: Schema.Array(Schema.String) },
) {}

export class NotAcceptableProblem extends Problem<NotAcceptableProblem>()(
  "NotAcceptableProblem",
  {
    slug: "not-acceptable",
    status: 406,
    title: "No acceptable representation",
    cause: "The Accept header excludes every media type that this route can produce.",
    cure: "Accept one of `available_types`, or leave the header out.",
  },
  { available_types: Schema.Array(Schema.String) },
) {}

export class RequestTimeoutProblem extends Problem<RequestTimeoutProblem>()("RequestTimeoutProblem", {
  slug: "request-timeout",
  status: 408,
  title: "The request took too long to arrive",
  cause: "The headers or the body were not received in time.",
  cure: "Send the request again over a steadier connection.",
}) {}

export class PreconditionFailedProblem extends Problem<PreconditionFailedProblem>()(
  "PreconditionFailedProblem",
  {
    slug: "precondition-failed",
    status: 412,
    title: "The resource has changed",
    cause: "The resource is no longer in the state that If-Match or If-Unmodified-Since asked for.",
    cure: "Fetch it again, apply the change to what it is now, and send the new ETag.",
  },
  { current_etag: Schema.optionalKey(Schema.String) },
) {}

export class PayloadTooLargeProblem extends Problem<PayloadTooLargeProblem>()(
  "PayloadTooLargeProblem",
  {
    slug: "payload-too-large",
    status: 413,
    title: "The body is too large",
    cause: "The body has more bytes than this route accepts.",
    cure: "Send less than `limit_bytes`; large files belong to the upload routes.",
  },
  { limit_bytes: Schema.optionalKey(Schema.Int) },
) {}

export class UriTooLongProblem extends Problem<UriTooLongProblem>()(
  "UriTooLongProblem",
  {
    slug: "uri-too-long",
    status: 414,
    title: "The URL is too long",
    cause: "The path and query have more characters than are accepted.",
    cure: "Keep the URL within `limit_characters`; long filters belong in a body.",
  },
  { limit_characters: Schema.optionalKey(Schema.Int) },
) {}

export class UnsupportedMediaTypeProblem extends Problem<UnsupportedMediaTypeProblem>()(
  "UnsupportedMediaTypeProblem",
  {
    slug: "unsupported-media-type",
    status: 415,
    title: "The body has a type that is not accepted",
    cause: "Content-Type is missing or not one that this route reads, or the body has a Content-Encoding.",
    cure: "Say what the body is, usually Content-Type: application/json, and do not compress it.",
  },
) {}

export class ExpectationFailedProblem extends Problem<ExpectationFailedProblem>()(
  "ExpectationFailedProblem",
  {
    slug: "expectation-failed",
    status: 417,
    title: "The expectation cannot be met",
    cause: "The Expect header asks for something other than 100-continue.",
    cure: "Leave the header out.",
  },
) {}

export class PreconditionRequiredProblem extends Problem<PreconditionRequiredProblem>()(
  "PreconditionRequiredProblem",
  {
    slug: "precondition-required",
    status: 428,
    title: "The change must be conditional",
    cause: "This route changes a resource only when the caller says which state it has seen.",
    cure: "Send If-Match with the ETag of the resource.",
  },
) {}

export class HeadersTooLargeProblem extends Problem<HeadersTooLargeProblem>()(
  "HeadersTooLargeProblem",
  {
    slug: "headers-too-large",
    status: 431,
    title: "The headers are too large",
    cause: "The request line and headers together have more bytes than are accepted.",
    cure: "Send less than `limit_bytes`; cookies are the usual reason.",
  },
  { limit_bytes: Schema.optionalKey(Schema.Int) },
) {}
