import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { isComplete, open, parse } from "../http/RawHttp.ts"
import { Client, type RequestOptions } from "../support/Client.ts"
import { journalHead, type Server } from "../support/ServerProcess.ts"
import { SharedServer } from "../support/SharedServer.ts"

const JOB_ID = "job_01k8w3e5r7fm2vx9q4ztd6yhbn"
const PROJECT_ID = "proj_01k8w3e5r7fm2vx9q4ztd6yhbn"
const RENDER_ID = "rnd_01k8w3e5r7fm2vx9q4ztd6yhbn"
const ECHO = { type: "system:echo", payload: null }
const TITLE = { composition_id: "TitleCard", input_props: { title: "Hello" } }

interface Case {
  readonly name: string
  readonly method?: string
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly status: number
  readonly problem: string
  /** All of them: `field code`. */
  readonly errors?: ReadonlyArray<string>
}

const deep = (levels: number) => `{"type":"system:echo","payload":${"[".repeat(levels)}${"]".repeat(levels)}}`

const post = (
  name: string,
  path: string,
  body: unknown,
  [status, problem, ...errors]: readonly [number, string, ...ReadonlyArray<string>],
  headers?: Readonly<Record<string, string>>,
): Case => ({
  name,
  method: "POST",
  path,
  body,
  status,
  problem,
  ...(errors.length === 0 ? {} : { errors }),
  ...(headers === undefined ? {} : { headers }),
})

const get = (
  name: string,
  path: string,
  [status, problem, ...errors]: readonly [number, string, ...ReadonlyArray<string>],
  headers?: Readonly<Record<string, string>>,
): Case => ({
  name,
  path,
  status,
  problem,
  ...(errors.length === 0 ? {} : { errors }),
  ...(headers === undefined ? {} : { headers }),
})

const job = (fields: Record<string, unknown>) => ({ ...ECHO, ...fields })

/** Bodies. */
const bodies: ReadonlyArray<Case> = [
  post("JSON that breaks off", "/v1/jobs", '{"type":', [400, "malformed-json"]),
  post("JSON with a comma too many", "/v1/jobs", '{"type":"system:echo",}', [400, "malformed-json"]),
  post("a number that is none", "/v1/jobs", '{"type":"system:echo","delay_ms":NaN}', [400, "malformed-json"]),
  post("bytes that are no text", "/v1/jobs", Buffer.from([0xff, 0xfe, 0x00]), [400, "malformed-json"]),
  post(
    "a text that is no UTF-8",
    "/v1/jobs",
    Buffer.from('{"type":"system:echo","payload":"\xff"}', "latin1"),
    [400, "malformed-json"],
  ),
  post("an empty body", "/v1/jobs", "", [400, "validation-failed", " missing"]),
  post("null instead of an object", "/v1/jobs", "null", [400, "validation-failed", " invalid_type"]),
  post("an array instead of an object", "/v1/jobs", [ECHO], [400, "validation-failed", " invalid_type"]),
  post(
    "wrong types everywhere",
    "/v1/jobs",
    {
      type: 7,
      queue: "Not A Queue",
      priority: "asap",
      delay_ms: "1000",
      max_attempts: 0,
      timeout_ms: 500.5,
      idempotency_key: "",
      tags: ["ok", 5],
    },
    [
      400,
      "validation-failed",
      "type invalid_type",
      "queue invalid_format",
      "priority invalid_value",
      "delay_ms invalid_type",
      "max_attempts out_of_range",
      "timeout_ms invalid_type",
      "idempotency_key invalid_length",
      "tags.1 invalid_type",
    ],
  ),
  post("a field that does not exist", "/v1/jobs", job({ payloda: 1 }), [
    400,
    "validation-failed",
    "payloda unknown_field",
  ]),
  post("a field called __proto__", "/v1/jobs", '{"type":"system:echo","__proto__":{"queue":"x"}}', [
    400,
    "validation-failed",
    "__proto__ unknown_field",
  ]),
  post("nothing at all of what is required", "/v1/jobs", {}, [400, "validation-failed", "type missing"]),
  post("both a delay and a time", "/v1/jobs", job({ delay_ms: 1, scheduled_at: "2030-01-01T00:00:00Z" }), [
    400,
    "validation-failed",
    "scheduled_at invalid_value",
  ]),
  post("a number beyond all numbers", "/v1/jobs", '{"type":"system:echo","delay_ms":1e999}', [
    400,
    "validation-failed",
    "delay_ms invalid_type",
    "delay_ms out_of_range",
  ]),
  post("a delay of 300 years", "/v1/jobs", job({ delay_ms: 1e13 }), [
    400,
    "validation-failed",
    "delay_ms out_of_range",
  ]),
  post("a delay into the past", "/v1/jobs", job({ delay_ms: -1 }), [
    400,
    "validation-failed",
    "delay_ms out_of_range",
  ]),
  post("a day that no calendar has", "/v1/jobs", job({ scheduled_at: "2030-02-30T25:00:00Z" }), [
    400,
    "validation-failed",
    "scheduled_at invalid_value",
  ]),
  post("a payload with infinity in it", "/v1/jobs", '{"type":"system:echo","payload":{"deep":[1e999]}}', [
    400,
    "validation-failed",
    "payload invalid_type",
  ]),
  post("a job type that nobody runs", "/v1/jobs", job({ type: "system:unknown" }), [
    400,
    "validation-failed",
    "type invalid_value",
  ]),
  post(
    "a payload that does not fit its type",
    "/v1/jobs",
    { type: "system:sleep", payload: { ms: -1, x: 1 } },
    [400, "validation-failed", "payload.ms out_of_range", "payload.x unknown_field"],
  ),
  post("JSON 65 levels deep", "/v1/jobs", deep(65), [400, "validation-failed", "payload invalid_type"]),
  post("JSON 100,000 levels deep", "/v1/jobs", deep(100_000), [
    400,
    "validation-failed",
    "payload invalid_type",
  ]),
  post("a batch with one job 4,000,000 levels deep", "/v1/jobs/batch", `{"jobs":[${deep(4_000_000)}]}`, [
    400,
    "validation-failed",
    " invalid_length",
  ]),
  post(
    "a payload of a million empty arrays",
    "/v1/jobs",
    job({ payload: Array.from({ length: 1e6 }, () => []) }),
    [400, "validation-failed", " invalid_length"],
  ),
  post("a version that is not there", "/v9/jobs", ECHO, [400, "unsupported-version"]),
  post("a version that is not there, in a header", "/jobs", ECHO, [400, "unsupported-version"], {
    "api-version": "v9",
  }),
  post("1,001 jobs at once", "/v1/jobs/batch", { jobs: Array.from({ length: 1_001 }, () => ECHO) }, [
    400,
    "validation-failed",
    "jobs invalid_length",
  ]),
  post("a batch of nothing", "/v1/jobs/batch", { jobs: [] }, [
    400,
    "validation-failed",
    "jobs invalid_length",
  ]),
  post("a body that says it is XML", "/v1/jobs", "<job/>", [415, "unsupported-media-type"], {
    "content-type": "application/xml",
  }),
  post("a compressed body", "/v1/jobs", "…", [415, "unsupported-media-type"], { "content-encoding": "gzip" }),
  post("a project without a name", "/v1/projects", { name: "", settings: { default_fps: 0, size: 1 } }, [
    400,
    "validation-failed",
    "name invalid_length",
    "settings.default_fps out_of_range",
    "settings.size unknown_field",
  ]),
  post("a redrive of more than is allowed", "/v1/dead-letters/redrive", { limit: 100_000, status: "dead" }, [
    400,
    "validation-failed",
    "limit out_of_range",
    "status unknown_field",
  ]),
  post("a priority that does not exist", `/v1/jobs/${JOB_ID}/prioritize`, { priority: 1 }, [
    400,
    "validation-failed",
    "priority invalid_value",
  ]),
]

const LATER = { ...ECHO, delay_ms: 3_600_000 }

/** What jobs wait for, how long they may, and what they share; and the limits of queues. */
const semantics: ReadonlyArray<Case> = [
  post("a job that depends on one that is not there", "/v1/jobs", job({ depends_on: [JOB_ID] }), [
    400,
    "validation-failed",
    "depends_on invalid_value",
  ]),
  post("a job that depends on no id at all", "/v1/jobs", job({ depends_on: ["yesterday", 7] }), [
    400,
    "validation-failed",
    "depends_on.0 invalid_format",
    "depends_on.1 invalid_type",
  ]),
  post("a job that depends on nothing", "/v1/jobs", job({ depends_on: [] }), [
    400,
    "validation-failed",
    "depends_on invalid_length",
  ]),
  post(
    "a job that depends on 101 others",
    "/v1/jobs",
    job({ depends_on: Array.from({ length: 101 }, () => JOB_ID) }),
    [400, "validation-failed", "depends_on invalid_length"],
  ),
  post(
    "what happens after a failure without depending on anything",
    "/v1/jobs",
    job({ on_dependency_failure: "run" }),
    [400, "validation-failed", "on_dependency_failure invalid_value"],
  ),
  post(
    "a policy that does not exist",
    "/v1/jobs",
    job({ depends_on: [JOB_ID], on_dependency_failure: "hope" }),
    [400, "validation-failed", "on_dependency_failure invalid_value"],
  ),
  post("a ref outside of a batch", "/v1/jobs", job({ ref: "a" }), [
    400,
    "validation-failed",
    "ref unknown_field",
  ]),
  post(
    "a batch whose jobs wait for each other",
    "/v1/jobs/batch",
    {
      jobs: [
        LATER,
        { ...LATER, ref: "a", depends_on: ["c"] },
        { ...LATER, ref: "b", depends_on: ["a"] },
        { ...LATER, ref: "c", depends_on: ["b"] },
      ],
    },
    [400, "validation-failed", "jobs.1.depends_on invalid_value"],
  ),
  post(
    "a batch of one job that waits for itself",
    "/v1/jobs/batch",
    { jobs: [{ ...LATER, ref: "a", depends_on: ["a"] }] },
    [400, "validation-failed", "jobs.0.depends_on invalid_value"],
  ),
  post(
    "a batch with a ref that names nobody",
    "/v1/jobs/batch",
    { jobs: [LATER, { ...LATER, depends_on: ["b"] }] },
    [400, "validation-failed", "jobs.1.depends_on invalid_value"],
  ),
  post(
    "a batch with two jobs of the same ref, whom nobody depends on",
    "/v1/jobs/batch",
    { jobs: [{ ...LATER, ref: "a" }, LATER, { ...LATER, ref: "a" }] },
    [400, "validation-failed", "jobs.2.ref invalid_value"],
  ),
  post("a batch with a ref of nothing", "/v1/jobs/batch", { jobs: [{ ...LATER, ref: "" }] }, [
    400,
    "validation-failed",
    "jobs.0.ref invalid_length",
  ]),
  post("a job that expired last year", "/v1/jobs", job({ expires_at: "2025-01-01T00:00:00Z" }), [
    400,
    "validation-failed",
    "expires_at out_of_range",
  ]),
  post(
    "a job that expires before it is due",
    "/v1/jobs",
    job({ scheduled_at: "2999-01-02T00:00:00Z", expires_at: "2999-01-01T00:00:00Z" }),
    [400, "validation-failed", "expires_at out_of_range"],
  ),
  post(
    "a batch with a job that expires when it is due",
    "/v1/jobs/batch",
    { jobs: [LATER, job({ scheduled_at: "2999-01-01T00:00:00Z", expires_at: "2999-01-01T01:00:00+01:00" })] },
    [400, "validation-failed", "jobs.1.expires_at out_of_range"],
  ),
  post("a concurrency key of nothing", "/v1/jobs", job({ concurrency_key: "" }), [
    400,
    "validation-failed",
    "concurrency_key invalid_length",
  ]),
  post("a concurrency key of 256 characters", "/v1/jobs", job({ concurrency_key: "k".repeat(256) }), [
    400,
    "validation-failed",
    "concurrency_key invalid_length",
  ]),
  post(
    "a reschedule to a day that no calendar has",
    `/v1/jobs/${JOB_ID}/reschedule`,
    { scheduled_at: "2030-02-30T25:00:00Z" },
    [400, "validation-failed", "scheduled_at invalid_value"],
  ),
  post("a redrive of a tag of nothing", "/v1/dead-letters/redrive", { tag: "" }, [
    400,
    "validation-failed",
    "tag invalid_length",
  ]),
  ...(
    [
      [
        "of nothing",
        { concurrency: 0, key_concurrency: 0, rate_limit: { starts: 0, per_ms: 0 } },
        "out_of_range",
      ],
      [
        "below nothing",
        { concurrency: -1, key_concurrency: -1, rate_limit: { starts: -1, per_ms: -1 } },
        "out_of_range",
      ],
      [
        "of one and a half",
        { concurrency: 1.5, key_concurrency: 1.5, rate_limit: { starts: 1.5, per_ms: 1.5 } },
        "invalid_type",
      ],
      [
        "in words",
        { concurrency: "1", key_concurrency: "1", rate_limit: { starts: "1", per_ms: "1" } },
        "invalid_type",
      ],
      [
        "beyond all measure",
        { concurrency: 1_001, key_concurrency: 1_001, rate_limit: { starts: 10_001, per_ms: 86_400_001 } },
        "out_of_range",
      ],
    ] as const
  ).map(
    ([name, body, code]): Case => ({
      name: `limits ${name}`,
      method: "PUT",
      path: "/v1/queues/default",
      body,
      status: 400,
      problem: "validation-failed",
      errors: ["concurrency", "key_concurrency", "rate_limit.starts", "rate_limit.per_ms"].map(
        (field) => `${field} ${code}`,
      ),
    }),
  ),
  {
    name: "half a rate limit, no key concurrency, and a limit that does not exist",
    method: "PUT",
    path: "/v1/queues/default",
    body: { rate_limit: { starts: 1 }, key_concurrency: null, memory: 1 },
    status: 400,
    problem: "validation-failed",
    errors: ["rate_limit.per_ms missing", "key_concurrency invalid_type", "memory unknown_field"],
  },
  {
    name: "limits of a queue that cannot exist",
    method: "PUT",
    path: "/v1/queues/NOTHING",
    body: {},
    status: 400,
    problem: "invalid-id",
    errors: ["name invalid_format"],
  },
  ...["pause", "drain", "resume"].map((command) =>
    post(`a ${command} of no queue`, `/v1/queues/nothing/${command}`, undefined, [404, "queue-not-found"]),
  ),
  get("the logs of no job", `/v1/jobs/${JOB_ID}/logs`, [404, "job-not-found"]),
  get("the logs of attempt 0", `/v1/jobs/${JOB_ID}/logs?attempt=0`, [
    400,
    "validation-failed",
    "attempt out_of_range",
  ]),
  get("a job at no time", `/v1/jobs/${JOB_ID}?at=noon`, [
    400,
    "validation-failed",
    "at invalid_format",
    "at invalid_value",
  ]),
  get("a job both at a version and at a time", `/v1/jobs/${JOB_ID}?version=1&at=2030-01-01T00:00:00Z`, [
    400,
    "invalid-request",
  ]),
]

/** Paths, ids, queries, methods, headers. */
const targets: ReadonlyArray<Case> = [
  get("a route that does not exist", "/v1/nothing", [404, "not-found"]),
  get("a route above the root", "/v1/../../etc/passwd", [404, "not-found"]),
  {
    name: "a method that the path does not take",
    method: "DELETE",
    path: "/v1/jobs",
    status: 405,
    problem: "method-not-allowed",
  },
  {
    name: "a method that does not exist here",
    method: "PATCH",
    path: `/v1/jobs/${JOB_ID}`,
    body: {},
    status: 405,
    problem: "method-not-allowed",
  },
  get("a job that does not exist", `/v1/jobs/${JOB_ID}`, [404, "job-not-found"]),
  get("the events of no job", `/v1/jobs/${JOB_ID}/events`, [404, "job-not-found"]),
  get("the live events of no job", `/v1/jobs/${JOB_ID}/events`, [404, "job-not-found"], {
    accept: "text/event-stream",
  }),
  post("cancelling no job", `/v1/jobs/${JOB_ID}/cancel`, undefined, [404, "job-not-found"]),
  post("retrying no job", `/v1/jobs/${JOB_ID}/retry`, undefined, [404, "job-not-found"]),
  get("an id that is none", "/v1/jobs/42", [400, "invalid-id", "id invalid_format"]),
  get("an id of another kind", `/v1/jobs/${RENDER_ID}`, [400, "invalid-id", "id invalid_format"]),
  get("an id with SQL in it", "/v1/jobs/job_'%20OR%201=1--", [400, "invalid-id", "id invalid_format"]),
  get("an id of 1,000 characters", `/v1/jobs/${"a".repeat(1_000)}`, [400, "invalid-id", "id invalid_format"]),
  get("an id that is longer in lower case", `/v1/jobs/${encodeURIComponent("İ")}/logs`, [
    400,
    "invalid-id",
    "id invalid_format",
  ]),
  get("a path in capitals", "/V1/JOBS", [404, "not-found"]),
  get("an id with a broken escape", "/v1/jobs/%E0%A4%A", [404, "not-found"]),
  get("a job at version 0", `/v1/jobs/${JOB_ID}?version=0`, [
    400,
    "validation-failed",
    "version out_of_range",
  ]),
  get("a project that does not exist", `/v1/projects/${PROJECT_ID}`, [404, "project-not-found"]),
  get("the renders of no project", `/v1/projects/${PROJECT_ID}/renders`, [404, "project-not-found"]),
  post("a render for no project", `/v1/projects/${PROJECT_ID}/renders`, TITLE, [404, "project-not-found"]),
  get("a render that does not exist", `/v1/renders/${RENDER_ID}`, [404, "render-not-found"]),
  get("the output of no render", `/v1/renders/${RENDER_ID}/output`, [404, "render-not-found"]),
  post("cancelling no render", `/v1/renders/${RENDER_ID}/cancel`, undefined, [404, "render-not-found"]),
  get("a composition that does not exist", "/v1/compositions/Nothing", [404, "not-found"]),
  get("the thumbnail of no composition", "/v1/compositions/Nothing/thumbnail", [404, "not-found"]),
  get("a thumbnail a mile wide", "/v1/compositions/TitleCard/thumbnail?width=160934", [
    400,
    "validation-failed",
    "width out_of_range",
  ]),
  get("a queue that does not exist", "/v1/queues/nothing", [404, "queue-not-found"]),
  get("a queue that cannot exist", "/v1/queues/NOTHING", [400, "invalid-id", "name invalid_format"]),
  get("a cursor that was never given", "/v1/jobs?cursor=bm90aGluZw", [400, "invalid-request"]),
  get("a page of everything", "/v1/jobs?limit=100000&status=gone&nope=1", [
    400,
    "validation-failed",
    "limit out_of_range",
    "status invalid_value",
    "nope unknown_field",
  ]),
  get("a limit that is no number", "/v1/jobs?limit=ten", [400, "validation-failed", "limit invalid_type"]),
  get("a time that is none", "/v1/jobs?created_after=yesterday", [
    400,
    "validation-failed",
    "created_after invalid_format",
    "created_after invalid_value",
  ]),
  get("a URL of 3,000 characters", `/v1/jobs?tag=${"x".repeat(3_000)}`, [414, "uri-too-long"]),
  get("headers of 20,000 bytes", "/v1/jobs", [431, "headers-too-large"], { "x-much": "x".repeat(20_000) }),
  get("an answer as a picture", "/v1/jobs", [406, "not-acceptable"], { accept: "image/png" }),
  get("credentials of nobody", "/v1/jobs", [401, "invalid-api-key"], {
    authorization: "Bearer ro_live_BJY1D1GO3udMWerRlqlWnsT3QBf4VO3RJCRT",
  }),
  get("credentials that are none", "/v1/jobs", [401, "invalid-api-key"], {
    authorization: "Bearer nonsense",
  }),
  get("a scheme that nobody knows", "/v1/jobs", [401, "unauthorized"], { authorization: "Basic YTpi" }),
]

/** What no answer may show: where our files are, how the code is called, or what the database was asked. */
const LEAKS = /node_modules|\/src\/|\.ts:\d|\bat [A-Za-z]+ \(|SELECT |INSERT |SQLITE|sqlite|Cause|_tag/

layer(SharedServer.layer(), { excludeTestServices: true, timeout: 20_000 })("bad input", (it) => {
  const refused = Effect.fnUntraced(function* (
    { client, dataDir, process }: Server,
    { body, errors, headers, method = "GET", path, problem, status }: Case,
  ) {
    const head = journalHead(dataDir)
    const options: RequestOptions = { body, ...(headers === undefined ? {} : { headers }) }
    const answer = yield* client.request(method, path, options)
    assert.strictEqual(answer.status, status, answer.text)
    assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
    assert.strictEqual(answer.problem, problem, answer.text)
    const document = answer.json()
    assert.strictEqual(document["status"], status)
    assert.match(String(document["trace_id"]), /^[0-9a-f]{32}$/)
    if (errors !== undefined) assert.sameMembers([...answer.fieldErrors], [...errors], answer.text)
    assert.notMatch(answer.text, LEAKS)
    assert.strictEqual((yield* client.get(`/errors/${problem}`)).status, 200)
    assert.strictEqual(journalHead(dataDir), head, "something was stored")
    assert.strictEqual((yield* client.get("/health")).status, 200)
    assert.notInclude(process.stdout, "unexpectedly")
  })

  for (const each of [...bodies, ...semantics, ...targets]) {
    it.effect(`${each.name} is refused: ${each.status} ${each.problem}`, () =>
      Effect.flatMap(SharedServer, (server) => refused(server, each)),
    )
  }

  const MEGABYTES = 20
  const megabyte = Buffer.alloc(1_000_000, " ")

  it.effect("20 MB that are announced are refused before they are sent", () =>
    Effect.gen(function* () {
      const server = yield* SharedServer
      const head = journalHead(server.dataDir)
      const connection = yield* open(Number(new URL(server.url).port))
      connection.send(
        `POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.client.key}\r\n` +
          `Content-Type: application/json\r\nContent-Length: ${MEGABYTES * megabyte.length}\r\n\r\n{`,
      )
      const answer = parse(yield* Effect.promise(() => connection.receive(isComplete)))
      assert.strictEqual(answer.status, 413)
      assert.match(String(answer.json["type"]), /\/payload-too-large$/)
      assert.strictEqual(answer.json["limit_bytes"], 10_000_000)
      assert.strictEqual(journalHead(server.dataDir), head)
      assert.strictEqual((yield* server.client.get("/health")).status, 200)
    }),
  )

  it.effect("20 MB that come in chunks are refused when they pass the limit", () =>
    Effect.gen(function* () {
      const server = yield* SharedServer
      const head = journalHead(server.dataDir)
      const connection = yield* open(Number(new URL(server.url).port))
      connection.send(
        `POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.client.key}\r\n` +
          "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
      )
      for (let sent = 0; sent < MEGABYTES; sent++) {
        connection.send(`${megabyte.length.toString(16)}\r\n`)
        connection.send(megabyte)
        connection.send("\r\n")
      }
      const answer = parse(yield* Effect.promise(() => connection.receive(isComplete)))
      assert.strictEqual(answer.status, 413)
      assert.match(String(answer.json["type"]), /\/payload-too-large$/)
      assert.strictEqual(journalHead(server.dataDir), head)
      assert.strictEqual((yield* server.client.get("/health")).status, 200)
    }),
  )

  it.effect("9 MB that are valid are taken, kept and given back", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const payload = "é".repeat(4_500_000)
      const submitted = yield* client.post("/v1/jobs", { type: "system:echo", payload })
      assert.strictEqual(submitted.status, 202, submitted.text.slice(0, 500))
      const id = String(submitted.json()["id"])
      yield* client.follow(`/v1/jobs/${id}/events`, { until: ({ event }) => event === "JobCompleted" })
      assert.isTrue((yield* client.get(`/v1/jobs/${id}`)).json()["result"] === payload)
    }),
  )

  it.effect("a request without credentials is told how to authenticate", () =>
    Effect.gen(function* () {
      const { url } = yield* SharedServer
      const nobody = new Client(url, undefined)
      for (const path of ["/v1/jobs", "/v1/projects", "/v1/queues", "/v1/dead-letters", "/v1/compositions"]) {
        const answer = yield* nobody.get(path)
        assert.strictEqual(answer.status, 401, path)
        assert.strictEqual(answer.problem, "unauthorized")
        assert.strictEqual(answer.headers.get("www-authenticate"), 'Bearer realm="renderowl"')
      }
    }),
  )
})
