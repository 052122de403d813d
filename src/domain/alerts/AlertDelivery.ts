/**
 * How alerts reach the operator: recorded in the log of alerts, and delivered by jobs, so that a webhook that is down hears of them
 * when it is up again. While the journal takes neither, which is when alerts matter most, they are posted without.
 */
import { Effect, Layer } from "effect"
import * as Job from "../../jobs/Job.ts"
import { Queue } from "../../jobs/Queue.ts"
import * as TypeId from "../../security/TypeId.ts"
import type { Audience, News } from "../../telemetry/alerts/Alerts.ts"
import { ALERT_LOG, AlertLog } from "./AlertLog.ts"
import { AlertMessage, messageOf } from "./AlertMessage.ts"
import { AlertWebhook, NotDelivered } from "./AlertWebhook.ts"

/** The queue of the deliveries. */
export const ALERT_QUEUE = "alerts"
/** What was told without being recorded, and will be with the next news. */
const UNRECORDED_MAX = 100

const Delivery = Job.make("alert:deliver", {
  queue: ALERT_QUEUE,
  description: "Posts an alert to the webhook of the operator",
  payload: AlertMessage,
  error: NotDelivered,
  // More than an hour, the waits doubling from five seconds to a quarter of an hour.
  retry: { maxAttempts: 12, base: "5 seconds", max: "15 minutes" },
  timeout: "1 minute",
  isInternal: true,
})

/** Does the deliveries. Without a webhook those of before are done with. */
export const layer: Layer.Layer<never, never, Queue | AlertWebhook> = Delivery.toLayer((message) =>
  Effect.flatMap(AlertWebhook, ({ post }) => post(message)),
)

/** Hears of alerts, and tells the operator. */
export const audience = Effect.gen(function* () {
  const webhook = yield* AlertWebhook
  const queue = yield* Queue
  const log = (yield* AlertLog.client)(ALERT_LOG)
  let unrecorded: ReadonlyArray<News> = []

  const write = ({ alert, occasion }: News) => {
    const { resolvedAt, ...fired } = alert
    return occasion === "firing"
      ? log.Fire(fired)
      : log.Resolve({ id: alert.id, resolvedAt: resolvedAt ?? alert.firedAt })
  }

  const record = (news: News) =>
    Effect.forEach([...unrecorded, news], write, { discard: true }).pipe(
      Effect.tap(() => Effect.sync(() => void (unrecorded = []))),
    )

  const enqueue = (message: AlertMessage) =>
    webhook.isThere
      ? Effect.provideService(
          Queue.enqueue(Delivery, message, { idempotencyKey: message.id, priority: "urgent" }),
          Queue,
          queue,
        )
      : Effect.void

  const tell: Audience["tell"] = (news) => {
    const message = messageOf(news)
    return record(news).pipe(
      Effect.andThen(enqueue(message)),
      Effect.catch(
        (error): Effect.Effect<void, unknown> =>
          webhook.isThere
            ? webhook
                .post(message)
                .pipe(
                  Effect.tap(() =>
                    Effect.sync(() => void (unrecorded = [...unrecorded, news].slice(-UNRECORDED_MAX))),
                  ),
                )
            : Effect.fail(error),
      ),
    )
  }

  return {
    nextId: TypeId.make("alert"),
    remembered: Effect.map(log.Get(), ({ alerts }) => alerts),
    tell,
  } satisfies Audience
})
