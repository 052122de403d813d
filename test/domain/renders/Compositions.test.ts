import { createCanvas } from "@napi-rs/canvas"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import type { Composition, OpenComposition } from "../../../src/domain/renders/Composition.ts"
import { Compositions } from "../../../src/domain/renders/Compositions.ts"
import { FrameCanvas } from "../../../src/domain/renders/encoding/FrameCanvas.ts"

const SHAPES = [
  { width: 360, height: 640 },
  { width: 640, height: 360 },
  { width: 400, height: 400 },
] as const

const opened = (composition: Composition, props: unknown = composition.exampleProps): OpenComposition =>
  Result.getOrThrow(composition.open(props))

const drawFrame = async (
  composition: OpenComposition,
  size: { readonly width: number; readonly height: number },
  frame: number,
  on = new FrameCanvas(size.width, size.height),
) => {
  const fps = 30
  const durationInFrames = composition.durationInFrames(fps)
  const video = { ...size, fps, durationInFrames, duration: durationInFrames / fps }
  on.paint(await composition.painter({ ...video, firstFrame: frame, frames: 1 }), {
    ...video,
    frame,
    time: frame / fps,
  })
  return Uint8Array.from(on.pixels())
}

const faultsOf = (composition: Composition, props: unknown) =>
  Result.match(composition.open(props), {
    onSuccess: () => [],
    onFailure: (errors) => errors.map(({ code, field }) => `${field} ${code}`).sort(),
  })

const distinctColors = (pixels: Uint8Array): number =>
  new Set(new Uint32Array(pixels.buffer, pixels.byteOffset, pixels.byteLength / 4)).size

it.layer(Compositions.layer())("compositions", (it) => {
  it.effect("there are at least a title card, captions, a slideshow and a bar chart race", () =>
    Effect.gen(function* () {
      const { list } = yield* Compositions
      assert.deepStrictEqual(
        list.map(({ id }) => id),
        ["TitleCard", "Captions", "Slideshow", "BarChartRace"],
      )
    }),
  )

  it.effect("an unknown id is answered with the ids that exist", () =>
    Effect.gen(function* () {
      const { get } = yield* Compositions
      const { reason } = yield* Effect.flip(get("Fireworks"))
      assert.strictEqual(reason._tag, "UnknownComposition")
      assert.include(reason.message, "TitleCard, Captions")
    }),
  )

  it.effect("example props render as they are: first, middle and last frame, in every shape", () =>
    Effect.gen(function* () {
      const { list } = yield* Compositions
      for (const composition of list) {
        const video = opened(composition)
        const frames = video.durationInFrames(30)
        for (const size of SHAPES) {
          for (const frame of [0, Math.floor(frames / 2), frames - 1]) {
            const pixels = yield* Effect.promise(() => drawFrame(video, size, frame))
            assert.strictEqual(pixels.length, size.width * size.height * 4)
            if (frame > 0) assert.isAbove(distinctColors(pixels), 50, `${composition.id} ${frame} is blank`)
          }
        }
      }
    }),
  )

  it.effect("a frame is the same whatever was drawn before it", () =>
    Effect.gen(function* () {
      const { list } = yield* Compositions
      const size = { width: 180, height: 320 }
      for (const composition of list) {
        const video = opened(composition)
        const frame = video.posterFrame(30)
        const alone = yield* Effect.promise(() => drawFrame(video, size, frame))
        const used = new FrameCanvas(size.width, size.height)
        yield* Effect.promise(() => drawFrame(video, size, 3, used))
        yield* Effect.promise(() => drawFrame(video, size, frame + 1, used))
        const after = yield* Effect.promise(() => drawFrame(video, size, frame, used))
        assert.isTrue(Buffer.from(alone).equals(after), `${composition.id} depends on earlier frames`)
      }
    }),
  )

  it.effect("the poster frame is one of the video's frames at any speed", () =>
    Effect.gen(function* () {
      const { list } = yield* Compositions
      for (const composition of list) {
        for (const fps of [1, 24, 60]) {
          const video = opened(composition)
          assert.isBelow(video.posterFrame(fps), video.durationInFrames(fps))
          assert.isAtLeast(video.posterFrame(fps), 0)
        }
      }
    }),
  )

  it.effect("each publishes a JSON Schema that closes its objects and speaks snake_case", () =>
    Effect.gen(function* () {
      const { list } = yield* Compositions
      for (const { propsSchema } of list) {
        assert.strictEqual(propsSchema["additionalProperties"], false)
        for (const key of Object.keys(propsSchema["properties"] as object))
          assert.match(key, /^[a-z]+(_[a-z]+)*$/)
      }
    }),
  )

  it.effect("invalid props are answered with every bad field at once", () =>
    Effect.gen(function* () {
      const { get } = yield* Compositions
      assert.deepStrictEqual(
        faultsOf(yield* get("TitleCard"), {
          subtitle: 7,
          theme: "neon",
          colors: { accent: "red" },
          durationSec: 3,
        }),
        [
          "input_props.colors.accent invalid_format",
          "input_props.durationSec unknown_field",
          "input_props.subtitle invalid_type",
          "input_props.theme invalid_value",
          "input_props.title missing",
        ],
      )
      assert.deepStrictEqual(
        faultsOf(yield* get("Captions"), {
          words: [
            { text: "b", start_sec: 2, end_sec: 1 },
            { text: "a", start_sec: 1, end_sec: 1.5 },
          ],
        }),
        ["input_props.words.0.end_sec invalid_value", "input_props.words.1.start_sec invalid_value"],
      )
      assert.deepStrictEqual(
        faultsOf(yield* get("BarChartRace"), {
          title: "x",
          periods: ["1", "2"],
          series: [
            { name: "a", values: [1, 2] },
            { name: "b", values: [1] },
            { name: "c", values: [] },
          ],
        }),
        ["input_props.series.1.values invalid_value", "input_props.series.2.values invalid_value"],
      )
    }),
  )

  it.effect("extreme but valid props still draw", () =>
    Effect.gen(function* () {
      const { get } = yield* Compositions
      const long = "Donaudampfschifffahrtsgesellschaftskapitänsmütze ".repeat(3)
      const extreme: ReadonlyArray<readonly [string, unknown]> = [
        [
          "TitleCard",
          { title: long.slice(0, 160), subtitle: long.slice(0, 140), byline: "漢字とかな", motif: "none" },
        ],
        ["TitleCard", { title: "W", colors: { background: "#ffffff", text: "#ffffff", accent: "#ffffff" } }],
        [
          "Captions",
          { words: [{ text: "W".repeat(40), start_sec: 0, end_sec: 0 }], uppercase: true, position: "lower" },
        ],
        [
          "Captions",
          {
            words: [{ text: "two words", start_sec: 1, end_sec: 2 }],
            background: { kind: "color", color: "#ff0000" },
          },
        ],
        ["BarChartRace", { title: "0", periods: ["a", "b"], series: [{ name: "nothing", values: [0, 0] }] }],
        ["Slideshow", { slides: [{ picture: { kind: "color", color: "#123456" } }], transition: "push" }],
      ]
      for (const [id, props] of extreme) {
        const video = opened(yield* get(id), props)
        for (const size of [...SHAPES, { width: 64, height: 640 }]) {
          yield* Effect.promise(() => drawFrame(video, size, video.posterFrame(30)))
        }
      }
    }),
  )

  it.effect("a slideshow shows an inline image, cropped to fill the frame", () =>
    Effect.gen(function* () {
      const { get } = yield* Compositions
      const image = createCanvas(300, 100)
      const ctx = image.getContext("2d")
      for (const [x, color] of [
        [0, "#ff0000"],
        [100, "#00ff00"],
        [200, "#0000ff"],
      ] as const) {
        ctx.fillStyle = color
        ctx.fillRect(x, 0, 100, 100)
      }
      const src = `data:image/png;base64,${image.encodeSync("png").toString("base64")}`
      const middleFor = (focus_x: number) =>
        Effect.gen(function* () {
          const video = opened(yield* get("Slideshow"), {
            slides: [{ picture: { kind: "image", src, focus_x } }],
            progress: false,
          })
          const pixels = yield* Effect.promise(() => drawFrame(video, { width: 90, height: 90 }, 0))
          const middle = (45 * 90 + 45) * 4
          return [...pixels.subarray(middle, middle + 3)]
        })
      assert.deepStrictEqual(yield* middleFor(0), [255, 0, 0])
      assert.deepStrictEqual(yield* middleFor(0.5), [0, 255, 0])
      assert.deepStrictEqual(yield* middleFor(1), [0, 0, 255])
    }),
  )
})

describe("inline images", () => {
  const pictureFaults = (src: string) =>
    Effect.map(
      Effect.flatMap(Compositions, ({ get }) => get("Slideshow")),
      (slideshow) => faultsOf(slideshow, { slides: [{ picture: { kind: "image", src } }] }),
    ).pipe(Effect.provide(Compositions.layer()))
  const refused = ["input_props.slides.0.picture.src invalid_value"]

  it.effect.each([
    ["a web address", "https://example.com/a.png"],
    ["a file", "file:///etc/passwd"],
    ["an SVG, which could refer to others", "data:image/svg+xml;base64,PHN2Zy8+"],
    ["bytes that are no image", `data:image/png;base64,${Buffer.from("hello").toString("base64")}`],
    ["more bytes than allowed", `data:image/png;base64,${"A".repeat(6 * 1024 * 1024)}`],
  ] as const)("%s is refused", ([, src]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* pictureFaults(src), refused)
    }),
  )

  it.effect("an image that would decode to more pixels than allowed is refused by its header", () =>
    Effect.gen(function* () {
      const bomb = createCanvas(1, 1).encodeSync("png")
      bomb.writeUInt32BE(60_000, 16)
      bomb.writeUInt32BE(60_000, 20)
      assert.deepStrictEqual(
        yield* pictureFaults(`data:image/png;base64,${bomb.toString("base64")}`),
        refused,
      )
    }),
  )
})
