/**
 * Which program a kept answer was made by. Another one may answer the same request otherwise, so what it finds of its
 * predecessor is not used.
 */
import { hash } from "node:crypto"
import { readdirSync, statSync } from "node:fs"
import { join } from "node:path"

/**
 * Names the program whose sources are in a folder, by their paths, sizes and times of change, together with what else makes a
 * difference to its answers. It takes a few milliseconds for some hundred files (measured: 6 for 250).
 */
export const generationOf = (folder: string, ...others: ReadonlyArray<string>): string => {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted()
    .map((path) => {
      const { mtimeMs, size } = statSync(path)
      return `${path} ${size} ${mtimeMs}`
    })
  return hash("sha256", [...files, ...others].join("\n"), "base64url")
}
