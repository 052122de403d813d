import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Client } from "../support/Client.ts"
import { SharedServer } from "../support/SharedServer.ts"

interface EventBody {
  readonly position: number
  readonly stream: string
  readonly version: number
  readonly type: string
  readonly metadata: { readonly principal?: string } | null
  readonly data: Record<string, unknown>
}

const submit = (client: Client, n: number) =>
  Effect.map(
    client.post("/v1/jobs", { type: "system:echo", payload: n }, { prefer: "wait=10" }),
    (answer) => answer.json<{ readonly id: string }>().id,
  )

layer(SharedServer.layer(), { excludeTestServices: true, timeout: 20_000 })("the journal over HTTP", (it) => {
  describe("GET /v1/events", () => {
    it.effect("tells every event after a position, in the order of their commits", () =>
      Effect.gen(function* () {
        const { client } = yield* SharedServer
        const page = (after: number, limit: number) =>
          Effect.map(client.get(`/v1/events?after=${after}&limit=${limit}`), (answer) =>
            answer.json<{ readonly data: ReadonlyArray<EventBody>; readonly has_more: boolean }>(),
          )
        const id = yield* submit(client, 1)
        const all: Array<EventBody> = []
        for (let more = true; more;) {
          const { data, has_more } = yield* page(all.at(-1)?.position ?? 0, 3)
          all.push(...data)
          more = has_more
        }
        assert.deepStrictEqual(
          all.map(({ position }) => position),
          all.map((_, i) => i + 1),
        )
        const ofJob = all.filter(({ stream }) => stream === id)
        assert.deepStrictEqual(
          ofJob.map(({ type, version }) => [type, version]),
          [
            ["JobEnqueued", 1],
            ["JobStarted", 2],
            ["JobCompleted", 3],
          ],
        )
        assert.match(ofJob[0]!.metadata!.principal!, /^key_/)
        assert.strictEqual(ofJob[0]!.data["payload"], 1)
      }),
    )

    it.effect("goes on live from where the reader was", () =>
      Effect.gen(function* () {
        const { client } = yield* SharedServer
        const before = yield* submit(client, 2)
        const head = (yield* client.get("/v1/events?limit=1000")).json<{
          readonly data: ReadonlyArray<EventBody>
        }>().data.length
        const [{ events }, id] = yield* Effect.all(
          [
            client.follow("/v1/events", {
              lastEventId: head - 1,
              until: ({ event, id }) => event === "JobCompleted" && id! > head,
            }),
            submit(client, 3),
          ],
          { concurrency: 2 },
        )
        assert.deepStrictEqual(
          events.map(({ data, event, id }) => [id, event, data["stream"]]),
          [
            [head, "JobCompleted", before],
            [head + 1, "JobEnqueued", id],
            [head + 2, "JobStarted", id],
            [head + 3, "JobCompleted", id],
          ],
        )
      }),
    )

    it.effect("is for administrators, and takes no nonsense", () =>
      Effect.gen(function* () {
        const { client } = yield* SharedServer
        assert.strictEqual(
          (yield* new Client(client.url, undefined).get("/v1/events")).problem,
          "unauthorized",
        )
        const bad = yield* client.get("/v1/events?after=-1&limit=1001")
        assert.deepStrictEqual(bad.fieldErrors, ["after out_of_range", "limit out_of_range"])
      }),
    )
  })
})
