/**
 * A file system of its own with little room, in memory: what a full disk does to every file at once – log, index and
 * database – and not only to the calls that a test thought of. Mounting takes root; {@link unmountable} says why there is
 * none.
 */
import { Effect, Scope } from "effect"
import { execFileSync, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const mount = (folder: string, options: string): string | undefined => {
  const { error, status, stderr } = spawnSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", folder], {
    encoding: "utf8",
  })
  return error?.message ?? (status === 0 ? undefined : stderr.trim())
}

const unmount = (folder: string) => {
  execFileSync("umount", ["--lazy", folder])
  rmSync(folder, { recursive: true })
}

const emptyFolder = () => mkdtempSync(join(tmpdir(), "renderowl-disk-"))

/** A disk that is gone with the scope. */
export interface SmallDisk {
  readonly folder: string
  /** Gives it another size, with what it holds. */
  readonly resize: (kibibytes: number) => void
}

export const smallDisk = (kibibytes: number): Effect.Effect<SmallDisk, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const folder = emptyFolder()
        const reason = mount(folder, `size=${kibibytes}k`)
        if (reason !== undefined) throw new Error(reason)
        return folder
      }),
      (folder) => Effect.sync(() => unmount(folder)),
    ),
    (folder) => ({
      folder,
      resize: (size) => void execFileSync("mount", ["-o", `remount,size=${size}k`, folder]),
    }),
  )

/** Why there can be no such disk here; undefined when there can. */
export const unmountable: string | undefined = (() => {
  if (process.getuid?.() !== 0) return "mounting a small disk takes root"
  const folder = emptyFolder()
  const reason = mount(folder, "size=64k")
  if (reason === undefined) unmount(folder)
  else rmSync(folder, { recursive: true })
  return reason === undefined ? undefined : `no disk can be mounted here: ${reason}`
})()

if (unmountable !== undefined) console.warn(`Tests on a small disk are skipped: ${unmountable}`)
