import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, References } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { TestClock } from "effect/testing"
import { rmSync, statfsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { letOthersRun } from "../../src/sqlite/EventLoop.ts"
import * as DiskSpace from "../../src/telemetry/DiskSpace.ts"
import * as Metrics from "../../src/telemetry/Metrics.ts"
import { temporaryFolder } from "../sqlite/TemporaryFolder.ts"

describe("the space on a disk", () => {
  it.effect("is that of the disk that a folder will be made on", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const { blocks, bsize } = statfsSync(folder)
      const { freeBytes, totalBytes } = yield* DiskSpace.diskOf(join(folder, "not", "yet"))
      assert.strictEqual(totalBytes, blocks * bsize)
      assert.isAtMost(freeBytes, totalBytes)
    }),
  )

  it.effect("is measured by the clock, and is no figure while nobody knows it", () =>
    Effect.gen(function* () {
      const data = join(yield* temporaryFolder, "data")
      const registry = yield* Layer.build(Metrics.registryLayer)
      const names = () =>
        PrometheusMetrics.formatUnsafe(registry)
          .split("\n")
          .flatMap((line) => /^(renderowl_disk_\w+) \d+$/.exec(line)?.[1] ?? [])
      const shows = (count: number) => Effect.repeat(letOthersRun, { until: () => names().length === count })
      yield* Layer.build(DiskSpace.layer(join(data, "renders"))).pipe(
        Effect.provideContext(registry),
        Effect.provideService(References.MinimumLogLevel, "None"),
      )
      yield* shows(2)
      assert.sameMembers(names(), ["renderowl_disk_free_bytes", "renderowl_disk_size_bytes"])
      // A file where a folder should be: there is nothing to ask.
      writeFileSync(data, "")
      yield* TestClock.adjust("15 seconds")
      yield* shows(0)
      rmSync(data)
      yield* TestClock.adjust("15 seconds")
      yield* shows(2)
    }),
  )
})
