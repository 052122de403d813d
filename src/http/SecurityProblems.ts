/**
 * The problem behind each error of `src/security`: who is calling, what is signed, and what this server asks others for. These
 * cases are part of every mapper that an API makes with `ProblemMapper`; what is said of another server never tells more than
 * its name.
 */
import type {
  AuthenticatorUnavailable,
  ExpiredToken,
  InvalidApiKey,
  InvalidToken,
  IpRestricted,
  OriginRestricted,
} from "../security/Authenticator.ts"
import type { OutboundError, Reason } from "../security/OutboundError.ts"
import type { UrlRefused } from "../security/OutboundUrl.ts"
import type { SecretNotStored } from "../security/OwnerOnlyFile.ts"
import type { Replayed, ReplayGuardFull } from "../security/ReplayGuard.ts"
import type { InvalidSecret, SignatureRefused } from "../security/WebhookSignature.ts"
import {
  ExpiredTokenProblem,
  InvalidApiKeyProblem,
  InvalidSignatureProblem,
  InvalidTokenProblem,
  IpRestrictedProblem,
  OriginRestrictedProblem,
  UrlNotAllowedProblem,
} from "./AccessProblems.ts"
import { ValidationFailedProblem } from "./RequestProblems.ts"
import { UnprocessableEntityProblem } from "./ResourceProblems.ts"
import { BadGatewayProblem, GatewayTimeoutProblem, ServiceUnavailableProblem } from "./ServiceProblems.ts"

const outbound = (error: Reason, detail = sentence(error.message)) => {
  switch (error._tag) {
    case "UrlRefused":
    case "AddressRefused":
      return new UrlNotAllowedProblem({ detail })
    case "TooSlow":
      return new GatewayTimeoutProblem({ detail })
    case "RequestRefused":
      return new UnprocessableEntityProblem({ detail })
    case "HostUnresolved":
    case "NotConnected":
    case "TooManyRedirects":
    case "AnswerTooLarge":
    case "AnswerBroken":
      return new BadGatewayProblem({ detail })
  }
}

const sentence = (message: string): string => `${message[0]!.toUpperCase()}${message.slice(1)}.`

/** A case for each error, by its tag. */
export const securityProblems = {
  InvalidApiKey: (_: InvalidApiKey) => new InvalidApiKeyProblem({}),
  InvalidToken: (_: InvalidToken) => new InvalidTokenProblem({}),
  ExpiredToken: ({ expiredAt }: ExpiredToken) =>
    new ExpiredTokenProblem({ detail: `It expired at ${new Date(expiredAt).toISOString()}.` }),
  IpRestricted: (_: IpRestricted) => new IpRestrictedProblem({}),
  OriginRestricted: (_: OriginRestricted) => new OriginRestrictedProblem({}),
  AuthenticatorUnavailable: (_: AuthenticatorUnavailable) => new ServiceUnavailableProblem({}),
  SignatureRefused: ({ message, refusal }: SignatureRefused) =>
    new InvalidSignatureProblem({ detail: sentence(message), reason: refusal }),
  Replayed: ({ id }: Replayed) =>
    new InvalidSignatureProblem({
      detail: `The message ${id} was received before, and is carried out once.`,
      reason: "replayed",
    }),
  ReplayGuardFull: (_: ReplayGuardFull) =>
    new ServiceUnavailableProblem({ detail: "More signed messages arrive than can be remembered." }),
  InvalidSecret: ({ message }: InvalidSecret) =>
    new ValidationFailedProblem({ errors: [{ field: "secret", code: "invalid_format", message }] }),
  SecretNotStored: (_: SecretNotStored) => new ServiceUnavailableProblem({}),
  UrlRefused: (error: UrlRefused) => outbound(error),
  OutboundError: ({ message, reason }: OutboundError) => outbound(reason, sentence(message)),
} as const
