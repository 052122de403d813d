import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as fc from "fast-check"
import { RenderEngine } from "../../../src/domain/renders/RenderEngine.ts"
import { RenderPlan } from "../../../src/domain/renders/RenderPlan.ts"

const engine = it.layer(RenderEngine.layer({ encoder: "wasm" }))

const planWith = (output_settings: unknown, input_props: unknown = { title: "Plan" }) =>
  Effect.flatMap(RenderEngine, ({ plan }) =>
    plan({ composition_id: "TitleCard", input_props, output_settings }),
  )

const faultsOf = (output_settings: unknown, input_props?: unknown) =>
  Effect.map(Effect.flip(planWith(output_settings, input_props)), ({ reason }) =>
    reason._tag === "InvalidRequest" ? reason.errors.map(({ field }) => field).sort() : [reason._tag],
  )

engine("a plan", (it) => {
  it.effect("takes what is left out from the composition", () =>
    Effect.gen(function* () {
      const plan = yield* planWith({})
      assert.deepStrictEqual(Schema.encodeSync(RenderPlan)(plan), {
        composition_id: "TitleCard",
        format: "mp4",
        codec: "h264",
        encoder: "wasm",
        width: 1080,
        height: 1920,
        fps: 30,
        quality: 80,
        duration_in_frames: 120,
        first_frame: 0,
        total_frames: 120,
        frames_per_segment: 60,
      })
    }),
  )

  it.effect("follows the composition's shape when one side is given, on even numbers", () =>
    Effect.gen(function* () {
      const { height, width } = yield* planWith({ width: 401 - 1 })
      assert.deepStrictEqual([width, height], [400, 712])
      const other = yield* planWith({ height: 640 })
      assert.deepStrictEqual([other.width, other.height], [360, 640])
    }),
  )

  it.effect("survives the journal", () =>
    Effect.gen(function* () {
      const plan = yield* planWith({ width: 320, height: 180 })
      const json: unknown = JSON.parse(JSON.stringify(Schema.encodeSync(RenderPlan)(plan)))
      const back = Schema.decodeUnknownSync(RenderPlan)(json)
      assert.deepStrictEqual(back.segments, plan.segments)
    }),
  )

  it.effect("is refused with every fault of props and output settings at once", () =>
    Effect.gen(function* () {
      const settings = { format: "mov", width: 10, height: 99_999, fps: 0, quality: 101, bitrate: 9 }
      assert.deepStrictEqual(yield* faultsOf(settings, { titel: "x" }), [
        "input_props.titel",
        "input_props.title",
        "output_settings.bitrate",
        "output_settings.format",
        "output_settings.fps",
        "output_settings.height",
        "output_settings.quality",
        "output_settings.width",
      ])
    }),
  )

  it.effect.each([
    [
      "odd sides of a video",
      { width: 321, height: 181 },
      ["output_settings.height", "output_settings.width"],
    ],
    ["more pixels than a frame may have", { width: 3840, height: 3840 }, ["output_settings.width"]],
    ["a codec for a still", { format: "png", codec: "h264" }, ["output_settings.codec"]],
    ["a frame for a video", { frame: 3 }, ["output_settings.frame"]],
    ["a frame after the last", { format: "png", frame: 120 }, ["output_settings.frame"]],
    [
      "a gif too large and too fast",
      { format: "gif", width: 1080, fps: 60 },
      ["output_settings.fps", "output_settings.width"],
    ],
  ] as const)("refuses %s", ([, settings, fields]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* faultsOf(settings), [...fields])
    }),
  )

  it.effect("refuses a gif of more frames than one may have", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* faultsOf({ format: "gif", fps: 30 }, { title: "x", duration_sec: 60 }), [
        "output_settings.format",
      ])
    }),
  )

  it.effect("of a still is one frame: the asked-for one, else the one that stands for the whole", () =>
    Effect.gen(function* () {
      const asked = yield* planWith({ format: "webp", frame: 7 })
      assert.deepStrictEqual(asked.segments, [{ index: 0, firstFrame: 7, frames: 1 }])
      const chosen = yield* planWith({ format: "png" })
      assert.deepStrictEqual(chosen.segments, [{ index: 0, firstFrame: 72, frames: 1 }])
    }),
  )
})

describe("segments", () => {
  it("cover every frame once, in order, none larger than planned", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 36_000 }), fc.integer({ min: 7, max: 120 }), (total, size) => {
        const { segments } = new RenderPlan({
          composition_id: "x",
          format: "mp4",
          codec: "h264",
          encoder: "wasm",
          width: 64,
          height: 64,
          fps: 30,
          quality: 80,
          duration_in_frames: total,
          first_frame: 0,
          total_frames: total,
          frames_per_segment: size,
        })
        let next = 0
        for (const [index, segment] of segments.entries()) {
          assert.strictEqual(segment.index, index)
          assert.strictEqual(segment.firstFrame, next)
          assert.isTrue(segment.frames >= 1 && segment.frames <= size)
          next += segment.frames
        }
        assert.strictEqual(next, total)
      }),
      { numRuns: 20 },
    )
  })
})
