import { assert, describe, it } from "@effect/vitest"
import { showProgress } from "../../src/ops/Progress.ts"

const TOTAL = 200_000

/** What is written for a step every 10 milliseconds. */
const written = (isTTY: boolean, steps: number) => {
  const chunks: Array<string> = []
  let now = 0
  const { close, onProgress } = showProgress({ isTTY, write: (text) => chunks.push(text) }, () => now)
  for (let step = 0; step <= steps; step++) {
    onProgress({ task: "folding", done: (TOTAL / steps) * step, total: TOTAL })
    now += 10
  }
  onProgress({ task: "comparing", done: 0, total: 8 })
  close()
  return chunks
}

describe("progress", () => {
  it("is a bar on a terminal, drawn over itself and wiped at the end", () => {
    const chunks = written(true, 100)
    assert.isBelow(chunks.length, 20)
    for (const chunk of chunks) {
      assert.isTrue(chunk.startsWith("\r\u001B[2K"), chunk)
      assert.notInclude(chunk, "\n")
    }
    assert.include(chunks[5]!, "███████████████░░░░░░░░░░░░░░░  50 % folding 100,000 of 200,000")
    assert.strictEqual(chunks.at(-1), "\r\u001B[2K")
  })

  it("says what else there is to say", () => {
    const chunks: Array<string> = []
    const { onProgress } = showProgress({ write: (text) => chunks.push(text) }, () => 0)
    onProgress({ task: "loading", done: 1, total: 9, note: "12 requests/s" })
    assert.deepStrictEqual(chunks, ["loading 1 of 9: 12 requests/s\n"])
  })

  it("is a plain line at the start of each task and every few seconds elsewhere", () => {
    assert.deepStrictEqual(written(false, 1_000), [
      "folding 0 of 200,000\n",
      "folding 100,000 of 200,000\n",
      "folding 200,000 of 200,000\n",
      "comparing 0 of 8\n",
    ])
  })
})
