/**
 * Files that are there completely or not at all, whatever ends the process or the power: written under another name, synced,
 * renamed, and their folder synced. What is copied is also summed up, so that a damaged copy is told from a good one.
 */
import { createHash } from "node:crypto"
import { closeSync, fsyncSync, openSync, writeFileSync } from "node:fs"
import { open } from "node:fs/promises"

/** Bytes that are read at a time. */
const CHUNK_BYTES = 1024 * 1024

/** A file's size and SHA-256 (hexadecimal). */
export interface FileSum {
  readonly bytes: number
  readonly sha256: string
}

/** Reads the whole file, and writes it to `copy` if that is given: then it is on the disk at the end. */
export const sumUp = async (
  path: string,
  options: { readonly copy?: string | undefined; readonly onProgress: (done: number, total: number) => void },
): Promise<FileSum> => {
  const hash = createHash("sha256")
  let bytes = 0
  await using source = await open(path, "r")
  await using target = options.copy === undefined ? undefined : await open(options.copy, "w", 0o600)
  const { size } = await source.stat()
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
  for (;;) {
    const { bytesRead } = await source.read(chunk, 0, CHUNK_BYTES)
    if (bytesRead === 0) break
    const part = chunk.subarray(0, bytesRead)
    hash.update(part)
    await target?.writeFile(part)
    bytes += bytesRead
    options.onProgress(bytes, size)
  }
  await target?.sync()
  return { bytes, sha256: hash.digest("hex") }
}

/** Writes a small file, which is on the disk at the end. */
export const writeDurably = (path: string, text: string): void => {
  writeFileSync(path, text, { mode: 0o600 })
  syncPath(path)
}

/** Brings a file, or what a folder says of its files, to the disk. */
export const syncPath = (path: string): void => {
  const descriptor = openSync(path, "r")
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
