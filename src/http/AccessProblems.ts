/**
 * Problems of who is calling and what they may do: credentials (401), rights (403) and shares of the service (429).
 */
import { Schema } from "effect"
import { SignatureRefusal } from "../security/WebhookSignature.ts"
import { Problem, RetryAfterSeconds } from "./Problem.ts"

export class UnauthorizedProblem extends Problem<UnauthorizedProblem>()("UnauthorizedProblem", {
  slug: "unauthorized",
  status: 401,
  title: "Credentials are required",
  cause: "The request carries no API key and no token.",
  cure: "Send Authorization: Bearer <key or token>, or X-API-Key: <key>.",
}) {}

export class InvalidTokenProblem extends Problem<InvalidTokenProblem>()("InvalidTokenProblem", {
  slug: "invalid-token",
  status: 401,
  title: "The token is not valid",
  cause: "The JWT is malformed, wrongly signed, or meant for another service.",
  cure: "Get a new token from the issuer.",
}) {}

export class ExpiredTokenProblem extends Problem<ExpiredTokenProblem>()("ExpiredTokenProblem", {
  slug: "expired-token",
  status: 401,
  title: "The token has expired",
  cause: "The JWT was valid, but no longer is.",
  cure: "Get a new token from the issuer.",
}) {}

export class InvalidApiKeyProblem extends Problem<InvalidApiKeyProblem>()("InvalidApiKeyProblem", {
  slug: "invalid-api-key",
  status: 401,
  title: "The API key is not valid",
  cause: "The key is mistyped, unknown, revoked or expired.",
  cure: "Check that the whole key was copied, or create a new one.",
}) {}

/** Why a signed message is not believed, for programs: `replayed` is one that has arrived before, as a retry does. */
const SignatureFault = Schema.Literals([...SignatureRefusal.literals, "replayed"])

export class InvalidSignatureProblem extends Problem<InvalidSignatureProblem>()(
  "InvalidSignatureProblem",
  {
    slug: "invalid-signature",
    status: 401,
    title: "The request signature is not valid",
    cause: "The HMAC does not match, its timestamp is out of tolerance, or it was used before.",
    cure: "Sign id, timestamp and the exact body bytes with the current secret, and check the clock. With the `reason` replayed, nothing is left to do: a request that is meant again has a new id.",
  },
  { reason: SignatureFault },
) {}

export class ForbiddenProblem extends Problem<ForbiddenProblem>()("ForbiddenProblem", {
  slug: "forbidden",
  status: 403,
  title: "Not allowed",
  cause: "The caller is known but may not do this.",
  cure: "Use another account, or ask its owner for access.",
}) {}

export class InsufficientScopeProblem extends Problem<InsufficientScopeProblem>()(
  "InsufficientScopeProblem",
  {
    slug: "insufficient-scope",
    status: 403,
    title: "The credentials lack a scope",
    cause: "The route requires scopes that this key or token does not hold.",
    cure: "Use a key that holds `required_scopes`.",
  },
  { required_scopes: Schema.Array(Schema.String), your_scopes: Schema.Array(Schema.String) },
) {}

export class IpRestrictedProblem extends Problem<IpRestrictedProblem>()("IpRestrictedProblem", {
  slug: "ip-restricted",
  status: 403,
  title: "This address may not use the key",
  cause: "The key is restricted to other network addresses.",
  cure: "Call from an allowed address, or change the key's list.",
}) {}

export class OriginRestrictedProblem extends Problem<OriginRestrictedProblem>()("OriginRestrictedProblem", {
  slug: "origin-restricted",
  status: 403,
  title: "This origin may not use the key",
  cause: "The key is restricted to other web origins.",
  cure: "Call from an allowed origin, or change the key's list.",
}) {}

export class UrlNotAllowedProblem extends Problem<UrlNotAllowedProblem>()("UrlNotAllowedProblem", {
  slug: "url-not-allowed",
  status: 403,
  title: "RenderOwl does not call that URL",
  cause: "The URL points to a private, local or otherwise special address, or has a scheme other than https.",
  cure: "Use a URL that is reachable on the public internet.",
}) {}

export class RateLimitExceededProblem extends Problem<RateLimitExceededProblem>()(
  "RateLimitExceededProblem",
  {
    slug: "rate-limit-exceeded",
    status: 429,
    title: "Too many requests",
    cause: "The caller has used up its share for now.",
    cure: "Wait for `retry_after` seconds, and spread requests out.",
  },
  {
    retry_after: RetryAfterSeconds,
    limit: Schema.Int,
    remaining: Schema.Int,
    reset_at: Schema.String,
  },
) {}
