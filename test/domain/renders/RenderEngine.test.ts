import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Schema } from "effect"
import { existsSync, readdirSync, readFileSync as readNow } from "node:fs"
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises"
import { constants, getPriority, tmpdir } from "node:os"
import { join } from "node:path"
import { countGifImages } from "../../../src/domain/renders/encoding/GifBlocks.ts"
import { readImageHeader } from "../../../src/domain/renders/drawing/ImageHeader.ts"
import { DiskFull, RenderError, storageReason } from "../../../src/domain/renders/RenderError.ts"
import {
  type RawRenderRequest,
  RenderEngine,
  RenderOutput,
} from "../../../src/domain/renders/RenderEngine.ts"
import { prepareWorkFolder } from "../../../src/domain/renders/WorkFolder.ts"
import { HANGING_CHANNEL } from "./FaultyCompositions.ts"
import { decodeWithFfmpeg, ffmpegChildren, hasFfmpeg, readMp4 } from "./Video.ts"

const FAULTY = new URL("./FaultyCompositions.ts", import.meta.url)
const layer = (encoder: "wasm" | "ffmpeg") =>
  RenderEngine.layer({ encoder, workers: 1, compositions: [FAULTY] })

/** A new folder, removed with the test. */
const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "renderowl-renders-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true })),
)

const SMALL = { width: 320, height: 180, fps: 24 }
/** 84 frames: a full segment and a part of one. */
const TITLE: RawRenderRequest = {
  composition_id: "TitleCard",
  input_props: { title: "Two segments, one film", kicker: "Test", duration_sec: 3.5 },
  output_settings: SMALL,
}
const plain = (composition_id: string, frames: number, at = -1): RawRenderRequest => ({
  composition_id,
  input_props: { frames, at },
  output_settings: { width: 64, height: 64 },
})

const renderAll = Effect.fnUntraced(function* (request: RawRenderRequest, workDir: string, name = "out") {
  const engine = yield* RenderEngine
  const plan = yield* engine.plan(request)
  for (const { index } of plan.segments) {
    yield* engine.renderSegment({ plan, input_props: request.input_props, index }, { workDir })
  }
  return yield* engine.assemble(plan, { workDir, output: join(workDir, `${name}.${plan.extension}`) })
})

/** Of the threads of this process, as Linux has them: the nineteenth field, counted behind the name. */
const threadPriorities = (): ReadonlyArray<number> =>
  readdirSync("/proc/self/task").map((thread) => {
    const stat = readNow(`/proc/self/task/${thread}/stat`, "utf8")
    return Number(stat.slice(stat.lastIndexOf(")")).split(" ")[17])
  })

const reasonOf = (error: RenderError) => error.reason

/** What every video encoder promises; run for each that this machine has. */
const videoSuite = (encoder: "wasm" | "ffmpeg") =>
  it.layer(layer(encoder), { excludeTestServices: true })(`a video by ${encoder}`, (it) => {
    it.effect("joined from segments has the right codec, size, frames, times and checksum", () =>
      Effect.gen(function* () {
        const workDir = yield* folder
        const output = yield* renderAll(TITLE, workDir)
        const bytes = yield* Effect.promise(() => readFile(output.path))
        assert.strictEqual(output.bytes, bytes.length)
        assert.match(output.sha256, /^[0-9a-f]{64}$/)
        assert.deepStrictEqual(
          [output.content_type, output.width, output.height, output.fps, output.frames, output.duration_sec],
          ["video/mp4", 320, 180, 24, 84, 3.5],
        )
        assert.deepStrictEqual(
          Schema.decodeUnknownSync(RenderOutput)(JSON.parse(JSON.stringify(output))),
          output,
        )

        const video = yield* Effect.promise(() => readMp4(output.path))
        assert.deepStrictEqual([video.codec, video.width, video.height], ["avc", 320, 180])
        assert.closeTo(video.duration, 3.5, 1e-6)
        assert.strictEqual(video.timestamps.length, 84)
        for (const [index, time] of video.timestamps.entries()) assert.closeTo(time, index / 24, 1e-6)
        assert.deepStrictEqual(video.keyFrames, [0, 60])
        assert.deepStrictEqual(
          [video.colors.matrix, video.colors.primaries, video.colors.fullRange],
          ["bt709", "bt709", false],
        )
        assert.isBelow(bytes.indexOf("moov"), bytes.indexOf("mdat"), "the index comes first")
      }),
    )

    it.effect.skipIf(!hasFfmpeg)(
      "decodes without a complaint to the frames that were drawn (needs ffmpeg)",
      () =>
        Effect.gen(function* () {
          const workDir = yield* folder
          const output = yield* renderAll(TITLE, workDir)
          const frames = decodeWithFfmpeg(output.path, 32)
          assert.strictEqual(frames.length, 84)
          const engine = yield* RenderEngine
          // One in each segment, beside the seam, against the same frame as a still.
          for (const frame of [59, 60, 83]) {
            const path = join(workDir, `${frame}.png`)
            yield* engine.still({ ...TITLE, output_settings: { ...SMALL, format: "png", frame } }, path)
            const [still] = decodeWithFfmpeg(path, 32)
            const decoded = frames[frame]
            if (still === undefined || decoded === undefined) return assert.fail("no picture")
            const error =
              still.reduce((sum, value, at) => sum + Math.abs(value - (decoded[at] ?? 0)), 0) / still.length
            assert.isBelow(error, 4, `frame ${frame} differs from what was drawn`)
          }
        }),
    )

    it.effect.skipIf(process.platform !== "linux")("leaves the processor to others that want it", () =>
      Effect.gen(function* () {
        yield* renderAll(plain("Plain", 2), yield* folder)
        assert.include(threadPriorities(), constants.priority.PRIORITY_BELOW_NORMAL)
        assert.strictEqual(getPriority(), constants.priority.PRIORITY_NORMAL)
      }),
    )

    it.effect("after a crash needs only the segments that are not there", () =>
      Effect.gen(function* () {
        const engine = yield* RenderEngine
        const workDir = yield* folder
        const plan = yield* engine.plan(TITLE)
        const output = join(workDir, "out.mp4")
        yield* engine.renderSegment({ plan, input_props: TITLE.input_props, index: 1 }, { workDir })
        const missing = yield* Effect.flip(engine.assemble(plan, { workDir, output }))
        assert.deepInclude(reasonOf(missing), { _tag: "SegmentUnusable", index: 0 })
        assert.isTrue(missing.retryable)
        assert.isFalse(existsSync(output))

        yield* engine.renderSegment({ plan, input_props: TITLE.input_props, index: 0 }, { workDir })
        const { frames } = yield* engine.assemble(plan, { workDir, output })
        assert.strictEqual(frames, 84)
      }),
    )

    it.effect(
      "is refused when a segment is damaged or does not belong to it, and nothing is left behind",
      () =>
        Effect.gen(function* () {
          const engine = yield* RenderEngine
          const workDir = yield* folder
          const request = { ...TITLE, output_settings: { ...SMALL, width: 160, height: 90 } }
          const plan = yield* engine.plan(request)
          const render = (plan: Parameters<typeof engine.renderSegment>[0]["plan"], index: number) =>
            engine.renderSegment({ plan, input_props: TITLE.input_props, index }, { workDir })
          const first = yield* render(plan, 0)
          const second = yield* render(plan, 1)
          const assembled = engine.assemble(plan, { workDir, output: join(workDir, "out.mp4") })

          yield* render(
            yield* engine.plan({ ...TITLE, output_settings: { ...SMALL, width: 176, height: 96 } }),
            1,
          )
          assert.deepInclude(reasonOf(yield* Effect.flip(assembled)), { _tag: "SegmentUnusable", index: 1 })

          yield* Effect.promise(() => truncate(join(workDir, first.file), Math.floor(first.bytes / 2)))
          yield* Effect.promise(() => writeFile(join(workDir, second.file), "not a video"))
          const broken = yield* Effect.flip(assembled)
          assert.strictEqual(reasonOf(broken)._tag, "SegmentUnusable")
          assert.deepStrictEqual(readdirSync(workDir).sort(), [first.file, second.file])
        }),
    )

    it.effect("cancelled in the middle of a segment stops within a frame and leaves no file", () =>
      Effect.gen(function* () {
        const engine = yield* RenderEngine
        const workDir = yield* folder
        const request = plain("Crawls", 60)
        const plan = yield* engine.plan(request)
        const begun = yield* Deferred.make<void>()
        let frames = 0
        const fiber = yield* engine
          .renderSegment(
            { plan, input_props: request.input_props, index: 0 },
            {
              workDir,
              onProgress: (done) => {
                frames = done
                if (done === 5) Deferred.doneUnsafe(begun, Effect.void)
              },
            },
          )
          .pipe(Effect.forkChild)
        yield* Deferred.await(begun)
        const before = frames
        yield* Fiber.interrupt(fiber)
        assert.isAtMost(frames - before, 2)
        assert.deepStrictEqual(readdirSync(workDir), [])
        assert.strictEqual(ffmpegChildren(), 0)
        const after = frames
        // The thread is free for the next task at once.
        yield* renderAll(plain("Plain", 3), workDir)
        assert.strictEqual(frames, after)
      }),
    )
  })

videoSuite("wasm")
describe.skipIf(!hasFfmpeg)("with ffmpeg on the PATH", () => {
  videoSuite("ffmpeg")
})

it.layer(layer("wasm"), { excludeTestServices: true })("the render engine", (it) => {
  it.effect("reports every frame, and holds one segment at a time however many are asked for", () =>
    Effect.gen(function* () {
      const engine = yield* RenderEngine
      const workDir = yield* folder
      const request = {
        ...plain("Plain", 30),
        output_settings: { width: 64, height: 64, format: "gif", fps: 10 },
      }
      const plan = yield* engine.plan({ ...request, input_props: { frames: 130, at: -1 } })
      const heard: Array<string> = []
      let unfinished = 0
      yield* Effect.forEach(
        plan.segments,
        ({ index }) =>
          engine.renderSegment(
            { plan, input_props: { frames: 130, at: -1 }, index },
            {
              workDir,
              onProgress: (done) => {
                heard.push(`${index}:${done}`)
                unfinished = Math.max(
                  unfinished,
                  readdirSync(workDir).filter((name) => name.endsWith(".tmp")).length,
                )
              },
            },
          ),
        { concurrency: "unbounded" },
      )
      assert.strictEqual(new Set(heard).size, 130)
      assert.strictEqual(unfinished, 1)
    }),
  )

  it.effect("leaves the main thread free: its timers keep firing while frames are drawn and encoded", () =>
    Effect.gen(function* () {
      const workDir = yield* folder
      let ticks = 0
      const timer = setInterval(() => (ticks += 1), 10)
      yield* renderAll(plain("Crawls", 30), workDir)
      clearInterval(timer)
      // 30 frames block their thread for 15 ms each: on the main thread not one tick would come between them.
      assert.isAtLeast(ticks, 15)
    }),
  )

  it.effect("a composition that throws is a typed error that names the frame, and is not tried again", () =>
    Effect.gen(function* () {
      const workDir = yield* folder
      const error = yield* Effect.flip(renderAll(plain("Throws", 9, 4), workDir))
      assert.deepInclude(reasonOf(error), { _tag: "DrawFailed", composition_id: "Throws", frame: 4 })
      assert.include(error.message, "the paint ran out")
      assert.isFalse(error.retryable)
      assert.deepStrictEqual(readdirSync(workDir), [])
    }),
  )

  it.effect("a thread that dies is a typed error, leaves no file, and is replaced", () =>
    Effect.gen(function* () {
      const workDir = yield* folder
      const error = yield* Effect.flip(renderAll(plain("Dies", 9, 4), workDir))
      assert.strictEqual(reasonOf(error)._tag, "WorkerDied")
      assert.isTrue(error.retryable)
      assert.deepStrictEqual(readdirSync(workDir), [])
      const { frames } = yield* renderAll(plain("Plain", 9), workDir)
      assert.strictEqual(frames, 9)
    }),
  )

  it.effect("a frame that never ends does not stop a cancel: its thread is ended and replaced", () =>
    Effect.gen(function* () {
      const engine = yield* RenderEngine
      const workDir = yield* folder
      const request = plain("Hangs", 9, 4)
      const plan = yield* engine.plan(request)
      const channel = new BroadcastChannel(HANGING_CHANNEL)
      const stuck = new Promise<unknown>((resolve) =>
        channel.addEventListener("message", resolve, { once: true }),
      )
      const fiber = yield* engine
        .renderSegment({ plan, input_props: request.input_props, index: 0 }, { workDir })
        .pipe(Effect.forkChild)
      yield* Effect.promise(() => stuck)
      channel.close()
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(readdirSync(workDir), [])
      const { frames } = yield* renderAll(plain("Plain", 9), workDir)
      assert.strictEqual(frames, 9)
    }),
  )

  it.effect("a thread that dies takes only its own task with it: one that waits is run by the next", () =>
    Effect.gen(function* () {
      const [dying, waiting] = yield* Effect.all(
        [
          folder.pipe(Effect.flatMap((at) => Effect.exit(renderAll(plain("Dies", 9, 4), at)))),
          folder.pipe(Effect.flatMap((at) => Effect.exit(renderAll(plain("Plain", 9), at)))),
        ],
        { concurrency: "unbounded" },
      )
      assert.isTrue(Exit.isFailure(dying))
      assert.isTrue(Exit.isSuccess(waiting))
    }),
  )

  it.effect("an animated gif has every frame of every segment and plays for as long as it should", () =>
    Effect.gen(function* () {
      const workDir = yield* folder
      const output_settings = { format: "gif", width: 96, height: 96, fps: 12 }
      const output = yield* renderAll({ ...TITLE, output_settings }, workDir)
      const bytes = yield* Effect.promise(() => readFile(output.path))
      assert.deepStrictEqual(
        [output.content_type, output.frames, countGifImages(bytes)],
        ["image/gif", 42, 42],
      )
      let hundredths = 0
      for (let at = bytes.indexOf("21f904", 0, "hex"); at >= 0; at = bytes.indexOf("21f904", at + 1, "hex")) {
        hundredths += bytes.readUInt16LE(at + 4)
      }
      assert.strictEqual(hundredths, 350)
    }),
  )

  it.effect("stills come in every image format, in the size asked for, and replace what was there", () =>
    Effect.gen(function* () {
      const engine = yield* RenderEngine
      const at = yield* folder
      for (const format of ["png", "jpeg", "webp", "avif"] as const) {
        const path = join(at, `poster.${format}`)
        yield* Effect.promise(() => writeFile(path, "old"))
        const output = yield* engine.still({ ...TITLE, output_settings: { ...SMALL, format } }, path)
        const bytes = yield* Effect.promise(() => readFile(path))
        assert.deepStrictEqual(
          [output.content_type, output.frames, output.bytes],
          [`image/${format}`, 1, bytes.length],
        )
        if (format === "avif") assert.strictEqual(bytes.toString("latin1", 4, 12), "ftypavif")
        else assert.deepStrictEqual(readImageHeader(bytes), { format, width: 320, height: 180 })
      }
      assert.lengthOf(readdirSync(at), 4)
    }),
  )

  it.effect("a still asked for as a video is refused", () =>
    Effect.gen(function* () {
      const engine = yield* RenderEngine
      const error = yield* Effect.flip(engine.still(TITLE, "/nowhere/out.mp4"))
      assert.include(error.message, "output_settings.format")
    }),
  )

  it.effect("thumbnails are PNGs of the asked-for width in the composition's shape", () =>
    Effect.gen(function* () {
      const engine = yield* RenderEngine
      const thumbnail = yield* engine.thumbnail("Captions", { width: 180 })
      assert.deepStrictEqual(readImageHeader(Buffer.from(thumbnail)), {
        format: "png",
        width: 180,
        height: 320,
      })
      assert.strictEqual(yield* engine.thumbnail("Captions", { width: 180 }), thumbnail)
      assert.strictEqual(reasonOf(yield* Effect.flip(engine.thumbnail("Nope")))._tag, "UnknownComposition")
    }),
  )

  it.effect("a work folder that cannot be written to is a typed error", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const error = yield* Effect.flip(renderAll(plain("Plain", 3), join(at, "missing")))
      assert.deepInclude(reasonOf(error), { _tag: "StorageFailed" })
    }),
  )

  it.effect("preparing a work folder removes what dead attempts left half-written, and nothing else", () =>
    Effect.gen(function* () {
      const at = yield* folder
      yield* Effect.promise(() => writeFile(join(at, ".segment-00001.mp4.x.tmp"), "half"))
      yield* Effect.promise(() => writeFile(join(at, "segment-00000.mp4"), "whole"))
      assert.strictEqual(yield* prepareWorkFolder(at), 1)
      assert.deepStrictEqual(readdirSync(at), ["segment-00000.mp4"])
      assert.strictEqual(yield* prepareWorkFolder(join(at, "new")), 0)
    }),
  )
})

describe("encoders", () => {
  it.effect("a machine without ffmpeg encodes with WASM", () =>
    Effect.gen(function* () {
      const { encoder } = yield* Effect.flatMap(RenderEngine, ({ plan }) => plan(TITLE))
      assert.strictEqual(encoder, "wasm")
    }).pipe(Effect.provide(RenderEngine.layer({ searchPath: "/nonexistent" }))),
  )

  it.effect("asking for ffmpeg where there is none is a typed error, also for a plan made elsewhere", () =>
    Effect.gen(function* () {
      const engine = yield* RenderEngine
      const planned = yield* Effect.flip(engine.plan(TITLE))
      assert.deepInclude(reasonOf(planned), { _tag: "EncoderUnavailable", encoder: "ffmpeg" })
      const plan = yield* engine.plan({ ...TITLE, output_settings: { ...SMALL, format: "png" } })
      assert.strictEqual(plan.encoder, "canvas")
    }).pipe(Effect.provide(RenderEngine.layer({ encoder: "ffmpeg", searchPath: "" }))),
  )

  it("a full disk has a reason of its own", () => {
    const full = Object.assign(new Error("ENOSPC: no space left on device, write"), {
      code: "ENOSPC",
      syscall: "write",
    })
    assert.deepStrictEqual(storageReason(full, "/x"), new DiskFull({ path: "/x" }))
    assert.isTrue(new RenderError({ reason: storageReason(full, "/x") }).retryable)
  })
})
