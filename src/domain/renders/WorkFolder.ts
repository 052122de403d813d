/**
 * The files of renders on disk: how they are named, and how one appears complete or not at all.
 *
 * A file is written under a name ending in `.tmp`, synced, renamed, and its folder synced; whoever finds a file under its
 * final name after a crash or power loss finds all of it. What ends in `.tmp` belongs to a live attempt or to nobody.
 */
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { mkdir, open, readdir, rename, rm } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { RenderError, storageReason } from "./RenderError.ts"

const TEMPORARY = ".tmp"

/** The name of a segment's file within a work folder. */
export const segmentFile = (index: number, extension: string): string =>
  `segment-${String(index).padStart(5, "0")}.${extension}`

/** A name beside `path` to write under before the rename; unlike any other, so that two attempts cannot meet in it. */
export const temporaryFor = (path: string): string =>
  join(dirname(path), `.${basename(path)}.${randomUUID()}${TEMPORARY}`)

const syncPath = async (path: string): Promise<void> => {
  const handle = await open(path, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes what was written to `temporary` durable under `path`, replacing what was there. */
export const publish = async (temporary: string, path: string): Promise<void> => {
  await syncPath(temporary)
  await rename(temporary, path)
  await syncPath(dirname(path))
}

const attempt = <A>(path: string, run: () => Promise<A>): Effect.Effect<A, RenderError> =>
  Effect.tryPromise({ try: run, catch: (error) => new RenderError({ reason: storageReason(error, path) }) })

/** Makes a work folder ready for an attempt: creates it, and removes what attempts that died left half-written. Only the
 * holder of the job's lease may call this. Answers how many files were removed. */
export const prepareWorkFolder = Effect.fn("WorkFolder.prepare")((folder: string) =>
  attempt(folder, async () => {
    await mkdir(folder, { recursive: true })
    const stale = (await readdir(folder)).filter((name) => name.endsWith(TEMPORARY))
    await Promise.all(stale.map((name) => rm(join(folder, name), { force: true })))
    return stale.length
  }),
)

/** Removes a work folder with everything in it; no error when there is none. */
export const removeWorkFolder = Effect.fn("WorkFolder.remove")((folder: string) =>
  attempt(folder, () => rm(folder, { recursive: true, force: true })),
)
