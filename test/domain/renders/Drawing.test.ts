import { createCanvas } from "@napi-rs/canvas"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { groupWords } from "../../../src/domain/renders/drawing/CaptionGrouping.ts"
import { contrast, mix } from "../../../src/domain/renders/drawing/Color.ts"
import type { TextStyle } from "../../../src/domain/renders/drawing/Fonts.ts"
import { readImageHeader } from "../../../src/domain/renders/drawing/ImageHeader.ts"
import { resolvePalette } from "../../../src/domain/renders/drawing/Palette.ts"
import { ranksAt, smoothRanksAt, ticksUpTo, valueAt } from "../../../src/domain/renders/drawing/RaceOrder.ts"
import { fitText, oneLine } from "../../../src/domain/renders/drawing/Typography.ts"
import { gifDelay } from "../../../src/domain/renders/encoding/GifEncoder.ts"
import { toYuv420, yuv420Size } from "../../../src/domain/renders/encoding/Yuv420.ts"

const STYLE: TextStyle = { weight: 800, cut: "display", tracking: -0.02 }
const BOX = {
  style: STYLE,
  maxWidth: 300,
  maxHeight: 200,
  maxLines: 4,
  maxSize: 80,
  minSize: 12,
  leading: 1.1,
}

describe("type setting", () => {
  it("the embedded font is there: a heavy line is wider than a light one", () => {
    const light = oneLine("Night owl", { ...STYLE, weight: 400 }, 50).width
    assert.isAbove(oneLine("Night owl", { ...STYLE, weight: 900 }, 50).width, light * 1.05)
  })

  it("fitted text stays within its box, whatever it says", () => {
    const words = fc.array(fc.string({ unit: "grapheme", minLength: 1, maxLength: 30 }), {
      minLength: 1,
      maxLength: 12,
    })
    fc.assert(
      fc.property(words, (parts) => {
        const block = fitText(parts.join(" "), BOX)
        assert.isAtMost(block.lines.length, BOX.maxLines)
        assert.isAtMost(block.height, BOX.maxHeight + 0.01)
        assert.isAtMost(block.width, BOX.maxWidth + 0.01)
        assert.isAtLeast(block.size, BOX.minSize)
      }),
      { numRuns: 60 },
    )
  })

  it("short text is set at the largest size, and words are kept whole as long as they fit", () => {
    assert.strictEqual(fitText("Go", BOX).size, BOX.maxSize)
    const block = fitText("extraordinarily short", BOX)
    assert.deepStrictEqual(
      block.lines.map((line) => line.text),
      ["extraordinarily", "short"],
    )
  })

  it("what does not fit at the least size is cut with an ellipsis", () => {
    const block = fitText("word ".repeat(400), BOX)
    assert.strictEqual(block.size, BOX.minSize)
    assert.isTrue(block.lines.at(-1)?.text.endsWith("…"))
  })

  it("lines are balanced rather than filled", () => {
    const [first, second] = fitText("one two three four five six", { ...BOX, maxSize: 30 }).lines
    assert.isBelow(Math.abs((first?.width ?? 0) - (second?.width ?? 0)), (first?.width ?? 0) * 0.3)
  })
})

describe("captions", () => {
  const word = (text: string, start_sec: number) => ({ text, start_sec, end_sec: start_sec + 0.2 })
  const texts = (captions: ReturnType<typeof groupWords>) =>
    captions.map((caption) => caption.words.map(({ text }) => text).join(" "))

  it("break at the end of a sentence, at a pause, and when they are full", () => {
    const words = [
      word("Stop.", 0),
      word("Go", 0.3),
      word("on", 0.5),
      word("now", 2),
      word("or", 2.2),
      word("then", 2.4),
    ]
    assert.deepStrictEqual(texts(groupWords(words, 4)), ["Stop.", "Go on", "now or then"])
    assert.deepStrictEqual(texts(groupWords(words, 1)), ["Stop.", "Go", "on", "now", "or", "then"])
  })

  it("never overlap, and hold every word once", () => {
    const words = Array.from({ length: 200 }, (_, index) => word(`w${index}`, index * 0.21))
    const captions = groupWords(words, 5)
    assert.strictEqual(captions.flatMap((caption) => caption.words).length, 200)
    for (const [index, caption] of captions.entries()) {
      assert.isAtMost(caption.end, captions[index + 1]?.start ?? Infinity)
    }
  })
})

describe("a bar chart race", () => {
  const series = [
    { name: "a", values: [10, 10, 10] },
    { name: "b", values: [0, 20, 40] },
    { name: "c", values: [5, 5, 5] },
  ]

  it("interpolates values and swaps places smoothly, each moment computed alone", () => {
    assert.strictEqual(valueAt(series[1] ?? series[0]!, 0.25), 5)
    assert.deepStrictEqual(ranksAt(series, 0), [0, 2, 1])
    assert.deepStrictEqual(ranksAt(series, 2), [1, 0, 2])
    const [a = 0, b = 0] = smoothRanksAt(series, 0.5)
    assert.isTrue(a > 0 && a < 1 && b > 0 && b < 2)
    assert.deepStrictEqual(
      smoothRanksAt(series, 1.5).map((rank) => Math.round(rank)),
      [1, 0, 2],
    )
  })

  it("rules its grid in round numbers", () => {
    assert.deepStrictEqual(ticksUpTo(231, 5), [50, 100, 150, 200])
    assert.deepStrictEqual(ticksUpTo(0.9, 3), [0.5])
    assert.deepStrictEqual(ticksUpTo(0, 3), [])
  })
})

describe("colours", () => {
  it("text that would be unreadable on the caller's background is replaced", () => {
    const palette = resolvePalette({ colors: { background: "#fafafa", text: "#ffffff" } })
    assert.isAbove(contrast(palette.background, palette.text), 7)
  })

  it("every theme's text, muted text and accent can be read", () => {
    for (const theme of ["midnight", "paper", "forest", "cobalt", "coral", "mono"] as const) {
      const { accent, background, muted, onAccent, text } = resolvePalette({ theme })
      assert.isAbove(contrast(background, text), 4.5, theme)
      assert.isAbove(contrast(background, muted), 3, theme)
      assert.isAbove(contrast(background, accent), 2.5, theme)
      assert.isAbove(contrast(accent, onAccent), 4.5, theme)
    }
  })

  it("mixing keeps the ends and stays between them", () => {
    assert.strictEqual(mix("#123456", "#fedcba", 0), "#123456")
    assert.strictEqual(mix("#123456", "#fedcba", 1), "#fedcba")
  })

  it("reach the encoder as BT.709 in limited range", () => {
    const of = (r: number, g: number, b: number): ReadonlyArray<number> => {
      const out = new Uint8Array(yuv420Size(2, 2))
      toYuv420(Uint8Array.from([1, 2, 3, 4].flatMap(() => [r, g, b, 255])), 2, 2, out)
      return [out[0] ?? 0, out[4] ?? 0, out[5] ?? 0]
    }
    assert.deepStrictEqual(of(255, 255, 255), [235, 128, 128])
    assert.deepStrictEqual(of(0, 0, 0), [16, 128, 128])
    assert.deepStrictEqual(of(255, 0, 0), [63, 102, 240])
    assert.deepStrictEqual(of(0, 0, 255), [32, 240, 118])
  })
})

describe("images from outside", () => {
  it("are measured without decoding, in each accepted format", () => {
    const canvas = createCanvas(37, 21)
    for (const format of ["png", "jpeg", "webp"] as const) {
      const bytes = canvas.toBuffer(`image/${format}` as "image/png")
      assert.deepStrictEqual(readImageHeader(bytes), { format, width: 37, height: 21 })
    }
  })

  it("are not recognised when they are cut short or something else", () => {
    const bytes = createCanvas(9, 9).encodeSync("jpeg")
    for (let length = 0; length < 40; length++) assert.isUndefined(readImageHeader(bytes.subarray(0, length)))
    assert.isUndefined(readImageHeader(createCanvas(9, 9).encodeSync("gif")))
  })
})

it("gif delays add up to the right duration although each is whole hundredths", () => {
  for (const fps of [7, 12, 15, 24, 30]) {
    const total = Array.from({ length: fps * 10 }, (_, frame) => gifDelay(frame, fps)).reduce(
      (a, b) => a + b,
      0,
    )
    assert.strictEqual(total, 1_000)
  }
})
