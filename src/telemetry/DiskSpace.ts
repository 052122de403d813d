/**
 * What is left on the disks of some folders: for the health check, for metrics, and for commands that ask before they write. The
 * system is asked beside the event loop, which a disk that hangs does not stop.
 */
import { Effect, Layer, Schedule } from "effect"
import { stat, statfs } from "node:fs/promises"
import { dirname, resolve } from "node:path"
import { Gauges } from "./Instruments.ts"

/** As often as Prometheus commonly scrapes. */
const LOOK_INTERVAL = "15 seconds"
const LOOK_TIMEOUT = "10 seconds"

export interface DiskSpace {
  /** For those who are not root. */
  readonly freeBytes: number
  readonly totalBytes: number
}

/** Folders by what is kept in them, in a word. */
export type Folders = Readonly<Record<string, string>>

/** A disk by what is kept on it. */
export interface NamedDisk extends DiskSpace {
  readonly name: string
}

/** The disk of a folder, or of the one that it will be made in. One that cannot be asked is a defect: a command ends with it. */
export const diskOf = (folder: string): Effect.Effect<DiskSpace> =>
  Effect.promise(async () => spaceOf(await existing(folder)))

export interface Disks {
  /** Each once, by the name of the first of its folders. */
  readonly disks: ReadonlyArray<NamedDisk>
  /** Folders that cannot be asked about. */
  readonly unknown: ReadonlyArray<{ readonly name: string; readonly cause: unknown }>
}

/** The disks that folders are on. One that cannot be asked hides no other. */
export const disksOf = (folders: Folders): Effect.Effect<Disks> =>
  Effect.promise(async () => {
    const seen = new Set<number>()
    const disks: Array<NamedDisk> = []
    const unknown: Array<{ readonly name: string; readonly cause: unknown }> = []
    for (const [name, folder] of Object.entries(folders)) {
      try {
        const { device, space } = await asked(folder)
        if (!seen.has(device)) disks.push({ name, ...space })
        seen.add(device)
      } catch (cause) {
        unknown.push({ name, cause })
      }
    }
    return { disks, unknown }
  })

interface Asked {
  readonly device: number
  readonly space: DiskSpace
}

/**
 * Questions that are not answered yet, by folder. A disk that hangs keeps one thread of the few that Node has for files; whoever looks
 * again waits for the same answer, and does not take the next.
 */
const questions = new Map<string, Promise<Asked>>()

const asked = (folder: string): Promise<Asked> => {
  let question = questions.get(folder)
  if (question === undefined) {
    question = ask(folder).finally(() => questions.delete(folder))
    questions.set(folder, question)
  }
  return question
}

const ask = async (folder: string): Promise<Asked> => {
  const path = await existing(folder)
  const { dev: device } = await stat(path)
  return { device, space: await spaceOf(path) }
}

const spaceOf = async (path: string): Promise<DiskSpace> => {
  const { bavail, blocks, bsize } = await statfs(path)
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize }
}

/** The folder, or the nearest above it that is there. */
const existing = async (folder: string): Promise<string> => {
  const path = resolve(folder)
  try {
    await stat(path)
    return path
  } catch (cause) {
    const parent = dirname(path)
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT" || parent === path) throw cause
    return existing(parent)
  }
}

/** Measures the disks of folders, one look after the other. While nobody can say how one is, it has no series. */
export const layer = (folders: Folders): Layer.Layer<never> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const registry = yield* Effect.context<never>()
      const free = new Gauges(registry, {
        name: "renderowl_disk_free_bytes",
        description: "Bytes that are free on a disk that has data, by what is kept on it",
      })
      const size = new Gauges(registry, {
        name: "renderowl_disk_size_bytes",
        description: "Size of a disk that has data, by what is kept on it",
      })
      const show = (disks: ReadonlyArray<NamedDisk>) => {
        free.set(disks.map(({ freeBytes, name }) => [{ disk: name }, freeBytes]))
        size.set(disks.map(({ name, totalBytes }) => [{ disk: name }, totalBytes]))
      }
      const say = (problem: unknown) =>
        Effect.logWarning("disks could not be measured", { folders, problem: String(problem) })
      const look = disksOf(folders).pipe(
        Effect.timeout(LOOK_TIMEOUT),
        Effect.flatMap(({ disks, unknown }) => {
          show(disks)
          return Effect.forEach(unknown, ({ cause, name }) => say(`${name}: ${String(cause)}`), {
            discard: true,
          })
        }),
        // A disk that hangs: what was known of any is old by now.
        Effect.catch((error) => {
          show([])
          return say(error)
        }),
      )
      yield* Effect.forkScoped(Effect.repeat(look, Schedule.spaced(LOOK_INTERVAL)))
    }),
  )
