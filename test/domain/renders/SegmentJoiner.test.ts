import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { randomFillSync } from "node:crypto"
import { existsSync } from "node:fs"
import { mkdtemp, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { FrameCanvas } from "../../../src/domain/renders/encoding/FrameCanvas.ts"
import { joinSegments } from "../../../src/domain/renders/encoding/SegmentJoiner.ts"
import { openWasm } from "../../../src/domain/renders/encoding/WasmEncoder.ts"
import { RenderPlan } from "../../../src/domain/renders/RenderPlan.ts"
import { readMp4 } from "./Video.ts"

/** More than a few writes of the file. */
const BYTES_MIN = 2_000_000
/** A device that has no room for anything, where there is one. */
const FULL = "/dev/full"

const plan = new RenderPlan({
  composition_id: "Noise",
  format: "mp4",
  codec: "h264",
  encoder: "wasm",
  width: 320,
  height: 180,
  fps: 24,
  quality: 100,
  duration_in_frames: 120,
  first_frame: 0,
  total_frames: 120,
  frames_per_segment: 60,
})
const noise = {
  pixels: () => randomFillSync(new Uint8Array(plan.width * plan.height * 4)),
} as unknown as FrameCanvas
const { signal } = new AbortController()

/** Two segments of noise, which no encoder makes small, in a folder of their own. */
const segments = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "renderowl-segments-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true })),
  )
  const files = plan.segments.map((segment) => ({ ...segment, path: join(folder, `${segment.index}.mp4`) }))
  yield* Effect.promise(async () => {
    for (const { firstFrame, frames, path } of files) {
      const encoder = await openWasm({ plan, path, position: firstFrame, ffmpeg: undefined, signal })
      for (let frame = 0; frame < frames; frame++) await encoder.write(noise)
      await encoder.finish()
    }
  })
  return { folder, files }
})

describe("a video that is joined", () => {
  it.effect("is whole when it is written in many parts", () =>
    Effect.gen(function* () {
      const { files, folder } = yield* segments
      const path = join(folder, "out.mp4")
      yield* Effect.promise(() => joinSegments({ plan, segments: files, path, signal }))
      const { size } = yield* Effect.promise(() => stat(path))
      assert.isAbove(size, BYTES_MIN)
      const video = yield* Effect.promise(() => readMp4(path))
      assert.strictEqual(video.timestamps.length, plan.total_frames)
      assert.deepStrictEqual(video.keyFrames, [0, plan.frames_per_segment])
    }),
  )

  it.effect.skipIf(!existsSync(FULL))("says so where there is no room for it", () =>
    Effect.gen(function* () {
      const { files } = yield* segments
      const joining = Effect.tryPromise({
        try: () => joinSegments({ plan, segments: files, path: FULL, signal }),
        catch: (error) => error as NodeJS.ErrnoException,
      })
      const { code, syscall } = yield* Effect.flip(joining)
      assert.deepStrictEqual([code, syscall], ["ENOSPC", "write"])
    }),
  )
})
