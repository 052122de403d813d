/**
 * A folder for the databases of one run, on a real disk and removed afterwards. A file system in memory makes `fsync`
 * free, and durable commits are what is measured here.
 */
import { Effect } from "effect"
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const FILE_SYSTEMS_IN_MEMORY: ReadonlySet<number> = new Set([
  0x0102_1994, // tmpfs
  0x8584_58f6, // ramfs
])

/** Used where the system's temporary folder is in memory. */
const FALLBACK = ".cache"

const isInMemory = (folder: string) => FILE_SYSTEMS_IN_MEMORY.has(statfsSync(folder).type)

const parentFolder = (): string => {
  if (!isInMemory(tmpdir())) return tmpdir()
  mkdirSync(FALLBACK, { recursive: true })
  if (isInMemory(FALLBACK))
    throw new Error("neither the temporary folder nor this one is on a disk: set TMPDIR")
  return FALLBACK
}

/** A fresh folder for as long as the scope is open. */
export const benchFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(parentFolder(), "renderowl-bench-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true })),
)
