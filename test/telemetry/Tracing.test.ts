import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { spawn } from "node:child_process"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import type { RenderJson } from "../../src/api/v1/renders/RenderJson.ts"
import type { Client, StreamEvent } from "../support/Client.ts"
import { eventually } from "../support/Eventually.ts"
import { OtlpReceiver, type ReceivedSpan } from "../support/OtlpReceiver.ts"
import { samplesOf, sum } from "../support/Prometheus.ts"
import { dataFolder, run, start, startFresh } from "../support/ServerProcess.ts"

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
const CALLER = "00f067aa0ba902b7"
const traceparent = `00-${TRACE}-${CALLER}-01`

/** Sends what it has ten times a second. */
const tracingTo = ({ url }: OtlpReceiver) => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: url,
  OTEL_BSP_SCHEDULE_DELAY: "100",
})

const HASTY_MAIN = fileURLToPath(new URL("../api/HastyMain.ts", import.meta.url))

/** A collector that takes everything, in a process of its own. */
const collectorProcess = Effect.acquireRelease(
  Effect.callback<{ readonly url: string; readonly kill: () => void }>((resume) => {
    const main = fileURLToPath(new URL("../../bench/support/Collector.ts", import.meta.url))
    const child = spawn(process.execPath, [main], { stdio: ["ignore", "pipe", "inherit"] })
    const kill = () => void child.kill("SIGKILL")
    child.stdout.once("data", (said: Buffer) => resume(Effect.succeed({ url: said.toString().trim(), kill })))
  }),
  ({ kill }) => Effect.sync(kill),
)

const isSegment = ({ data, event }: StreamEvent) =>
  event === "JobStepCompleted" &&
  String((data["data"] as Record<string, unknown>)["name"]).startsWith("segment")

const submit = Effect.fnUntraced(function* (client: Client) {
  const project = (yield* client.post("/v1/projects", { name: "Traced" })).json()["id"]
  const render = {
    composition_id: "TitleCard",
    input_props: { title: "It goes on", duration_sec: 12 },
    output_settings: { format: "mp4", width: 128, height: 72, fps: 30 },
  }
  const answer = yield* client.post(`/v1/projects/${String(project)}/renders`, render, { traceparent })
  assert.strictEqual(answer.headers.get("x-trace-id"), TRACE)
  return answer.json<typeof RenderJson.Encoded>().id
})

const only = (spans: ReadonlyArray<ReceivedSpan>): ReceivedSpan => {
  assert.lengthOf(spans, 1)
  return spans[0]!
}

describe("the trace of a render", () => {
  it.live(
    "goes from its request through attempts in other processes to its end, with right parents and links",
    () =>
      Effect.gen(function* () {
        const receiver = yield* OtlpReceiver.start
        const dataDir = yield* dataFolder
        const env = tracingTo(receiver)

        // Where its work should go there is a file, so the first attempt fails.
        const obstacle = join(dataDir, "renders", ".work")
        mkdirSync(dirname(obstacle))
        writeFileSync(obstacle, "")
        let id = ""
        let version = 0
        /** Lets a server work until something happens, and ends it. */
        const life = (until: (event: StreamEvent) => boolean, signal: NodeJS.Signals) =>
          Effect.gen(function* () {
            const { client, process } = yield* start({ dataDir, env })
            if (id === "") id = yield* submit(client)
            const { events } = yield* client.follow(`/v1/renders/${id}/events`, {
              lastEventId: version,
              until,
            })
            version = Math.max(...events.map((event) => event.id ?? 0))
            assert.strictEqual((yield* process.end(signal)).signal, signal === "SIGKILL" ? signal : null)
          }).pipe(Effect.scoped)
        yield* life(({ event }) => event === "JobAttemptFailed", "SIGTERM")
        rmSync(obstacle)
        yield* life(isSegment, "SIGKILL")
        const { client, process } = yield* start({ dataDir, env })
        yield* client.follow(`/v1/renders/${id}/events`, { lastEventId: version })
        const render = (yield* client.get(`/v1/renders/${id}`)).json<typeof RenderJson.Encoded>()
        assert.strictEqual(render.status, "completed")
        assert.isAtLeast(render.attempt, 3)
        assert.strictEqual((yield* process.end("SIGTERM")).code, 0)

        const spans = receiver.spans.filter(({ traceId }) => traceId === TRACE)
        const named = (name: string) => spans.filter((span) => span.name === name)
        const byId = new Map(spans.map((span) => [span.spanId, span]))
        assert.strictEqual(byId.size, spans.length)

        const request = only(named("POST /v1/projects/:id/renders"))
        assert.strictEqual(request.kind, "server")
        assert.strictEqual(request.parentId, CALLER)
        assert.strictEqual(request.status, "unset")
        assert.deepInclude(request.attributes, {
          "http.request.method": "POST",
          "http.route": "/v1/projects/:id/renders",
          "http.response.status_code": 202,
        })
        assert.deepInclude(request.resource, { "service.name": "renderowl" })

        const sent = only(named("send renders"))
        assert.strictEqual(sent.kind, "producer")
        assert.strictEqual(sent.parentId, request.spanId)
        assert.deepInclude(sent.attributes, {
          "messaging.system": "renderowl",
          "messaging.operation.name": "send",
          "messaging.destination.name": "renders",
          "messaging.message.id": render.job_id,
        })

        // One was killed, and its span with it; how many failed is up to chance, as a retry may come at once.
        const attempts = named("process renders")
        assert.deepStrictEqual(
          attempts.map(({ attributes }) => attributes["renderowl.job.attempt"]),
          [...Array.from({ length: render.attempt - 2 }, (_, failed) => failed + 1), render.attempt],
        )
        for (const [index, attempt] of attempts.entries()) {
          assert.strictEqual(attempt.kind, "consumer")
          assert.strictEqual(attempt.parentId, sent.spanId)
          assert.strictEqual(attempt.status, index === attempts.length - 1 ? "unset" : "error")
          assert.strictEqual(attempt.attributes["messaging.message.id"], render.job_id)
          assert.isTrue(attempt.start >= sent.start && attempt.end >= attempt.start)
          const before = attempts.slice(0, index).slice(-1)
          assert.deepStrictEqual(
            attempt.links,
            before.map(({ spanId }) => ({ traceId: TRACE, spanId })),
          )
        }
        const last = attempts.at(-1)!

        const commits = named("COMMIT journal")
        for (const commit of commits) {
          assert.strictEqual(commit.kind, "client")
          assert.strictEqual(commit.attributes["db.system.name"], "sqlite")
        }
        assert.isTrue(commits.some(({ parentId }) => parentId === sent.spanId))
        assert.isTrue(commits.some(({ parentId }) => parentId === last.spanId))

        const segments = named("RenderEngine.renderSegment")
        const attemptOf = (span: ReceivedSpan): ReceivedSpan | undefined =>
          span.name === "process renders"
            ? span
            : byId.has(span.parentId)
              ? attemptOf(byId.get(span.parentId)!)
              : undefined
        assert.isNotEmpty(segments.filter((span) => attemptOf(span) === last))
        assert.strictEqual(attemptOf(only(named("RenderEngine.assemble"))), last)

        // Whatever is in the trace hangs together, but for what the killed attempt was the parent of.
        const lost = spans.filter(({ parentId }) => !byId.has(parentId) && parentId !== CALLER)
        assert.isAtMost(new Set(lost.map(({ parentId }) => parentId)).size, 2)
      }).pipe(Effect.scoped),
    60_000,
  )
})

describe("spans", () => {
  it.live("say how a request ended: an error only where it is ours", () =>
    Effect.gen(function* () {
      const receiver = yield* OtlpReceiver.start
      const { client, process } = yield* startFresh({ ...tracingTo(receiver), MAX_STREAMS: "1" })
      const held = yield* Effect.forkChild(client.follow("/v1/events"))
      yield* Effect.sleep("100 millis")
      assert.strictEqual((yield* client.get("/v1/events", { accept: "text/event-stream" })).status, 503)
      yield* client.get("/nowhere/at/all?token=opensesame")
      yield* client.get("/v1/jobs/nothing")
      yield* client.get("/live")
      yield* client.get("/metrics")
      yield* process.end("SIGTERM")
      void held
      const refused = receiver
        .named("GET /v1/events")
        .find(({ attributes }) => attributes["http.response.status_code"] === 503)!
      assert.strictEqual(refused.status, "error")
      assert.strictEqual(refused.attributes["error.type"], "503")
      const unmatched = only(receiver.named("GET"))
      assert.strictEqual(unmatched.status, "unset")
      assert.deepInclude(unmatched.attributes, { "url.path": "/nowhere/at/all" })
      assert.strictEqual(only(receiver.named("GET /v1/jobs/:id")).status, "unset")
      assert.isEmpty(
        receiver.spans.filter(({ attributes }) => /live|metrics/.test(String(attributes["url.path"]))),
      )
      const everything = JSON.stringify(receiver.spans, (_, value: unknown) =>
        typeof value === "bigint" ? String(value) : value,
      )
      for (const secret of ["opensesame", client.key!]) assert.notInclude(everything, secret)
    }).pipe(Effect.scoped),
  )

  it.live("of failed attempts are errors, and the next attempt is linked to them", () =>
    Effect.gen(function* () {
      const receiver = yield* OtlpReceiver.start
      const { client, process } = yield* startFresh(tracingTo(receiver))
      const job = { type: "system:fail", payload: { times: 1, message: "not whsec_abcdefgh" } }
      yield* client.post("/v1/jobs", job, { prefer: "wait=20" })
      yield* client.post("/v1/jobs/batch", { jobs: [{ type: "system:echo" }, { type: "system:echo" }] })
      yield* process.end("SIGTERM")
      const attempts = receiver
        .named("process default")
        .filter(({ attributes }) => attributes["renderowl.job.type"] === "system:fail")
      assert.deepStrictEqual(
        attempts.map(({ status }) => status),
        ["error", "unset"],
      )
      assert.deepStrictEqual(
        attempts[1]!.links.map(({ spanId }) => spanId),
        [attempts[0]!.spanId],
      )
      const exception = attempts[0]!.events[0]!
      assert.strictEqual(exception.attributes["exception.message"], "not whsec_<redacted>")
      const batch = receiver
        .named("send default")
        .find(({ attributes }) => attributes["messaging.batch.message_count"] === 2)!
      assert.lengthOf(
        receiver.named("process default").filter(({ parentId }) => parentId === batch.spanId),
        2,
      )
    }).pipe(Effect.scoped),
  )

  it.live("are there for requests whose caller has hung up as well", () =>
    Effect.gen(function* () {
      const receiver = yield* OtlpReceiver.start
      const { client, process } = yield* startFresh(tracingTo(receiver))
      const slow = { type: "system:echo", delay_ms: 60_000 }
      yield* client.post("/v1/jobs", slow, { prefer: "wait=20" }).pipe(Effect.timeoutOption("300 millis"))
      yield* eventually(() => receiver.named("POST /v1/jobs").length > 0)
      yield* process.end("SIGTERM")
      const { attributes, status } = only(receiver.named("POST /v1/jobs"))
      assert.strictEqual(attributes["http.response.status_code"], 499)
      assert.strictEqual(status, "unset")
    }).pipe(Effect.scoped),
  )

  it.live("go on in the trace of a caller that names it in headers of our own", () =>
    Effect.gen(function* () {
      const receiver = yield* OtlpReceiver.start
      const { client, process } = yield* startFresh(tracingTo(receiver))
      const caller = { "x-trace-id": TRACE, "x-span-id": CALLER }
      const answer = yield* client.get("/v1/queues", caller)
      yield* client.get("/v1/queues", { ...caller, "x-trace-sampled": "0" })
      yield* process.end("SIGTERM")
      const { parentId, spanId, traceId } = only(receiver.named("GET /v1/queues"))
      assert.deepStrictEqual({ parentId, traceId }, { parentId: CALLER, traceId: TRACE })
      assert.strictEqual(answer.headers.get("x-span-id"), spanId)
    }).pipe(Effect.scoped),
  )

  it.live("that the caller does not want are not sent, and standard settings are followed", () =>
    Effect.gen(function* () {
      const receiver = yield* OtlpReceiver.start
      const { client, process } = yield* startFresh({
        ...tracingTo(receiver),
        OTEL_SERVICE_NAME: "barn",
        OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test",
        OTEL_EXPORTER_OTLP_HEADERS: "x-tenant=owls",
        OTEL_EXPORTER_OTLP_COMPRESSION: "gzip",
        OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: "7",
      })
      yield* client.get("/v1/jobs", { traceparent: `00-${TRACE}-${CALLER}-00` })
      yield* client.get("/v1/queues")
      yield* process.end("SIGTERM")
      assert.isEmpty(receiver.spans.filter(({ traceId }) => traceId === TRACE))
      const { attributes, resource } = only(receiver.named("GET /v1/queues"))
      assert.strictEqual(attributes["url.path"], "/v1/que")
      assert.deepInclude(resource, { "service.name": "barn", "deployment.environment.name": "test" })
      assert.deepInclude(receiver.requests[0], { "x-tenant": "owls", "content-encoding": "gzip" })
    }).pipe(Effect.scoped),
  )
})

describe("a sampler", () => {
  it.live(
    "that takes no share of the traces that begin here leaves out their jobs as well, and takes those of callers",
    () =>
      Effect.gen(function* () {
        const receiver = yield* OtlpReceiver.start
        const { client, process } = yield* startFresh({
          ...tracingTo(receiver),
          OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
          OTEL_TRACES_SAMPLER_ARG: "0",
        })
        const job = { type: "system:fail", payload: { times: 1 } }
        const own = yield* client.post("/v1/jobs", job, { prefer: "wait=20" })
        assert.strictEqual(own.headers.get("x-trace-sampled"), "0")
        yield* client.post("/v1/jobs", job, { prefer: "wait=20", traceparent })
        yield* process.end("SIGTERM")
        assert.isEmpty(receiver.spans.filter(({ traceId }) => traceId !== TRACE))
        assert.lengthOf(receiver.named("process default"), 2)
      }).pipe(Effect.scoped),
  )

  it.live("that takes a share takes about that", () =>
    Effect.gen(function* () {
      const receiver = yield* OtlpReceiver.start
      const { client, process } = yield* startFresh({
        ...tracingTo(receiver),
        OTEL_TRACES_SAMPLER: "traceidratio",
        OTEL_TRACES_SAMPLER_ARG: "0.5",
      })
      const requests = 400
      yield* Effect.forEach(Array.from({ length: requests }), () => client.get("/v1/jobs"), {
        concurrency: 20,
      })
      yield* process.end("SIGTERM")
      // Ten standard deviations: never by chance.
      assert.closeTo(receiver.named("GET /v1/jobs").length, requests / 2, 100)
    }).pipe(Effect.scoped),
  )
})

describe("a collector", () => {
  it.live(
    "that refuses or hangs harms nobody, is mentioned once and counted, and holds the stop up for 2 seconds at most",
    () =>
      Effect.gen(function* () {
        const receiver = yield* OtlpReceiver.start
        receiver.mood = "refuses"
        const scope = yield* Scope.make()
        const server = yield* Scope.provide(startFresh(tracingTo(receiver)), scope)
        const { client, process } = server
        const ask = Effect.forEach(Array.from({ length: 50 }), () => client.get("/v1/jobs"), {
          concurrency: 10,
        })
        for (let round = 0; round < 3; round++) {
          const seen = receiver.requests.length
          assert.isTrue((yield* ask).every(({ status }) => status === 200))
          yield* eventually(() => receiver.requests.length > seen)
        }
        yield* eventually(() => process.stdout.includes("traces could not be exported"))
        const metrics = samplesOf((yield* client.get("/metrics")).text)
        const lost = sum(metrics, "otel_sdk_exporter_span_exported_total", { error_type: "export_failed" })
        assert.isAtLeast(lost, 50)
        receiver.mood = "hangs"
        assert.isTrue((yield* ask).every(({ status }) => status === 200))
        const before = performance.now()
        assert.strictEqual((yield* process.end("SIGTERM")).code, 0)
        assert.isBelow(performance.now() - before, 5_000)
        assert.lengthOf(process.stdout.split("traces could not be exported"), 2)
        yield* Scope.close(scope, Exit.void)
      }).pipe(Effect.scoped),
  )

  it.live(
    "that is killed shows up in the log, the metrics and the health of a server that goes on",
    () =>
      Effect.gen(function* () {
        const collector = yield* collectorProcess
        const dataDir = yield* dataFolder
        const { client, process } = yield* start({
          dataDir,
          main: HASTY_MAIN,
          env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_SCHEDULE_DELAY: "100" },
        })
        const spans = Effect.map(client.get("/metrics"), ({ text }) => {
          const metrics = samplesOf(text)
          const lost = sum(metrics, "otel_sdk_exporter_span_exported_total", { error_type: "export_failed" })
          return { lost, sent: sum(metrics, "otel_sdk_exporter_span_exported_total") - lost }
        })
        const tracesAre = Effect.map(client.get("/health"), (answer) => {
          const { checks } = answer.json<{ readonly checks: ReadonlyArray<Record<string, unknown>> }>()
          return [answer.status, checks.find(({ name }) => name === "traces")!["status"]]
        })
        yield* client.get("/v1/jobs")
        yield* Effect.repeat(Effect.delay(spans, "50 millis"), { until: ({ sent }) => sent > 0 })
        assert.strictEqual((yield* spans).lost, 0)
        assert.deepStrictEqual(yield* tracesAre, [200, "pass"])

        collector.kill()
        const seen = yield* Effect.repeat(
          Effect.andThen(client.get("/v1/jobs"), Effect.delay(tracesAre, "250 millis")),
          { until: ([, status]) => status !== "pass" },
        )
        // It serves nevertheless.
        assert.deepStrictEqual(seen, [200, "fail"])
        assert.isAbove((yield* spans).lost, 0)
        assert.include(process.stdout, "traces could not be exported")
      }).pipe(Effect.scoped),
    60_000,
  )

  it.live("that is not there harms nobody either", () =>
    Effect.gen(function* () {
      const { client, process } = yield* startFresh({
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://127.0.0.1:9/v1/traces",
        OTEL_BSP_SCHEDULE_DELAY: "50",
      })
      assert.strictEqual((yield* client.get("/v1/jobs")).status, 200)
      assert.strictEqual((yield* process.end("SIGTERM")).code, 0)
    }).pipe(Effect.scoped),
  )
})

describe("without an endpoint", () => {
  it.live("nothing of OpenTelemetry is loaded", () =>
    Effect.gen(function* () {
      const loaded = Effect.fnUntraced(function* (env: Readonly<Record<string, string>>) {
        const { process } = yield* startFresh({ ...env, NODE_DEBUG: "module", NODE_DEBUG_NATIVE: "" })
        const { stderr } = yield* process.end("SIGTERM")
        return stderr.includes("@opentelemetry")
      })
      assert.isFalse(yield* loaded({}))
      assert.isFalse(
        yield* loaded({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9", OTEL_SDK_DISABLED: "true" }),
      )
      assert.isTrue(yield* loaded({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9" }))
    }).pipe(Effect.scoped),
  )

  it.live.each([
    { name: "OTEL_EXPORTER_OTLP_PROTOCOL", value: "grpc" },
    { name: "OTEL_TRACES_EXPORTER", value: "jaeger" },
    { name: "OTEL_TRACES_SAMPLER", value: "sometimes" },
    { name: "OTEL_TRACES_SAMPLER_ARG", value: "2" },
    { name: "OTEL_EXPORTER_OTLP_ENDPOINT", value: "not a url" },
  ])("a setting that cannot be followed stops the start and is named: $name", ({ name, value }) =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const { code, stderr } = yield* run(["serve"], { dataDir, env: { [name]: value } })
      assert.strictEqual(code, 1)
      assert.include(stderr, name)
    }).pipe(Effect.scoped),
  )
})
