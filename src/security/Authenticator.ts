/**
 * The port through which a credential becomes a principal. The domain implements it (keys are looked up by hash, tokens
 * verified); what guards the routes depends only on this.
 */
import { Context, type Effect, Exit, type Redacted, Schema } from "effect"
import type { Principal } from "./Principal.ts"

/** The API key is mistyped, unknown, revoked or expired: the caller is not told which. */
export class InvalidApiKey extends Schema.TaggedError<InvalidApiKey>()("InvalidApiKey", {}) {}

/** The token is malformed, wrongly signed, or meant for someone else. */
export class InvalidToken extends Schema.TaggedError<InvalidToken>()("InvalidToken", {}) {}

/** The token was good until `expiredAt` (milliseconds since 1970). */
export class ExpiredToken extends Schema.TaggedError<ExpiredToken>()("ExpiredToken", {
  expiredAt: Schema.Finite,
}) {}

/** The key is good, and not to be used from this network address. */
export class IpRestricted extends Schema.TaggedError<IpRestricted>()("IpRestricted", {}) {}

/** The key is good, and not to be used by this web origin, or by none. */
export class OriginRestricted extends Schema.TaggedError<OriginRestricted>()("OriginRestricted", {}) {}

/** Nobody can be recognised right now: the store of keys, or the issuer of tokens, does not answer. */
export class AuthenticatorUnavailable extends Schema.TaggedError<AuthenticatorUnavailable>()(
  "AuthenticatorUnavailable",
  {},
) {}

export type AuthenticationError =
  | InvalidApiKey
  | InvalidToken
  | ExpiredToken
  | IpRestricted
  | OriginRestricted
  | AuthenticatorUnavailable

/** What is known of the request that carries a credential. */
export interface Presentation {
  /** Milliseconds since 1970. */
  readonly now: number
  /** The network address of the client. */
  readonly address: string | undefined
  /** What the browser says about the page that sent the request. */
  readonly origin: string | undefined
}

export class Authenticator extends Context.Service<
  Authenticator,
  {
    /**
     * Recognises the caller behind an API key or a token. Constant-time where it compares secrets. A key that was
     * recognised before is answered with an effect that is done already.
     */
    readonly authenticate: (
      credential: Redacted.Redacted<string>,
      presentation: Presentation,
    ) => Effect.Effect<Principal, AuthenticationError>
  }
>()("renderowl/security/Authenticator") {}

/** The caller, if telling who that is takes nothing any more: see {@link Authenticator}. */
export const recognisedIn = (
  attempt: Effect.Effect<Principal, AuthenticationError>,
): Principal | undefined => (isDone(attempt) && Exit.isSuccess(attempt) ? attempt.value : undefined)

const isDone = <A, E>(effect: Effect.Effect<A, E>): effect is Exit.Exit<A, E> => Exit.isExit(effect)
