/**
 * What a load consists of: which requests, in which proportion, and what must be there first. A scenario remembers a bounded
 * number of ids, so that what was made is also looked at.
 */
import { Effect, Schema } from "effect"
import type { Request, Requester } from "./Requester.ts"

/** The scenarios that come along. */
export const SCENARIOS = ["health", "enqueue", "mixed-render"] as const
export type ScenarioName = (typeof SCENARIOS)[number]

/** Ids that are remembered of each kind. */
const IDS_MAX = 1_000
/** Renders that are not finished, as far as the scenario has seen: more would only wait behind each other. */
const RENDERS_MAX = 4

/** The server did not let a scenario begin. */
export class NotPrepared extends Schema.TaggedError<NotPrepared>()("NotPrepared", {
  request: Schema.String,
  outcome: Schema.String,
}) {
  override get message(): string {
    return `the load cannot begin: ${this.request} answered ${this.outcome}`
  }
}

export interface Scenario {
  readonly name: string
  /** Makes what must be there, and answers how to make requests. */
  readonly prepare: (requester: Requester) => Effect.Effect<() => Request, NotPrepared>
}

/** The same request over and over. */
export const endpointScenario = (request: Request): Scenario => ({
  name: request.endpoint,
  prepare: () => Effect.succeed(() => request),
})

const JOB = JSON.stringify({ type: "system:echo", payload: { title: "A day at the harbour", seconds: 7.5 } })

const ENQUEUE: Request = { endpoint: "POST /v1/jobs", method: "POST", path: "/v1/jobs", body: JOB }

const HEALTH: Request = { endpoint: "GET /health", method: "GET", path: "/health" }

/** A short and small video: about a tenth of a second of work. */
const RENDER = JSON.stringify({
  composition_id: "TitleCard",
  input_props: { title: "Under load" },
  output_settings: { format: "mp4", width: 128, height: 72, fps: 10 },
})

const PROJECT: Request = {
  endpoint: "POST /v1/projects",
  method: "POST",
  path: "/v1/projects",
  body: JSON.stringify({ name: "Load test" }),
}

/** `random` answers from 0 up to 1. */
export const scenarioOf = (name: ScenarioName, random: () => number = Math.random): Scenario => {
  switch (name) {
    case "health":
      return { name, prepare: () => Effect.succeed(() => HEALTH) }
    case "enqueue":
      return { name, prepare: () => Effect.succeed(() => ENQUEUE) }
    case "mixed-render":
      return { name, prepare: (requester) => Effect.map(makeProject(requester), (id) => mixed(id, random)) }
  }
}

const makeProject = (requester: Requester): Effect.Effect<string, NotPrepared> =>
  Effect.promise(async () => {
    let id: string | undefined
    const { outcome } = await requester.send({ ...PROJECT, onAnswer: (body) => (id = idIn(body)) })
    return { id, outcome }
  }).pipe(
    Effect.flatMap(({ id, outcome }) =>
      id === undefined
        ? Effect.fail(new NotPrepared({ request: PROJECT.endpoint, outcome: outcome ?? "no id" }))
        : Effect.succeed(id),
    ),
  )

/**
 * What a site does that renders videos: a render now and then, many looks at how far renders are and at what there is, and
 * other jobs beside them.
 */
const mixed = (project: string, random: () => number): (() => Request) => {
  const jobs = new RecentIds(random)
  const renders = new RecentIds(random)
  const unfinished = new Set<string>()
  let onTheirWay = 0

  const enqueue: Request = { ...ENQUEUE, onAnswer: (body) => jobs.add(idIn(body)) }
  const list: Request = {
    endpoint: "GET /v1/projects/{id}/renders",
    method: "GET",
    path: `/v1/projects/${project}/renders?limit=20`,
  }
  const submit: Request = {
    endpoint: "POST /v1/projects/{id}/renders",
    method: "POST",
    path: `/v1/projects/${project}/renders`,
    body: RENDER,
    onAnswer: (body) => {
      const id = idIn(body)
      onTheirWay--
      renders.add(id)
      if (id !== undefined) unfinished.add(id)
    },
  }
  const lookAtRender = (id: string): Request => ({
    endpoint: "GET /v1/renders/{id}",
    method: "GET",
    path: `/v1/renders/${id}`,
    onAnswer: (body) => {
      if (!/"status"\s*:\s*"(?:pending|queued|rendering)"/.test(body)) unfinished.delete(id)
    },
  })
  const lookAtJob = (id: string): Request => ({
    endpoint: "GET /v1/jobs/{id}",
    method: "GET",
    path: `/v1/jobs/${id}`,
  })

  return () => {
    const draw = random()
    if (draw < 0.05 && unfinished.size + onTheirWay < RENDERS_MAX) {
      onTheirWay++
      return submit
    }
    if (draw < 0.45) {
      const [waiting] = unfinished
      const id = random() < 0.5 ? (waiting ?? renders.any()) : renders.any()
      return id === undefined ? list : lookAtRender(id)
    }
    if (draw < 0.65) return enqueue
    if (draw < 0.85) {
      const id = jobs.any()
      return id === undefined ? enqueue : lookAtJob(id)
    }
    return draw < 0.95 ? list : HEALTH
  }
}

/** The latest ids, in a ring. */
class RecentIds {
  readonly #ids: Array<string> = []
  readonly #random: () => number
  #next = 0

  constructor(random: () => number) {
    this.#random = random
  }

  add(id: string | undefined): void {
    if (id === undefined) return
    this.#ids[this.#next] = id
    this.#next = (this.#next + 1) % IDS_MAX
  }

  any(): string | undefined {
    return this.#ids[Math.floor(this.#random() * this.#ids.length)]
  }
}

const idIn = (body: string): string | undefined => /"id"\s*:\s*"([\w-]+)"/.exec(body)?.[1]
