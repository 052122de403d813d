/**
 * The operator's webhook: a message is posted to it signed by Standard Webhooks. Any answer that is no 2xx is a refusal, which says
 * whether and when to try again.
 */
import { Clock, Context, Effect, Layer, Schema } from "effect"
import { type WebhookSecret, WebhookSignature } from "../../security/WebhookSignature.ts"
import { type AlertMessage, bodyOf } from "./AlertMessage.ts"

/** For the whole exchange; what the receiver answers beyond its status is not read. */
const ANSWER_TIMEOUT = "10 seconds"
/** What a receiver may ask to wait. */
const RETRY_AFTER_SEC_MAX = 3_600
const MILLIS_PER_SECOND = 1_000
/** The receiver is no more, and says so. */
const GONE = 410

/** Where alerts go. It is the operator's own choice: no rule says which address it may be. */
export interface WebhookTarget {
  readonly url: URL
  /** Several while they are being changed. */
  readonly secrets: readonly [WebhookSecret, ...ReadonlyArray<WebhookSecret>]
}

/** The receiver did not take the message. */
export class NotDelivered extends Schema.TaggedError<NotDelivered>()("NotDelivered", {
  /** Null: there was no answer. */
  status: Schema.NullOr(Schema.Int),
  detail: Schema.String,
  retryable: Schema.Boolean,
  /** Milliseconds that the receiver asked to wait. */
  retryAfter: Schema.optionalKey(Schema.Int),
}) {
  override get message(): string {
    return this.detail
  }
}

export class AlertWebhook extends Context.Service<
  AlertWebhook,
  {
    /** False: there is nobody to post to. */
    readonly isThere: boolean
    /** Ends when the receiver has taken the message; without a receiver, at once. */
    readonly post: (message: AlertMessage) => Effect.Effect<void, NotDelivered>
  }
>()("renderowl/domain/alerts/AlertWebhook") {
  static readonly layer = (target: WebhookTarget | undefined) =>
    Layer.effect(
      AlertWebhook,
      Effect.map(WebhookSignature, (signature) =>
        AlertWebhook.of({
          isThere: target !== undefined,
          post: (message) => (target === undefined ? Effect.void : post(target, message, signature)),
        }),
      ),
    )
}

const post = Effect.fn("AlertWebhook.post")(
  function* ({ secrets, url }: WebhookTarget, message: AlertMessage, { sign }: WebhookSignature["Service"]) {
    const body = bodyOf(message)
    const timestamp = Math.floor((yield* Clock.currentTimeMillis) / MILLIS_PER_SECOND)
    const signed = yield* sign({ id: message.id, timestamp, body }, secrets)
    const response = yield* Effect.tryPromise({
      try: async (signal) => {
        const headers = { ...signed, "content-type": "application/json" }
        const response = await fetch(url, { method: "POST", headers, body, redirect: "manual", signal })
        await response.body?.cancel()
        return response
      },
      catch: (error) => noAnswer(describe(error)),
    })
    if (!response.ok) return yield* refused(response)
  },
  Effect.timeoutOrElse({
    duration: ANSWER_TIMEOUT,
    orElse: () => Effect.fail(noAnswer(`none within ${ANSWER_TIMEOUT}`)),
  }),
)

/** What `fetch` fails with says no more than that; its cause does. */
const describe = (error: unknown): string => {
  const cause = error instanceof Error ? (error.cause ?? error) : error
  return cause instanceof Error ? cause.message : String(cause)
}

const noAnswer = (why: string) =>
  new NotDelivered({ status: null, detail: `no answer from the webhook: ${why}`, retryable: true })

const refused = ({ headers, status }: Response) => {
  const seconds = Number(headers.get("retry-after") ?? Number.NaN)
  return new NotDelivered({
    status,
    detail: `the webhook answered ${status}`,
    retryable: status !== GONE,
    ...(Number.isInteger(seconds) && seconds >= 0
      ? { retryAfter: Math.min(seconds, RETRY_AFTER_SEC_MAX) * MILLIS_PER_SECOND }
      : {}),
  })
}
