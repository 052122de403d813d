import { assert, describe, it } from "@effect/vitest"
import { ProgressEstimate } from "../../../src/domain/renders/ProgressEstimate.ts"

describe("the progress of a render", () => {
  it("says nothing about the time left before there is something to judge by", () => {
    const state = ProgressEstimate.start(100, 0)
    assert.deepStrictEqual(ProgressEstimate.progress(state, 5_000), {
      percent: 0,
      current_frame: 0,
      total_frames: 100,
      estimated_remaining_sec: null,
    })
  })

  it("at a steady speed the time left is what remains divided by it, and runs down between reports", () => {
    let state = ProgressEstimate.start(100, 0)
    for (let second = 1; second <= 4; second++)
      state = ProgressEstimate.report(state, 0, second * 10, second * 1_000)
    assert.strictEqual(ProgressEstimate.progress(state, 4_000).estimated_remaining_sec, 6)
    assert.strictEqual(ProgressEstimate.progress(state, 6_000).estimated_remaining_sec, 4)
    assert.strictEqual(ProgressEstimate.progress(state, 60_000).estimated_remaining_sec, 1)
  })

  it("segments rendered at once add up, and a late or repeated report takes nothing back", () => {
    let state = ProgressEstimate.start(120, 0)
    state = ProgressEstimate.report(state, 0, 30, 1_000)
    state = ProgressEstimate.report(state, 1, 15, 1_500)
    state = ProgressEstimate.report(state, 0, 12, 2_000)
    state = ProgressEstimate.report(state, 1, 15, 2_500)
    assert.strictEqual(state.framesDone, 45)
    assert.strictEqual(ProgressEstimate.progress(state, 2_500).percent, 37.5)
  })

  it("what an earlier attempt finished counts as done but not as speed", () => {
    const finished = new Map([
      [0, 60],
      [1, 60],
    ])
    let state = ProgressEstimate.start(180, 0, finished)
    assert.strictEqual(ProgressEstimate.progress(state, 0).percent, 66.6)
    state = ProgressEstimate.report(state, 2, 10, 1_000)
    assert.strictEqual(ProgressEstimate.progress(state, 1_000).estimated_remaining_sec, 5)
  })

  it("the estimate follows when the speed changes", () => {
    let state = ProgressEstimate.start(10_000, 0)
    for (let second = 1; second <= 10; second++)
      state = ProgressEstimate.report(state, 0, second * 100, second * 1_000)
    for (let second = 11; second <= 40; second++) {
      state = ProgressEstimate.report(state, 0, 1_000 + (second - 10) * 10, second * 1_000)
    }
    const { estimated_remaining_sec } = ProgressEstimate.progress(state, 40_000)
    assert.isAbove(estimated_remaining_sec ?? 0, 700)
    assert.isBelow(estimated_remaining_sec ?? 0, 880)
  })

  it("a finished render is at 100 per cent with nothing left", () => {
    const state = ProgressEstimate.report(ProgressEstimate.start(10, 0), 0, 10, 300)
    const { estimated_remaining_sec, percent } = ProgressEstimate.progress(state, 300)
    assert.deepStrictEqual([percent, estimated_remaining_sec], [100, 0])
  })
})
