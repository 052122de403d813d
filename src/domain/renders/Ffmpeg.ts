/**
 * Looks for an ffmpeg that can encode H.264: one on the PATH that was built with libx264 and runs.
 */
import { Effect } from "effect"
import { execFile } from "node:child_process"
import { constants } from "node:fs"
import { access } from "node:fs/promises"
import { delimiter, join } from "node:path"

const PROBE_TIMEOUT_MS = 5_000

const isExecutable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  )

const encodesH264 = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    execFile(path, ["-hide_banner", "-encoders"], { timeout: PROBE_TIMEOUT_MS }, (error, output) =>
      resolve(error === null && /\blibx264\b/u.test(output)),
    )
  })

/** The path of a usable ffmpeg, or undefined. Searches the given PATH in order. */
export const findFfmpeg = (searchPath: string): Effect.Effect<string | undefined> =>
  Effect.promise(async () => {
    for (const folder of searchPath.split(delimiter)) {
      const path = join(folder, "ffmpeg")
      if (folder !== "" && (await isExecutable(path)) && (await encodesH264(path))) return path
    }
    return undefined
  })
