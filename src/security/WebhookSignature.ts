/**
 * Signed messages over HTTP by Standard Webhooks 1.0.0: HMAC-SHA256 over `id.timestamp.body`, in the headers `webhook-id`,
 * `webhook-timestamp` (seconds) and `webhook-signature` (`v1,<base64>`, several with spaces between). Several secrets may be
 * good at a time, so that they can be changed. Nothing is believed before a signature fits: the body is bytes until then.
 *
 * @source https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { timingSafeEqual } from "node:crypto"
import { Clock, Context, Effect, Layer, Redacted, Result, Schema } from "effect"
import { Mac } from "effect/crypto"
import { Base64 } from "effect/encoding"
import { ReplayGuard, type ReplayGuardFull, type Replayed } from "./ReplayGuard.ts"

const SECRET_MARK = "whsec_"
export const SECRET_BYTES_MIN = 24
export const SECRET_BYTES_MAX = 64
/** How far a timestamp may be from the time here, in either direction. */
export const TOLERANCE_SECONDS = 5 * 60
const ID_CHARACTERS_MAX = 128
/** A sender that changes its secret sends two. */
const SIGNATURES_MAX = 16
const SIGNATURE_HEADER_CHARACTERS_MAX = 2_048

/** No dot: it separates the id from the timestamp in what is signed, and another cut must not give the same text. */
const ID = new RegExp(`^[!-\\-/-~]{1,${ID_CHARACTERS_MAX}}$`)
/** Seconds since 1970, written in the one way that the signature is over. */
const TIMESTAMP = /^(?:0|[1-9][0-9]{0,11})$/
const SIGNATURE = /^v1,[A-Za-z0-9+/]{43}=$/
const ANY_SIGNATURE = /^v[0-9]+[a-z]*,[A-Za-z0-9+/=_-]+$/

/** A secret that signs; it does not print itself. */
export type WebhookSecret = Mac.Key

/** The text is not `whsec_` and 24 to 64 bytes in base64. */
export class InvalidSecret extends Schema.TaggedError<InvalidSecret>()("InvalidSecret", {}) {
  override get message(): string {
    return `a webhook secret is ${SECRET_MARK} and ${SECRET_BYTES_MIN} to ${SECRET_BYTES_MAX} bytes in base64`
  }
}

/** Why a message is not believed. */
export const SignatureRefusal = Schema.Literals([
  "missing_header",
  "malformed_id",
  "malformed_timestamp",
  "malformed_signature",
  "too_old",
  "too_new",
  "no_match",
])

/** The message is not from one of the senders, or not from now. */
export class SignatureRefused extends Schema.TaggedError<SignatureRefused>()("SignatureRefused", {
  refusal: SignatureRefusal,
  detail: Schema.String,
}) {
  override get message(): string {
    return this.detail
  }
}

export interface UnsignedMessage {
  /** The same for every try to deliver the message: printable ASCII without spaces and dots. */
  readonly id: string
  /** Seconds since 1970: of this try. */
  readonly timestamp: number
  readonly body: Uint8Array | string
}

export interface SignedMessage {
  readonly headers: Readonly<Record<string, string | undefined>>
  /** The body as it came, before anything was parsed. */
  readonly body: Uint8Array | string
}

export interface VerifiedMessage {
  readonly id: string
  readonly timestamp: number
}

/** The secret in its text form. */
export const secret = (text: Redacted.Redacted<string>): Effect.Effect<WebhookSecret, InvalidSecret> => {
  const value = Redacted.value(text)
  const bytes = value.startsWith(SECRET_MARK) ? Base64.decode(value.slice(SECRET_MARK.length)) : undefined
  if (bytes === undefined || Result.isFailure(bytes)) return Effect.fail(new InvalidSecret())
  const { length } = bytes.success
  return length < SECRET_BYTES_MIN || length > SECRET_BYTES_MAX
    ? Effect.fail(new InvalidSecret())
    : Effect.orDie(Mac.key(Mac.hmacSha256, bytes.success))
}

/** A secret's text form from random bytes of the system, at least {@link SECRET_BYTES_MIN}. */
export const secretText = (random: Uint8Array): Redacted.Redacted<string> => {
  if (random.length < SECRET_BYTES_MIN || random.length > SECRET_BYTES_MAX) {
    throw new RangeError(`a webhook secret has ${SECRET_BYTES_MIN} to ${SECRET_BYTES_MAX} bytes`)
  }
  return Redacted.make(SECRET_MARK + Base64.encode(random))
}

export class WebhookSignature extends Context.Service<
  WebhookSignature,
  {
    /** The three headers, with one signature for each secret. */
    readonly sign: (
      message: UnsignedMessage,
      secrets: readonly [WebhookSecret, ...ReadonlyArray<WebhookSecret>],
    ) => Effect.Effect<Record<"webhook-id" | "webhook-timestamp" | "webhook-signature", string>>
    /** Whether one of the secrets signed the message, within the tolerance of now. */
    readonly verify: (
      message: SignedMessage,
      secrets: ReadonlyArray<WebhookSecret>,
    ) => Effect.Effect<VerifiedMessage, SignatureRefused>
    /**
     * Verifies, and hands over a message that was not accepted before. `sender` keeps the ids of senders apart. What the
     * handler fails with is the sender's to try again.
     */
    readonly receive: <A, E, R>(
      message: SignedMessage,
      secrets: ReadonlyArray<WebhookSecret>,
      sender: string,
      handle: (message: VerifiedMessage) => Effect.Effect<A, E, R>,
    ) => Effect.Effect<A, E | SignatureRefused | Replayed | ReplayGuardFull, R>
  }
>()("renderowl/security/WebhookSignature") {
  static readonly layer: Layer.Layer<WebhookSignature, never, Mac.Mac | ReplayGuard> = Layer.effect(
    WebhookSignature,
    Effect.gen(function* () {
      const mac = yield* Mac.Mac
      const guard = yield* ReplayGuard

      const signature = (content: Uint8Array, key: WebhookSecret) =>
        // Only a key that is none can fail here, and those do not come to be.
        Effect.map(Effect.orDie(mac.sign(key, content)), (tag) => `v1,${Base64.encode(tag)}`)

      const verify = Effect.fnUntraced(function* (
        message: SignedMessage,
        secrets: ReadonlyArray<WebhookSecret>,
      ) {
        const { id, signatures, timestamp } = yield* Effect.fromResult(claimsOf(message.headers))
        const now = Math.floor((yield* Clock.currentTimeMillis) / 1_000)
        if (timestamp < now - TOLERANCE_SECONDS)
          return yield* refusal("too_old", "the timestamp is too long ago")
        if (timestamp > now + TOLERANCE_SECONDS)
          return yield* refusal("too_new", "the timestamp is in the future")
        const content = contentOf(id, timestamp, message.body)
        let matches = 0
        for (const key of secrets) {
          const expected = Buffer.from(yield* signature(content, key))
          // Each is compared with each, whichever fits: how long it takes tells nothing.
          for (const given of signatures) matches |= Number(timingSafeEqual(expected, Buffer.from(given)))
        }
        if (matches === 0) return yield* refusal("no_match", "no signature fits the message")
        return { id, timestamp }
      })

      return WebhookSignature.of({
        sign: Effect.fnUntraced(function* ({ body, id, timestamp }, secrets) {
          if (!ID.test(id) || !TIMESTAMP.test(String(timestamp))) {
            return yield* Effect.die(new RangeError(`the message ${id} of ${timestamp} cannot be signed`))
          }
          const content = contentOf(id, timestamp, body)
          const signatures = yield* Effect.forEach(secrets, (key) => signature(content, key))
          return {
            "webhook-id": id,
            "webhook-timestamp": String(timestamp),
            "webhook-signature": signatures.join(" "),
          }
        }),
        verify,
        receive: (message, secrets, sender, handle) =>
          Effect.flatMap(verify(message, secrets), (verified) =>
            guard.once(
              `${sender}\n${verified.id}`,
              // To the end of the last second in which it would be within tolerance.
              (verified.timestamp + TOLERANCE_SECONDS + 1) * 1_000,
              handle(verified),
            ),
          ),
      })
    }),
  )
}

interface Claims {
  readonly id: string
  readonly timestamp: number
  readonly signatures: ReadonlyArray<string>
}

/** What the headers say, before any of it is believed. */
const claimsOf = (headers: SignedMessage["headers"]): Result.Result<Claims, SignatureRefused> => {
  const { "webhook-id": id, "webhook-signature": signature, "webhook-timestamp": timestamp } = headers
  if (id === undefined || signature === undefined || timestamp === undefined) {
    return Result.fail(
      refusal("missing_header", "webhook-id, webhook-timestamp and webhook-signature are needed"),
    )
  }
  if (!ID.test(id)) {
    return Result.fail(
      refusal("malformed_id", `webhook-id is 1 to ${ID_CHARACTERS_MAX} visible characters without a dot`),
    )
  }
  if (!TIMESTAMP.test(timestamp)) {
    return Result.fail(
      refusal("malformed_timestamp", "webhook-timestamp is a whole number of seconds since 1970"),
    )
  }
  const parts = signature.length > SIGNATURE_HEADER_CHARACTERS_MAX ? [] : signature.split(" ")
  if (
    parts.length > SIGNATURES_MAX ||
    parts.length === 0 ||
    !parts.every((part) => ANY_SIGNATURE.test(part))
  ) {
    return Result.fail(
      refusal(
        "malformed_signature",
        `webhook-signature is 1 to ${SIGNATURES_MAX} signatures such as v1,<base64>`,
      ),
    )
  }
  // Signatures of other versions (v1a: asymmetric) stand beside ours, and say nothing to us.
  return Result.succeed({
    id,
    timestamp: Number(timestamp),
    signatures: parts.filter((part) => SIGNATURE.test(part)),
  })
}

const refusal = (refusal: typeof SignatureRefusal.Type, detail: string): SignatureRefused =>
  new SignatureRefused({ refusal, detail })

const contentOf = (id: string, timestamp: number, body: Uint8Array | string): Uint8Array =>
  Buffer.concat([Buffer.from(`${id}.${timestamp}.`), typeof body === "string" ? Buffer.from(body) : body])
