import { assert, describe, it as test, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Client } from "../support/Client.ts"
import { eventually } from "../support/Eventually.ts"
import { hasPromtool, lint, type Sample, samplesOf, sum } from "../support/Prometheus.ts"
import { dataFolder, look, start, startFresh } from "../support/ServerProcess.ts"
import { SharedServer } from "../support/SharedServer.ts"

const scrape = (client: Client) => Effect.map(client.get("/metrics"), ({ text }) => samplesOf(text))

/** The values that a label has. */
const valuesOf = (samples: ReadonlyArray<Sample>, label: string): ReadonlyArray<string> => [
  ...new Set(samples.flatMap(({ labels }) => (labels[label] === undefined ? [] : [labels[label]]))),
]

layer(SharedServer.layer(), { excludeTestServices: true, timeout: 30_000 })("metrics", (it) => {
  it.effect("are text for Prometheus that nobody keeps", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const accept =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
      const answer = yield* client.get("/metrics", { accept })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8")
      assert.strictEqual(answer.headers.get("cache-control"), "no-store")
    }),
  )

  it.effect("count requests by the template of their route, whatever was asked for", () =>
    Effect.gen(function* () {
      const { client, url } = yield* SharedServer
      const before = yield* scrape(client)
      for (let i = 0; i < 20; i++) {
        yield* client.get(`/nowhere/${i}?q=${i}`)
        yield* client.get(`/v1/jobs/job_${i}`)
      }
      yield* new Client(url, undefined).get("/v1/jobs")
      const after = yield* scrape(client)
      const name = "http_server_request_duration_seconds_count"
      const counted = (labels: Readonly<Record<string, string>>) =>
        sum(after, name, labels) - sum(before, name, labels)
      assert.strictEqual(counted({ http_route: "unmatched", http_response_status_code: "404" }), 20)
      assert.strictEqual(counted({ http_route: "/v1/jobs/:id", http_request_method: "GET" }), 20)
      assert.strictEqual(counted({ http_route: "/v1/jobs", http_response_status_code: "401" }), 1)
      assert.strictEqual(sum(after, "http_server_active_requests"), 1, "the scrape itself")
      for (const route of valuesOf(after, "http_route")) assert.notMatch(route, /nowhere|job_/)
    }),
  )

  it.effect("keep the time of requests that asked to wait apart from that of others", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const name = "http_server_request_duration_seconds_count"
      const counted = (samples: ReadonlyArray<Sample>) =>
        ["true", "false"].map((waited) => sum(samples, name, { http_route: "/v1/jobs", waited }))
      const before = counted(yield* scrape(client))
      yield* client.post("/v1/jobs", { type: "system:echo", payload: 1 }, { prefer: "wait=20" })
      yield* client.post("/v1/jobs", { type: "system:echo", payload: 1 })
      yield* client.get("/v1/jobs")
      const after = counted(yield* scrape(client))
      assert.deepStrictEqual(
        after.map((count, i) => count - before[i]!),
        [1, 2],
      )
    }),
  )

  it.effect("follow jobs from their submission to their end", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const before = yield* scrape(client)
      const submit = (job: object) => client.post("/v1/jobs", job, { prefer: "wait=20" })
      yield* submit({ type: "system:fail", payload: { times: 1 }, queue: "watched" })
      yield* submit({ type: "system:fail", payload: { times: 9 }, queue: "watched", max_attempts: 1 })
      const later = { type: "system:echo", queue: "watched", delay_ms: 3_600_000 }
      const { id } = (yield* client.post("/v1/jobs", later)).json()
      yield* client.post("/v1/jobs", later)
      yield* client.post(`/v1/jobs/${id}/cancel`)
      // Several queues in one batch go another way.
      yield* client.post("/v1/jobs/batch", { jobs: [later, { ...later, queue: "watched-2" }] })
      const after = yield* scrape(client)

      const of = { queue: "watched" }
      const attempts = (outcome: string) => sum(after, "renderowl_job_attempts_total", { ...of, outcome })
      assert.deepStrictEqual(["completed", "failed"].map(attempts), [1, 2])
      const ended = (outcome: string) => sum(after, "renderowl_jobs_ended_total", { ...of, outcome })
      assert.deepStrictEqual(["completed", "dead_letter", "cancelled"].map(ended), [1, 1, 1])
      const sent = (queue: string) =>
        sum(after, "messaging_client_sent_messages_total", { messaging_destination_name: queue })
      assert.deepStrictEqual(["watched", "watched-2"].map(sent), [5, 1])
      const jobs = (status: string) => sum(after, "renderowl_queue_jobs", { ...of, status })
      assert.deepStrictEqual(
        ["waiting", "processing", "completed", "dead_letter", "cancelled"].map(jobs),
        [2, 0, 1, 1, 1],
      )
      assert.strictEqual(
        sum(after, "messaging_process_duration_seconds_count", { messaging_destination_name: "watched" }),
        3,
      )
      assert.strictEqual(sum(after, "renderowl_job_wait_duration_seconds_count", of), 3)
      assert.strictEqual(sum(after, "renderowl_job_duration_seconds_count", of), 3)
      assert.strictEqual(sum(after, "renderowl_queue_oldest_pending_seconds", of), 0)

      const grown = (name: string, labels = {}) => sum(after, name, labels) - sum(before, name, labels)
      const commit = { db_operation_name: "COMMIT" }
      assert.isAbove(grown("renderowl_journal_events_total"), 10)
      assert.strictEqual(
        grown("db_client_operation_duration_seconds_count", commit),
        grown("renderowl_journal_commit_events_count"),
      )
      assert.strictEqual(
        grown("renderowl_journal_commit_events_sum"),
        grown("renderowl_journal_events_total"),
      )
    }),
  )

  it.effect("show 0 for each way to end before the first job of a queue and type has ended", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      yield* client.post("/v1/jobs", { type: "system:echo", queue: "unborn", delay_ms: 3_600_000 })
      const samples = yield* scrape(client)
      const outcomes = (name: string) =>
        samples
          .filter((sample) => sample.name === name && sample.labels["queue"] === "unborn")
          .map(({ labels, value }) => [labels["outcome"], value])
      assert.sameDeepMembers(outcomes("renderowl_jobs_ended_total"), [
        ["completed", 0],
        ["dead_letter", 0],
        ["cancelled", 0],
      ])
      assert.sameDeepMembers(outcomes("renderowl_job_attempts_total"), [
        ["completed", 0],
        ["failed", 0],
        ["stalled", 0],
        ["handed_back", 0],
        ["cancelled", 0],
      ])
    }),
  )

  it.effect("say how long the oldest job has been due that nobody starts", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      yield* client.request("PUT", "/v1/queues/stuck", { body: { concurrency: 1 } })
      yield* client.post("/v1/queues/stuck/pause")
      const oldest = Effect.map(scrape(client), (samples) =>
        sum(samples, "renderowl_queue_oldest_pending_seconds", { queue: "stuck" }),
      )
      assert.strictEqual(yield* oldest, 0)
      yield* client.post("/v1/jobs", { type: "system:echo", queue: "stuck" })
      const since = Date.now()
      const age = yield* Effect.repeat(oldest, { until: (age) => age > 0.05 })
      assert.isBelow(age, (Date.now() - since) / 1_000 + 1)
    }),
  )

  it.effect("show the parts of the system", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      // A list with counts goes to a reader process.
      yield* client.get("/v1/queues")
      yield* client.get("/v1/compositions")
      yield* client.get("/v1/compositions")
      const samples = yield* scrape(client)
      for (const name of [
        "db_client_connections",
        "renderowl_statement_cache_requests_total",
        "renderowl_cache_requests_total",
        "renderowl_actors_resident",
        "renderowl_actor_restarts_total",
        "renderowl_queue_mailbox_messages",
        "nodejs_eventloop_delay_p99_seconds",
        "nodejs_eventloop_utilization_ratio",
        "v8js_memory_heap_used_bytes",
        "process_memory_usage_bytes",
        "process_cpu_time_seconds_total",
        "renderowl_log_lines_total",
        "renderowl_disk_free_bytes",
      ])
        assert.isNotEmpty(
          samples.filter((sample) => sample.name === name),
          name,
        )
      assert.isAbove(sum(samples, "process_memory_usage_bytes"), 50_000_000)
      assert.isAbove(sum(samples, "renderowl_statement_cache_requests_total", { outcome: "hit" }), 0)
    }),
  )

  it.effect.skipIf(!hasPromtool)("are as Prometheus wants them (skipped without promtool)", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      assert.strictEqual(lint((yield* client.get("/metrics")).text), "")
    }),
  )
})

describe("the number of series", () => {
  test.live("is bounded, however many queues callers make up", () =>
    Effect.gen(function* () {
      const { client } = yield* startFresh()
      for (let batch = 0; batch < 3; batch++) {
        const jobs = Array.from({ length: 50 }, (_, i) => ({ type: "system:echo", queue: `q-${batch}-${i}` }))
        assert.strictEqual((yield* client.post("/v1/jobs/batch", { jobs })).status, 202)
      }
      const samples = yield* scrape(client)
      for (const [name, label] of [
        ["renderowl_queue_jobs", "queue"],
        ["renderowl_job_wait_duration_seconds_count", "queue"],
        ["messaging_client_sent_messages_total", "messaging_destination_name"],
      ] as const) {
        const values = valuesOf(
          samples.filter((sample) => sample.name === name),
          label,
        )
        assert.lengthOf(values, 101, name)
        assert.include(values, "other", name)
      }
      assert.strictEqual(sum(samples, "messaging_client_sent_messages_total"), 150)
      const counted = sum(samples, "renderowl_queue_jobs")
      assert.strictEqual(counted, 150)
    }).pipe(Effect.scoped),
  )
})

describe("a process that was killed", () => {
  test.live("leaves stalled attempts, which the next one counts", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const first = yield* start({ dataDir })
      yield* first.client.post("/v1/jobs", { type: "system:sleep", payload: { ms: 60_000 }, max_attempts: 1 })
      yield* eventually(() =>
        look(
          dataDir,
          (database) => database.prepare("SELECT 1 FROM jobs WHERE status = 1").get() !== undefined,
        ),
      )
      yield* first.process.end("SIGKILL")
      const { client } = yield* start({ dataDir })
      yield* client.follow(`/v1/events`, { until: ({ data }) => data["type"] === "JobDeadLettered" })
      const samples = yield* scrape(client)
      const of = { queue: "default", type: "system:sleep" }
      assert.strictEqual(sum(samples, "renderowl_job_attempts_total", { ...of, outcome: "stalled" }), 1)
      assert.strictEqual(sum(samples, "renderowl_jobs_ended_total", { ...of, outcome: "dead_letter" }), 1)
    }).pipe(Effect.scoped),
  )
})
