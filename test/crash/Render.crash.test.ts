import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { existsSync, readdirSync, statSync } from "node:fs"
import { join } from "node:path"
import type { RenderJson } from "../../src/api/v1/renders/RenderJson.ts"
import type { StreamEvent } from "../support/Client.ts"
import { dataFolder, type Server, start } from "../support/ServerProcess.ts"

type Render = typeof RenderJson.Encoded
interface JobEvent {
  readonly version: number
  readonly type: string
  readonly data: Readonly<Record<string, unknown>>
}

/** As often as a render of five attempts survives it. */
const KILLS = 4
/** A segment or more for each of the attempts that are killed, and some for the last one. */
const SECONDS = 12
const FPS = 30
const SEGMENTS = 6

const submit = Effect.fnUntraced(function* ({ client }: Server) {
  const project = yield* client.post("/v1/projects", { name: "Crash" })
  const render = yield* client.post(`/v1/projects/${String(project.json()["id"])}/renders`, {
    composition_id: "TitleCard",
    input_props: { title: "It goes on", duration_sec: SECONDS },
    output_settings: { format: "mp4", width: 128, height: 72, fps: FPS },
  })
  assert.strictEqual(render.status, 202, render.text)
  return render.json<Render>().id
})

/** Inode and time of every finished segment file: a file that was written again has others. */
const segmentFiles = (workFolder: string) =>
  new Map(
    readdirSync(workFolder)
      .filter((name) => /^segment-\d+\.mp4$/.test(name))
      .map((name) => {
        const { ino, mtimeMs } = statSync(join(workFolder, name))
        return [name, `${ino} ${mtimeMs}`]
      }),
  )

const isSegment = ({ data, event }: StreamEvent) =>
  event === "JobStepCompleted" &&
  String((data["data"] as Record<string, unknown>)["name"]).startsWith("segment")

describe("a render whose server is killed again and again", () => {
  it.live(
    "finishes by itself, and no finished segment is rendered twice",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* dataFolder
        const files = new Map<string, string>()
        let id = ""
        let version = 0
        for (let kill = 0; kill < KILLS; kill++) {
          const scope = yield* Scope.make()
          const server = yield* Scope.provide(start({ dataDir }), scope)
          if (id === "") id = yield* submit(server)
          const { events } = yield* server.client.follow(`/v1/renders/${id}/events`, {
            lastEventId: version,
            until: isSegment,
          })
          yield* server.process.end("SIGKILL")
          yield* Scope.close(scope, Exit.void)
          version = Math.max(...events.map((event) => event.id ?? 0))
          const workFolder = join(dataDir, "renders", ".work", id.replace("rnd_", "job_"))
          const present = segmentFiles(workFolder)
          for (const [name, identity] of files) assert.strictEqual(present.get(name), identity, name)
          for (const event of events.filter(isSegment)) {
            const { result } = event.data["data"] as { readonly result: { readonly file: string } }
            files.set(result.file, present.get(result.file)!)
          }
        }
        assert.isAtLeast(files.size, KILLS)

        const server = yield* start({ dataDir })
        yield* server.client.follow(`/v1/renders/${id}/events`, { lastEventId: version })
        const render = (yield* server.client.get(`/v1/renders/${id}`)).json<Render>()
        assert.strictEqual(render.status, "completed", JSON.stringify(render.error))
        assert.strictEqual(render.attempt, KILLS + 1)
        assert.strictEqual(render.output?.frames, SECONDS * FPS)

        const history = (yield* server.client.get(`/v1/jobs/${render.job_id}/events`)).json<{
          readonly data: ReadonlyArray<JobEvent>
        }>().data
        assert.deepStrictEqual(
          history.map((event) => event.version),
          history.map((_, index) => index + 1),
        )
        const steps = history
          .filter(({ type }) => type === "JobStepCompleted")
          .map(({ data }) => data["name"])
        assert.deepStrictEqual(steps, [
          "plan",
          ...Array.from({ length: SEGMENTS }, (_, index) => `segment-${index}`),
          "output",
        ])
        const turns = history.filter(({ type }) => type === "JobStarted" || type === "JobStalled")
        assert.deepStrictEqual(
          turns.map(({ data, type }) => [type, data["attempt"], data["reason"]]),
          Array.from({ length: 2 * KILLS + 1 }, (_, turn) =>
            turn % 2 === 0
              ? ["JobStarted", turn / 2 + 1, undefined]
              : ["JobStalled", (turn + 1) / 2, "process_lost"],
          ),
        )
        const output = yield* server.client.get(`/v1/renders/${id}/output`)
        assert.strictEqual(output.bytes.length, render.output?.bytes)
        assert.isFalse(existsSync(join(dataDir, "renders", ".work", render.job_id)))
      }).pipe(Effect.scoped),
    120_000,
  )
})
