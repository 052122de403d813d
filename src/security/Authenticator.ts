/**
 * The port through which a credential becomes a principal. The domain implements it (keys are looked up by hash, tokens
 * verified); what guards the routes depends only on this.
 */
import { Context, type Effect, type Redacted, Schema } from "effect"
import type { Principal } from "./Principal.ts"

/** The API key is mistyped, unknown, revoked or expired: the caller is not told which. */
export class InvalidApiKey extends Schema.TaggedError<InvalidApiKey>()("InvalidApiKey", {}) {}

/** The token is malformed, wrongly signed, or meant for someone else. */
export class InvalidToken extends Schema.TaggedError<InvalidToken>()("InvalidToken", {}) {}

/** The token was good until `expiredAt` (milliseconds since 1970). */
export class ExpiredToken extends Schema.TaggedError<ExpiredToken>()("ExpiredToken", {
  expiredAt: Schema.Finite,
}) {}

/** Nobody can be recognised right now: the store of keys does not answer. */
export class AuthenticatorUnavailable extends Schema.TaggedError<AuthenticatorUnavailable>()(
  "AuthenticatorUnavailable",
  {},
) {}

export type AuthenticationError = InvalidApiKey | InvalidToken | ExpiredToken | AuthenticatorUnavailable

export class Authenticator extends Context.Service<
  Authenticator,
  {
    /** Recognises the caller behind an API key or a token. Constant-time where it compares secrets. */
    readonly authenticate: (
      credential: Redacted.Redacted<string>,
    ) => Effect.Effect<Principal, AuthenticationError>
  }
>()("renderowl/security/Authenticator") {}
