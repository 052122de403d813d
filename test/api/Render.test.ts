import { loadImage } from "@napi-rs/canvas"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { BufferSource, Input, MP4 } from "mediabunny"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import type { CompositionJson } from "../../src/api/v1/compositions/Api.ts"
import type { ProjectJson } from "../../src/api/v1/projects/Api.ts"
import type { RenderJson } from "../../src/api/v1/renders/RenderJson.ts"
import type { Answer, Client, StreamEvent } from "../support/Client.ts"
import { eventually } from "../support/Eventually.ts"
import { journalHead } from "../support/ServerProcess.ts"
import { SharedServer } from "../support/SharedServer.ts"

type Render = typeof RenderJson.Encoded
type Project = typeof ProjectJson.Encoded
type Composition = typeof CompositionJson.Encoded
interface Page<Item> {
  readonly data: ReadonlyArray<Item>
  readonly pagination: { readonly next_cursor: string | null; readonly has_more: boolean }
}

const SMALL = { width: 320, height: 180 }
/** Small enough for a test, long enough to be stopped in the middle. */
const LONG = {
  composition_id: "TitleCard",
  input_props: { title: "Stop me", duration_sec: 60 },
  output_settings: { format: "mp4", fps: 30, ...SMALL },
}
const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])

const createProject = (client: Client, settings?: Partial<Project["settings"]>) =>
  Effect.map(client.post("/v1/projects", { name: "Films", settings }), (answer) => {
    assert.strictEqual(answer.status, 201, answer.text)
    return answer.json<Project>().id
  })

const submit = (client: Client, project: string, render: unknown) =>
  Effect.map(client.post(`/v1/projects/${project}/renders`, render), (answer) => {
    assert.strictEqual(answer.status, 202, answer.text)
    const body = answer.json<Render>()
    assert.strictEqual(answer.headers.get("location"), `/v1/renders/${body.id}`)
    return body
  })

const show = (client: Client, id: string) =>
  Effect.map(client.get(`/v1/renders/${id}`), (answer) => answer.json<Render>())

/** Waits for the end, and answers the render and its output. */
const finish = Effect.fnUntraced(function* (client: Client, id: string) {
  yield* client.follow(`/v1/renders/${id}/events`)
  const render = yield* show(client, id)
  assert.strictEqual(render.status, "completed", JSON.stringify(render.error))
  const output = yield* client.get(render.output!.url)
  assert.strictEqual(output.status, 200)
  assert.strictEqual(output.headers.get("content-type"), render.output?.content_type)
  assert.strictEqual(output.bytes.length, render.output?.bytes)
  return { render, bytes: output.bytes }
})

const demux = (bytes: Uint8Array) =>
  Effect.promise(async () => {
    using input = new Input({ formats: [MP4], source: new BufferSource(bytes) })
    const track = (await input.getPrimaryVideoTrack())!
    const { packetCount } = await track.computePacketStats()
    return {
      codec: await track.getCodec(),
      width: await track.getDisplayWidth(),
      height: await track.getDisplayHeight(),
      frames: packetCount,
      seconds: Math.round((await track.computeDuration()) * 1_000) / 1_000,
    }
  })

const isSegment = ({ data, event }: StreamEvent) =>
  event === "JobStepCompleted" && JSON.stringify(data).includes('"segment-')

layer(SharedServer.layer(), { excludeTestServices: true, timeout: 20_000 })("renders", (it) => {
  it.effect(
    "a video is submitted, followed live to its end, and downloaded",
    () =>
      Effect.gen(function* () {
        const { client } = yield* SharedServer
        const project = yield* createProject(client)
        const { id, status } = yield* submit(client, project, {
          composition_id: "TitleCard",
          input_props: { title: "Hello, world", duration_sec: 3 },
          output_settings: { format: "mp4", fps: 30, ...SMALL },
        })
        assert.include(["queued", "rendering"], status)
        const early = yield* client.get(`/v1/renders/${id}/output`)
        assert.strictEqual(early.status, 409)
        assert.strictEqual(early.problem, "render-not-complete")

        const { ended, events } = yield* client.follow(`/v1/renders/${id}/events`)
        assert.isTrue(ended)
        const journaled = events.filter((event) => event.id !== undefined)
        assert.deepStrictEqual(
          journaled.map((event) => event.id),
          journaled.map((_, index) => index + 1),
        )
        assert.deepStrictEqual(
          [journaled[0]?.event, journaled.at(-1)?.event],
          ["JobEnqueued", "JobCompleted"],
        )
        const frames = events
          .filter(({ event }) => event === "progress")
          .map(({ data }) => Number(data["current_frame"]))
        assert.isNotEmpty(frames)
        assert.deepStrictEqual(
          frames,
          frames.toSorted((a, b) => a - b),
        )

        const { bytes, render } = yield* finish(client, id)
        assert.deepStrictEqual(yield* demux(bytes), { codec: "avc", ...SMALL, frames: 90, seconds: 3 })
        assert.deepStrictEqual(render.progress, {
          percent: 100,
          current_frame: 90,
          total_frames: 90,
          estimated_remaining_sec: 0,
        })
        const late = yield* client.post(`/v1/renders/${id}/cancel`)
        assert.strictEqual(late.status, 409)
        assert.strictEqual(late.problem, "render-not-cancellable")
      }),
    30_000,
  )

  it.effect("a project's settings hold where the request says nothing", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const project = yield* createProject(client, {
        default_width: 192,
        default_height: 108,
        default_fps: 10,
        default_duration_sec: 1,
      })
      const { id } = yield* submit(client, project, {
        composition_id: "TitleCard",
        input_props: { title: "Small and short" },
      })
      const { bytes } = yield* finish(client, id)
      assert.deepStrictEqual(yield* demux(bytes), {
        codec: "avc",
        width: 192,
        height: 108,
        frames: 10,
        seconds: 1,
      })
    }),
  )

  it.effect("a still is one picture of the size and format asked for", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const project = yield* createProject(client)
      for (const format of ["png", "webp", "jpeg"]) {
        const { id } = yield* submit(client, project, {
          composition_id: "TitleCard",
          input_props: { title: "Still" },
          output_settings: { format, ...SMALL },
        })
        const { bytes, render } = yield* finish(client, id)
        assert.strictEqual(render.output?.content_type, `image/${format}`)
        assert.strictEqual(render.output?.frames, 1)
        const { height, width } = yield* Effect.promise(() => loadImage(Buffer.from(bytes)))
        assert.deepStrictEqual({ width, height }, SMALL, format)
      }
    }),
  )

  it.effect("the example of every composition renders as it is, and has a thumbnail", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const project = yield* createProject(client)
      const { data } = (yield* client.get("/v1/compositions")).json<{
        readonly data: ReadonlyArray<Composition>
      }>()
      assert.isNotEmpty(data)
      for (const { example_props, id: composition_id, thumbnail_url } of data) {
        const thumbnail = yield* client.get(`${thumbnail_url}?width=64`)
        assert.strictEqual(thumbnail.headers.get("content-type"), "image/png")
        assert.deepStrictEqual(Buffer.from(thumbnail.bytes.subarray(0, PNG.length)), PNG)
        const { id } = yield* submit(client, project, {
          composition_id,
          input_props: example_props,
          output_settings: { format: "png", ...SMALL },
        })
        const { bytes } = yield* finish(client, id)
        assert.deepStrictEqual(Buffer.from(bytes.subarray(0, PNG.length)), PNG, composition_id)
      }
    }),
  )

  it.effect("cancelling stops a render in the middle and leaves nothing behind", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const project = yield* createProject(client)
      const { id, job_id } = yield* submit(client, project, LONG)
      yield* client.follow(`/v1/renders/${id}/events`, { until: isSegment })
      const cancelled = yield* client.post(`/v1/renders/${id}/cancel`)
      assert.strictEqual(cancelled.status, 200, cancelled.text)
      assert.strictEqual(cancelled.json<Render>().status, "cancelled")

      // The renderer is free again: what is submitted next gets its turn.
      const next = yield* submit(client, project, {
        composition_id: "TitleCard",
        input_props: { title: "Next" },
        output_settings: { format: "png", ...SMALL },
      })
      yield* finish(client, next.id)
      yield* eventually(() => !existsSync(join(dataDir, "renders", ".work", job_id)))
      assert.isFalse(
        readdirSync(join(dataDir, "renders")).some((name) => name.includes(id.slice("rnd_".length))),
      )
      const output = yield* client.get(`/v1/renders/${id}/output`)
      assert.strictEqual(output.problem, "render-not-complete")
      const again = yield* client.post(`/v1/renders/${id}/cancel`)
      assert.strictEqual(again.status, 200, "cancelling twice is the same as once")
    }),
  )

  it.effect("everything that does not fit is named, and nothing is queued", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const project = yield* createProject(client)
      const refused = Effect.fnUntraced(function* (render: unknown, errors: ReadonlyArray<string>) {
        const head = journalHead(dataDir)
        const answer = yield* client.post(`/v1/projects/${project}/renders`, render)
        assert.strictEqual(answer.status, 400, answer.text)
        assert.strictEqual(answer.problem, "validation-failed")
        assert.sameMembers([...answer.fieldErrors], [...errors], answer.text)
        assert.strictEqual(journalHead(dataDir), head)
      })
      yield* refused({ composition_id: "Nothing" }, ["composition_id invalid_value"])
      yield* refused({ composition_id: "TitleCard" }, ["input_props.title missing"])
      yield* refused({ composition_id: "TitleCard", input_props: [] }, ["input_props invalid_type"])
      yield* refused(
        { composition_id: "TitleCard", input_props: { kicker: 5, motif: "sun", duration_sec: 1e9, size: 1 } },
        [
          "input_props.title missing",
          "input_props.kicker invalid_type",
          "input_props.motif invalid_value",
          "input_props.duration_sec out_of_range",
          "input_props.size unknown_field",
        ],
      )
      yield* refused(
        { ...LONG, output_settings: { format: "avi", width: 0, height: 99_999, fps: 1_000, bitrate: 1 } },
        [
          "output_settings.format invalid_value",
          "output_settings.width out_of_range",
          "output_settings.height out_of_range",
          "output_settings.fps out_of_range",
          "output_settings.bitrate unknown_field",
        ],
      )
      yield* refused({ ...LONG, output_settings: { format: "mp4", width: 321, height: 181 } }, [
        "output_settings.width invalid_value",
        "output_settings.height invalid_value",
      ])
      yield* refused({ ...LONG, engine: "blender", priority: "now" }, [
        "engine invalid_value",
        "priority invalid_value",
      ])
    }),
  )

  it.effect("an archived project takes no renders and still shows those it has", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const project = yield* createProject(client)
      const { id } = yield* submit(client, project, {
        composition_id: "TitleCard",
        input_props: { title: "Before" },
        output_settings: { format: "png", ...SMALL },
      })
      yield* finish(client, id)
      const unconditional = yield* client.request("DELETE", `/v1/projects/${project}`)
      assert.strictEqual(unconditional.problem, "precondition-required")
      const headers = { "if-match": '"1"' }
      const archived = yield* client.request("DELETE", `/v1/projects/${project}`, { headers })
      assert.strictEqual(archived.status, 204, archived.text)
      const refused = yield* client.post(`/v1/projects/${project}/renders`, LONG)
      assert.strictEqual(refused.status, 410)
      assert.strictEqual(refused.problem, "gone")
      const kept = (yield* client.get(`/v1/projects/${project}/renders`)).json<Page<Render>>()
      assert.deepStrictEqual(
        kept.data.map((render) => render.id),
        [id],
      )
    }),
  )

  it.effect("a project's renders are listed page by page, newest first, each once", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const project = yield* createProject(client)
      const other = yield* createProject(client)
      const still = {
        composition_id: "TitleCard",
        input_props: { title: "Page" },
        output_settings: { format: "png", width: 64, height: 64 },
      }
      const ids: Array<string> = []
      for (let i = 0; i < 7; i++) ids.push((yield* submit(client, project, still)).id)
      yield* submit(client, other, still)
      const listed: Array<string> = []
      let path: string | undefined = `/v1/projects/${project}/renders?limit=3`
      const sizes: Array<number> = []
      while (path !== undefined) {
        const answer: Answer = yield* client.get(path)
        const { data, pagination } = answer.json<Page<Render>>()
        sizes.push(data.length)
        listed.push(...data.map(({ id }) => id))
        path = /<([^>]+)>; rel="next"/.exec(answer.headers.get("link") ?? "")?.[1]
        assert.strictEqual(path !== undefined, pagination.has_more)
      }
      assert.deepStrictEqual(sizes, [3, 3, 1])
      assert.deepStrictEqual(listed, ids.toReversed())
    }),
  )
})
