/**
 * What is left on the disk of a folder.
 */
import { existsSync, statfsSync } from "node:fs"
import { dirname, resolve } from "node:path"

export interface DiskSpace {
  /** For those who are not root. */
  readonly freeBytes: number
  readonly totalBytes: number
}

/** The disk of a folder, or of the one that it will be made in. */
export const diskOf = (folder: string): DiskSpace => {
  let existing = resolve(folder)
  while (!existsSync(existing)) existing = dirname(existing)
  const { bavail, blocks, bsize } = statfsSync(existing)
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize }
}
