/**
 * What is left on the disk of a folder: for the health check, for metrics, and for commands that ask before they write. The
 * system is asked beside the event loop, which a disk that hangs does not stop.
 */
import { Effect, Layer, Schedule } from "effect"
import type { StatsFs } from "node:fs"
import { statfs } from "node:fs/promises"
import { dirname, resolve } from "node:path"
import { Gauges } from "./Instruments.ts"

/** As often as Prometheus commonly scrapes. */
const LOOK_INTERVAL = "15 seconds"

export interface DiskSpace {
  /** For those who are not root. */
  readonly freeBytes: number
  readonly totalBytes: number
}

/**
 * The disk of a folder, or of the one that it will be made in. One that cannot be asked is a defect: a command ends with it, and
 * whoever looks again and again says so and goes on.
 */
export const diskOf = (folder: string): Effect.Effect<DiskSpace> =>
  Effect.promise(async () => {
    const { bavail, blocks, bsize } = await statfsOf(resolve(folder))
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize }
  })

const statfsOf = async (path: string): Promise<StatsFs> => {
  try {
    return await statfs(path)
  } catch (cause) {
    const parent = dirname(path)
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT" || parent === path) throw cause
    return statfsOf(parent)
  }
}

/** Measures the disk of a folder, one look after the other. While nobody can say how it is, there is no series. */
export const layer = (folder: string): Layer.Layer<never> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const registry = yield* Effect.context<never>()
      const free = new Gauges(registry, {
        name: "renderowl_disk_free_bytes",
        description: "Bytes that are free on the disk of the data folder",
      })
      const size = new Gauges(registry, {
        name: "renderowl_disk_size_bytes",
        description: "Size of the disk of the data folder",
      })
      const show = (disk: DiskSpace | undefined) => {
        free.set(disk === undefined ? [] : [[{}, disk.freeBytes]])
        size.set(disk === undefined ? [] : [[{}, disk.totalBytes]])
      }
      const look = Effect.catchCause(Effect.map(diskOf(folder), show), (cause) => {
        show(undefined)
        return Effect.logWarning("the disk could not be measured", { folder }, cause)
      })
      yield* Effect.forkScoped(Effect.repeat(look, Schedule.spaced(LOOK_INTERVAL)))
    }),
  )
