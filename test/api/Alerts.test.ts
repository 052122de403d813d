import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { AlertsJson } from "../../src/api/internal/alerts/Api.ts"
import type { Client } from "../support/Client.ts"
import { dataFolder, start, startFresh } from "../support/ServerProcess.ts"
import { SECRET } from "../support/Signed.ts"
import { WebhookReceiver } from "../support/WebhookReceiver.ts"

const alerts = (client: Client) =>
  Effect.map(client.get("/internal/alerts"), (answer) => answer.json<typeof AlertsJson.Encoded>())

/** Alerts that were delivered. */
const deliveries = (client: Client) =>
  Effect.map(
    client.get("/v1/jobs?type=alert:deliver&status=completed"),
    (answer) => answer.json<{ readonly data: ReadonlyArray<unknown> }>().data,
  )

describe("/internal/alerts", () => {
  it.live("shows an alert that was told; after a crash it goes on, and is not told again", () =>
    Effect.gen(function* () {
      const receiver = yield* WebhookReceiver.start
      const dataDir = yield* dataFolder
      const env = { ALERT_WEBHOOK_URL: receiver.url.href, ALERT_WEBHOOK_SECRET: SECRET }
      const first = yield* start({ dataDir, env })
      yield* first.client.post("/v1/jobs", {
        type: "system:fail",
        queue: "videos",
        payload: { times: 1 },
        max_attempts: 1,
      })
      yield* receiver.received(1)
      assert.deepStrictEqual(receiver.told, ["alert.firing dead_letters videos"])
      const { data, rules } = yield* alerts(first.client)
      assert.lengthOf(data, 1)
      assert.deepInclude(data[0], {
        rule: "dead_letters",
        subject: "videos",
        status: "firing",
        resolved_at: null,
      })
      assert.deepInclude(
        rules.find(({ name }) => name === "dead_letters"),
        { severity: "warning", for_sec: 0, cool_down_sec: 300, state: "firing" },
      )
      // What is told may be told again by a crash before that is known: so it is known.
      const isDelivered = Effect.map(deliveries(first.client), (jobs) => jobs.length === 1)
      yield* Effect.repeat(Effect.delay(isDelivered, "20 millis"), { until: (is) => is })
      yield* first.process.end("SIGKILL")

      const { client } = yield* start({ dataDir, env })
      assert.deepStrictEqual((yield* alerts(client)).data, data)
      assert.lengthOf(receiver.messages, 1)
      assert.lengthOf(
        (yield* client.get("/v1/jobs?type=alert:deliver&status=completed")).json()["data"] as [],
        1,
      )
    }).pipe(Effect.scoped),
  )

  it.live("is told of by nobody else: what delivers an alert is no job to be submitted", () =>
    Effect.gen(function* () {
      const { client } = yield* startFresh()
      const job = { type: "alert:deliver", payload: {} }
      const answer = yield* client.post("/v1/jobs", job)
      assert.deepStrictEqual([answer.status, answer.problem], [400, "validation-failed"])
      assert.notInclude(answer.text, "alert:deliver,")
      const schedule = yield* client.post("/v1/schedules", { name: "all day", cron: "* * * * *", job })
      assert.strictEqual(schedule.status, 400)
    }).pipe(Effect.scoped),
  )
})
