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

  it.effect("is told once for each disk that folders are on", () =>
    Effect.gen(function* () {
      const data = yield* temporaryFolder
      // In memory, and so a disk of its own.
      const folders = {
        data,
        archive: join(data, "archive"),
        database: "/dev/shm",
        backup: "/dev/shm/not/yet",
      }
      const { disks, unknown } = yield* DiskSpace.disksOf(folders)
      assert.deepStrictEqual(
        disks.map(({ name }) => name),
        ["data", "database"],
      )
      assert.deepStrictEqual(unknown, [])
      assert.strictEqual(disks[0]!.totalBytes, (yield* DiskSpace.diskOf(data)).totalBytes)
      assert.strictEqual(disks[1]!.totalBytes, (yield* DiskSpace.diskOf("/dev/shm")).totalBytes)
    }),
  )

  it.effect("is told of the others where one cannot be asked", () =>
    Effect.gen(function* () {
      const data = yield* temporaryFolder
      writeFileSync(join(data, "file"), "")
      const { disks, unknown } = yield* DiskSpace.disksOf({ archive: join(data, "file", "under it"), data })
      assert.deepStrictEqual(
        [unknown.map(({ name }) => name), disks.map(({ name }) => name)],
        [["archive"], ["data"]],
      )
    }),
  )

  it.effect("is measured by the clock, and is no figure while nobody knows it", () =>
    Effect.gen(function* () {
      const data = join(yield* temporaryFolder, "data")
      const registry = yield* Layer.build(Metrics.registryLayer)
      const names = () =>
        PrometheusMetrics.formatUnsafe(registry)
          .split("\n")
          .flatMap((line) => /^(renderowl_disk_\w+)\{disk="data"\} \d+$/.exec(line)?.[1] ?? [])
      const shows = (count: number) => Effect.repeat(letOthersRun, { until: () => names().length === count })
      yield* Layer.build(DiskSpace.layer({ data: join(data, "renders") })).pipe(
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
