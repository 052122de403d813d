import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { messageOf } from "../../../src/domain/alerts/AlertMessage.ts"
import { AlertWebhook } from "../../../src/domain/alerts/AlertWebhook.ts"
import { ReplayGuard } from "../../../src/security/ReplayGuard.ts"
import * as Webhook from "../../../src/security/WebhookSignature.ts"
import { OTHER_SECRET, SECRET } from "../../support/Signed.ts"
import { WebhookReceiver } from "../../support/WebhookReceiver.ts"

const message = messageOf({
  occasion: "firing",
  alert: {
    id: "alert_01m8aegh5sehw9d3fs03xy2t66",
    rule: "queue_stalled",
    severity: "critical",
    summary: "Jobs of a queue are due and nothing moves",
    subject: "videos",
    detail: "a job has been due for 75 s, and nothing runs",
    since: 1_700_000_000_000,
    firedAt: 1_700_000_000_000,
    resolvedAt: null,
  },
})

const signatures = Webhook.WebhookSignature.layer.pipe(
  Layer.provide([ReplayGuard.layer, NodeCrypto.layerMac]),
)
const secret = (text: string) => Effect.orDie(Webhook.secret(Redacted.make(text)))

/** Posts the message to a URL. */
const post = Effect.fnUntraced(function* (url: URL) {
  const target = { url, secrets: [yield* secret(SECRET), yield* secret(OTHER_SECRET)] } as const
  return yield* AlertWebhook.pipe(
    Effect.flatMap((webhook) => webhook.post(message)),
    Effect.provide(AlertWebhook.layer(target).pipe(Layer.provide(signatures))),
  )
})

const refusal = Effect.fnUntraced(function* (
  receiver: WebhookReceiver,
  status: number,
  headers: Readonly<Record<string, string>> = {},
) {
  receiver.answer = { status, headers }
  const { _tag, message: _, detail, ...rest } = yield* Effect.flip(post(receiver.url))
  assert.strictEqual(detail, `the webhook answered ${status}`)
  return {
    retryable: rest.retryable,
    ...(rest.retryAfter === undefined ? {} : { retryAfter: rest.retryAfter }),
  }
})

describe("the webhook of alerts", () => {
  it.live("is sent what Standard Webhooks says, signed with each secret", () =>
    Effect.gen(function* () {
      const receiver = yield* WebhookReceiver.start
      yield* post(receiver.url)
      const [{ body, headers }] = receiver.messages as [WebhookReceiver["messages"][number]]
      assert.deepStrictEqual(JSON.parse(body), {
        type: "alert.firing",
        timestamp: "2023-11-14T22:13:20.000Z",
        data: {
          id: "alert_01m8aegh5sehw9d3fs03xy2t66",
          rule: "queue_stalled",
          severity: "critical",
          status: "firing",
          summary: "Jobs of a queue are due and nothing moves",
          subject: "videos",
          detail: "a job has been due for 75 s, and nothing runs",
          since: "2023-11-14T22:13:20.000Z",
          fired_at: "2023-11-14T22:13:20.000Z",
          resolved_at: null,
        },
      })
      assert.strictEqual(headers["content-type"], "application/json")
      const { verify } = yield* Webhook.WebhookSignature
      for (const text of [SECRET, OTHER_SECRET]) {
        const signed = { headers: headers as Record<string, string>, body }
        const verified = yield* verify(signed, [yield* secret(text)])
        assert.strictEqual(verified.id, "alert_01m8aegh5sehw9d3fs03xy2t66_firing")
      }
    }).pipe(Effect.scoped, Effect.provide(signatures)),
  )

  it.live("that refuses is tried again, when it says so; one that is gone is not", () =>
    Effect.gen(function* () {
      const receiver = yield* WebhookReceiver.start
      assert.deepStrictEqual(yield* refusal(receiver, 500), { retryable: true })
      assert.deepStrictEqual(yield* refusal(receiver, 401), { retryable: true })
      assert.deepStrictEqual(yield* refusal(receiver, 410), { retryable: false })
      const asked = (seconds: string) => refusal(receiver, 429, { "retry-after": seconds })
      assert.deepStrictEqual(yield* asked("7"), { retryable: true, retryAfter: 7_000 })
      assert.deepStrictEqual(yield* asked("90000"), { retryable: true, retryAfter: 3_600_000 })
      assert.deepStrictEqual(yield* asked("soon"), { retryable: true })
    }).pipe(Effect.scoped),
  )

  it.live("is not followed to another place", () =>
    Effect.gen(function* () {
      const elsewhere = yield* WebhookReceiver.start
      const receiver = yield* WebhookReceiver.start
      assert.deepStrictEqual(yield* refusal(receiver, 307, { location: elsewhere.url.href }), {
        retryable: true,
      })
      assert.lengthOf(elsewhere.messages, 0)
    }).pipe(Effect.scoped),
  )

  it.live("that is not there is no answer", () =>
    Effect.gen(function* () {
      const { url } = yield* Effect.scoped(WebhookReceiver.start)
      const error = yield* Effect.flip(post(url))
      assert.deepInclude(error, { status: null, retryable: true })
      assert.match(error.detail, /no answer from the webhook: .*ECONNREFUSED/)
    }),
  )
})
