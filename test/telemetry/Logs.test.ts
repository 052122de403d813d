import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { connect } from "node:net"
import { spawnSync } from "node:child_process"
import { hostname } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Client } from "../support/Client.ts"
import { eventually } from "../support/Eventually.ts"
import { dataFolder, type RenderOwlProcess, start, startFresh } from "../support/ServerProcess.ts"
import * as Tokens from "../support/Tokens.ts"

interface Line {
  readonly timestamp: string
  readonly level: string
  readonly message: string
  readonly service: string
  readonly host: string
  readonly requestId?: string
  readonly traceId?: string
  readonly spanId?: string
  readonly metadata?: Readonly<Record<string, unknown>>
}

/** What the process has logged; the two lines for people at the start are left out. */
const linesOf = ({ stdout }: Pick<RenderOwlProcess, "stdout">): ReadonlyArray<Line> =>
  stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Line)

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
const FORCED_EXIT_MAIN = fileURLToPath(new URL("./ForcedExitMain.ts", import.meta.url))
const FAULTY_MAIN = fileURLToPath(new URL("./FaultyMain.ts", import.meta.url))

describe("the log of a server", () => {
  it.live("has a line for each request and each attempt, which belong together by their ids", () =>
    Effect.gen(function* () {
      const { client, process } = yield* startFresh({ LOG_LEVEL: "info" })
      const headers = {
        traceparent: `00-${TRACE}-00f067aa0ba902b7-01`,
        "x-request-id": "mine-1",
        prefer: "wait=20",
      }
      const job = { type: "system:fail", payload: { times: 1, message: "not yet" } }
      const id = (yield* client.post("/v1/jobs", job, headers)).json()["id"]
      yield* client.get("/nowhere?token=opensesame")
      yield* client.get("/live")
      yield* client.follow(`/v1/jobs/${id}/events`)
      yield* process.end("SIGTERM")

      const lines = linesOf(process)
      for (const line of lines) {
        assert.strictEqual(new Date(line.timestamp).toISOString(), line.timestamp)
        assert.strictEqual(line.service, "renderowl")
        assert.strictEqual(line.host, hostname())
      }
      const ofRequest = lines.filter(({ requestId }) => requestId === "mine-1")
      assert.deepStrictEqual(ofRequest.map(({ level, message }) => `${level} ${message}`).toSorted(), [
        "info POST /v1/jobs 200",
        "info attempt 2 of system:fail completed",
        "warn attempt 1 of system:fail failed",
      ])
      for (const { traceId } of ofRequest) assert.strictEqual(traceId, TRACE)
      const [failed, completed] = ofRequest.filter(({ message }) => message.startsWith("attempt"))
      const { processingMs, waitMs, ...told } = failed!.metadata!
      assert.deepStrictEqual(told, {
        job: id,
        queue: "default",
        type: "system:fail",
        attempt: 1,
        outcome: "failed",
        error: "ToldToFail: not yet",
      })
      assert.isAtLeast(Number(waitMs), 0)
      assert.isAtLeast(Number(processingMs), 0)
      assert.deepInclude(completed!.metadata, { attempt: 2, outcome: "completed", jobOutcome: "completed" })

      const post = ofRequest.find(({ message }) => message.startsWith("POST"))!.metadata!
      assert.deepInclude(post, { method: "POST", route: "/v1/jobs", status: 200 })
      assert.match(String(post["principal"]), /^key_/)
      assert.isAbove(Number(post["bytes"]), 100)
      assert.isAbove(Number(post["durationMs"]), 0)

      const lost = lines.find(({ message }) => message === "GET (no route) 404")!
      assert.deepInclude(lost.metadata, { route: null, principal: null })
      const stream = lines.find(({ message }) => message === "GET /v1/jobs/:id/events 200")!
      assert.isAtLeast(Number(stream.metadata!["streamedMs"]), 0)
      assert.isUndefined(
        lines.find(({ message }) => message.includes("/live")),
        "probes are for debug",
      )
    }).pipe(Effect.scoped),
  )

  it.live("has a line for a job that ends while it waits, of which no attempt can tell", () =>
    Effect.gen(function* () {
      const { client, process } = yield* startFresh({ LOG_LEVEL: "info" })
      const job = { type: "system:echo", payload: 1, queue: "videos", delay_ms: 3_600_000 }
      const headers = { traceparent: `00-${TRACE}-00f067aa0ba902b7-01`, "x-request-id": "mine-2" }
      const id = (yield* client.post("/v1/jobs", job, headers)).json()["id"]
      assert.strictEqual((yield* client.post(`/v1/jobs/${String(id)}/cancel`, {})).status, 200)
      yield* process.end("SIGTERM")
      const line = linesOf(process).find(
        ({ message }) => message === "system:echo cancelled while it waited",
      )!
      const { totalMs, ...told } = line.metadata!
      assert.deepStrictEqual([line.level, line.requestId, line.traceId], ["info", "mine-2", TRACE])
      assert.deepStrictEqual(told, { job: id, queue: "videos", type: "system:echo", jobOutcome: "cancelled" })
      assert.isAtLeast(Number(totalMs), 0)
    }).pipe(Effect.scoped),
  )

  it.live("warns of a request that takes more than a second, unless its caller had asked to wait", () =>
    Effect.gen(function* () {
      const { client, process, url } = yield* startFresh({ LOG_LEVEL: "warn" })
      const job = { type: "system:sleep", payload: { ms: 1_200 } }
      assert.strictEqual((yield* client.post("/v1/jobs", job, { prefer: "wait=10" })).status, 200)
      // A body that comes late: the answer can only be late as well.
      yield* Effect.promise(async () => {
        const { hostname: host, port } = new URL(url)
        const socket = connect(Number(port), host)
        const head = [
          "POST /v1/jobs HTTP/1.1",
          "Host: owl",
          `Authorization: Bearer ${client.key}`,
          "Content-Type: application/json",
          "Content-Length: 22",
          "Connection: close",
        ]
        socket.write(`${head.join("\r\n")}\r\n\r\n`)
        await new Promise((resolve) => setTimeout(resolve, 1_100))
        socket.write('{"type":"system:echo"}')
        for await (const _ of socket);
      })
      yield* process.end("SIGTERM")
      // A disk that is slow has warnings of its own.
      const requests = linesOf(process).filter(({ message }) => String(message).includes("request"))
      assert.deepStrictEqual(
        requests.map(({ level, message }) => `${level} ${message}`),
        ["warn slow request: POST /v1/jobs 202"],
      )
    }).pipe(Effect.scoped),
  )

  it.live("has none of the secrets that went through it, at any level", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const jwtSecret = Tokens.secret()
      // The first start prints the admin key, on purpose; all others must not.
      yield* Effect.flatMap(start({ dataDir }), ({ process }) => process.end("SIGTERM")).pipe(Effect.scoped)
      const { client, process, url } = yield* start({
        dataDir,
        env: { LOG_LEVEL: "trace", JWT_SECRET: jwtSecret },
      })
      const exp = Math.floor(Date.now() / 1_000) + 60
      const claims = { iss: "renderowl", aud: "renderowl", sub: "ada", exp, scope: "jobs:read" }
      const jwt = Tokens.token({ alg: "HS256" }, claims, Tokens.hs256(jwtSecret))
      const forged = Tokens.token({ alg: "HS256" }, claims, Tokens.hs256("guess"))
      const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

      const issued = (yield* client.post("/v1/api-keys", { name: "farm", scopes: ["jobs:read"] })).json()
      const rotated = (yield* client.post(`/v1/api-keys/${issued["id"]}/rotate`, {})).json()
      for (const credential of [jwt, forged, `${issued["key"]}`, `${rotated["key"]}`, "ro_live_wrong"])
        yield* new Client(url, credential).get("/v1/jobs")
      yield* client.get(`/v1/jobs?token=${jwt}&signature=opensesame`, { cookie: "session=opensesame" })
      yield* client.get("/live", {
        authorization: "Basic dXNlcjpvcGVuc2VzYW1l",
        "x-api-key": `${rotated["key"]}`,
      })
      yield* client.get("/live", { "x-request-id": `${issued["key"]}` })
      yield* client.post("/v1/jobs", `{"type": "${webhookSecret}`)
      for (const message of [`${webhookSecret} and ${jwt}`, `Bearer ${rotated["key"]}`]) {
        const job = { type: "system:fail", payload: { times: 1, message }, max_attempts: 1 }
        yield* client.post("/v1/jobs", job, { prefer: "wait=20" })
      }
      const { stderr, stdout } = yield* process.end("SIGTERM")

      const said = stdout + stderr
      assert.isAbove(linesOf(process).length, 12, "or there is nothing to look through")
      for (const secret of [
        client.key!,
        jwtSecret,
        readFileSync(join(dataDir, "cursor.key"), "utf8").trim(),
        `${issued["key"]}`,
        `${rotated["key"]}`,
        ...jwt.split(".").slice(1),
        ...forged.split(".").slice(2),
        webhookSecret,
        "opensesame",
        "dXNlcjpvcGVuc2VzYW1l",
      ])
        assert.notInclude(said, secret)
      assert.include(said, "whsec_<redacted> and <redacted>")
    }).pipe(Effect.scoped),
  )
})

describe("a server goes on", () => {
  it.live("when nobody reads what it logs, and says afterwards how much was lost", () =>
    Effect.gen(function* () {
      const { client, process } = yield* startFresh({ LOG_LEVEL: "trace" })
      process.child.stdout!.pause()
      // More than the pipe, its buffers and the sink take together.
      for (let i = 0; i < 60; i++) {
        const answers = yield* Effect.forEach(Array.from({ length: 100 }), () => client.get("/nowhere"), {
          concurrency: 20,
        })
        assert.isTrue(answers.every(({ status }) => status === 404))
      }
      process.child.stdout!.resume()
      yield* client.get("/live")
      yield* eventually(() => process.stdout.includes('"log lines were lost"'))
      const lost = linesOf(process).find(({ message }) => message === "log lines were lost")!
      assert.isAbove(Number(lost.metadata!["lines"]), 0)
      assert.strictEqual((yield* process.end("SIGTERM")).code, 0)
    }).pipe(Effect.scoped),
  )

  it.live("when what it logs to is closed", () =>
    Effect.gen(function* () {
      const { client, process } = yield* startFresh({ LOG_LEVEL: "trace" })
      process.child.stdout!.destroy()
      for (let i = 0; i < 50; i++) assert.strictEqual((yield* client.get("/v1/jobs")).status, 200)
      assert.strictEqual((yield* process.end("SIGTERM")).code, 0)
    }).pipe(Effect.scoped),
  )
})

describe("an error that nobody catches", () => {
  const faulty = (signal: NodeJS.Signals) =>
    Effect.gen(function* () {
      const { client, process } = yield* start({ dataDir: yield* dataFolder, main: FAULTY_MAIN })
      assert.strictEqual((yield* client.get("/live")).status, 200)
      const { code, stderr } = yield* process.end(signal)
      assert.strictEqual(code, 1)
      assert.notInclude(stderr, "\n    at ", "the stack is in the log alone")
      assert.notInclude(stderr, "abcdefgh12345678")
      return { stderr, line: linesOf(process).at(-1)! }
    })

  it.live("is logged before the server stops in good order, with exit code 1", () =>
    Effect.gen(function* () {
      const { line, stderr } = yield* faulty("SIGUSR2")
      assert.deepInclude(line, {
        level: "fatal",
        message: "uncaught error nobody catches this, not even Bearer <redacted>",
      })
      assert.include(String(line.metadata!["cause"]), "FaultyMain.ts")
      assert.include(stderr, "renderowl: an uncaught error")
    }).pipe(Effect.scoped),
  )

  it.live("and so is a promise that fails with nobody looking", () =>
    Effect.gen(function* () {
      const { line, stderr } = yield* faulty("SIGUSR1")
      assert.deepInclude(line, { level: "fatal", message: "unhandled rejection nobody looks at this" })
      assert.include(stderr, "renderowl: an unhandled rejection")
    }).pipe(Effect.scoped),
  )
})

describe("a process that is ended by force", () => {
  it("has logged what it had told until then, with the time when it did", () => {
    const { status, stderr, stdout } = spawnSync(process.execPath, [FORCED_EXIT_MAIN], { encoding: "utf8" })
    assert.strictEqual(status, 1)
    const [before, after] = JSON.parse(stderr) as [number, number]
    const { message, timestamp } = JSON.parse(stdout) as Line
    assert.strictEqual(message, "attempt 1 of test completed")
    // To a millisecond, as two clocks are asked.
    assert.isAtLeast(Date.parse(timestamp), before - 1)
    assert.isAtMost(Date.parse(timestamp), after + 1)
  })
})
