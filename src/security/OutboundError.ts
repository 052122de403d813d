/**
 * Why a request to a URL from outside was not answered. One error with a reason each; no message tells what a name resolves
 * to, so that an answer to a caller cannot be used to look around in a network.
 */
import { Schema } from "effect"
import { UrlRefused } from "./OutboundUrl.ts"

/** The name of the host has no addresses, or nobody could say. */
export class HostUnresolved extends Schema.TaggedError<HostUnresolved>()("HostUnresolved", {
  host: Schema.String,
  /** How the lookup failed, as `Dns.DnsError` puts it. */
  failure: Schema.String,
  temporary: Schema.Boolean,
}) {
  override get message(): string {
    return `the host ${this.host} cannot be resolved`
  }
}

/** The name has an address that must not be reached. The address is for logs, not for the caller. */
export class AddressRefused extends Schema.TaggedError<AddressRefused>()("AddressRefused", {
  host: Schema.String,
  address: Schema.String,
  purpose: Schema.String,
}) {
  override get message(): string {
    return `the host ${this.host} does not resolve to public addresses alone`
  }
}

/** No connection: nobody answers at the address, or the certificate does not hold. */
export class NotConnected extends Schema.TaggedError<NotConnected>()("NotConnected", {
  code: Schema.String,
  /** The connection was there, and TLS failed on it. */
  tls: Schema.Boolean,
}) {
  override get message(): string {
    return this.tls ? `no TLS with the host (${this.code})` : `no connection to the host (${this.code})`
  }
}

/** It took too long. */
export class TooSlow extends Schema.TaggedError<TooSlow>()("TooSlow", {
  phase: Schema.Literals(["connect", "total"]),
  limit_ms: Schema.Finite,
}) {
  override get message(): string {
    return this.phase === "connect"
      ? `no connection within ${this.limit_ms} ms`
      : `not answered in full within ${this.limit_ms} ms`
  }
}

/** Too many redirects, or going in circles. */
export class TooManyRedirects extends Schema.TaggedError<TooManyRedirects>()("TooManyRedirects", {
  redirects_max: Schema.Int,
}) {
  override get message(): string {
    return `more than ${this.redirects_max} redirects`
  }
}

/** The answer has more header or body than is read. */
export class AnswerTooLarge extends Schema.TaggedError<AnswerTooLarge>()("AnswerTooLarge", {
  part: Schema.Literals(["headers", "body"]),
  bytes_max: Schema.Int,
}) {
  override get message(): string {
    return `the answer has more than ${this.bytes_max} bytes of ${this.part}`
  }
}

/** The answer broke off, or is not HTTP/1.1. */
export class AnswerBroken extends Schema.TaggedError<AnswerBroken>()("AnswerBroken", {
  code: Schema.String,
}) {
  override get message(): string {
    return `the answer broke off or cannot be read (${this.code})`
  }
}

/** The request itself cannot be sent: its method or a header is not one to be chosen. */
export class RequestRefused extends Schema.TaggedError<RequestRefused>()("RequestRefused", {
  detail: Schema.String,
}) {
  override get message(): string {
    return this.detail
  }
}

export const Reason = Schema.Union([
  UrlRefused,
  HostUnresolved,
  AddressRefused,
  NotConnected,
  TooSlow,
  TooManyRedirects,
  AnswerTooLarge,
  AnswerBroken,
  RequestRefused,
])
export type Reason = typeof Reason.Type

export class OutboundError extends Schema.TaggedError<OutboundError>()("OutboundError", {
  reason: Reason,
  /** How many redirects had been followed when it happened. */
  redirects: Schema.Int,
}) {
  override readonly cause = this.reason

  override get message(): string {
    return this.redirects === 0
      ? this.reason.message
      : `after ${this.redirects} redirects: ${this.reason.message}`
  }

  /** The same request may succeed later; false where it would be refused again. */
  get isRetryable(): boolean {
    switch (this.reason._tag) {
      case "NotConnected":
      case "TooSlow":
      case "AnswerBroken":
        return true
      case "HostUnresolved":
        return this.reason.temporary
      default:
        return false
    }
  }
}
