import { describe, expect, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { hostname } from "node:os"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { Ownership } from "../../src/sqlite/Ownership.ts"
import { temporaryFolder } from "./TemporaryFolder.ts"

const newFile = Effect.map(temporaryFolder, (folder) => join(folder, "test.db"))

/** Another process that owns `filename`, killed at the end of the test at the latest. */
const otherOwner = (filename: string) =>
  Effect.acquireRelease(
    Effect.callback<ChildProcess>((resume) => {
      const child = fork(fileURLToPath(new URL("OwnerProcess.ts", import.meta.url)), [filename])
      child.once("message", () => resume(Effect.succeed(child)))
      child.once("exit", (code) =>
        resume(Effect.die(new Error(`the owner ended early with ${String(code)}`))),
      )
    }),
    kill,
  )

/** `kill -9`, and only on when the process is gone. */
const kill = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

/** The exit code of another process that tries to own `filename` and fails. */
const exitCodeOfRefused = (filename: string) =>
  Effect.callback<number | null>((resume) => {
    const child = fork(fileURLToPath(new URL("OwnerProcess.ts", import.meta.url)), [filename], {
      stdio: "ignore",
    })
    child.once("exit", (code) => resume(Effect.succeed(code)))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

describe("Ownership", () => {
  it.effect("refuses a second process at once and says who the owner is", () =>
    Effect.gen(function* () {
      const filename = yield* newFile
      const owner = yield* otherOwner(filename)
      const error = yield* Effect.flip(Ownership.acquire(filename))
      expect(error).toMatchObject({
        _tag: "DatabaseOwned",
        filename,
        owner: { pid: owner.pid, host: hostname() },
      })
      expect(error.message).toMatch(
        new RegExp(`in use by process ${owner.pid} on ${hostname()} since \\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z`),
      )
    }),
  )

  it.effect("is freed by kill -9 of the owner", () =>
    Effect.gen(function* () {
      const filename = yield* newFile
      const owner = yield* otherOwner(filename)
      yield* kill(owner)
      const mine = yield* Ownership.acquire(filename)
      expect(mine.pid).toBe(process.pid)
      expect(yield* Ownership.lastOwner(filename)).toEqual(Option.some(mine))
    }),
  )

  it.effect("refuses the same process a second time, and allows it after the first has let go", () =>
    Effect.gen(function* () {
      const filename = yield* newFile
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Ownership.acquire(filename)
          const error = yield* Effect.flip(Ownership.acquire(filename))
          expect(error).toMatchObject({ _tag: "DatabaseOwned", owner: { pid: process.pid } })
          // A refused attempt must not have loosened the first one's hold.
          const again = yield* Effect.flip(Ownership.acquire(filename))
          expect(again._tag).toBe("DatabaseOwned")
        }),
      )
      expect(existsSync(`${filename}.owner`)).toBe(false)
      yield* Ownership.acquire(filename)
    }),
  )

  it.effect("stays with the owner when another process is refused", () =>
    Effect.gen(function* () {
      const filename = yield* newFile
      yield* Ownership.acquire(filename)
      expect(yield* exitCodeOfRefused(filename)).toBe(1)
      expect((yield* Effect.flip(Ownership.acquire(filename)))._tag).toBe("DatabaseOwned")
    }),
  )

  it.effect("sees through links and other spellings of the same file", () =>
    Effect.gen(function* () {
      const filename = yield* newFile
      const alias = join(yield* temporaryFolder, "alias.db")
      writeFileSync(filename, "")
      symlinkSync(filename, alias)
      yield* Ownership.acquire(filename)
      for (const other of [alias, relative(process.cwd(), filename)]) {
        const error = yield* Effect.flip(Ownership.acquire(other))
        expect(error._tag).toBe("DatabaseOwned")
      }
    }),
  )

  it.effect("owns each database on its own", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Ownership.acquire(join(folder, "one.db"))
      yield* Ownership.acquire(join(folder, "two.db"))
    }),
  )

  it.effect("leaves only an empty lock file and a readable note beside the database", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const filename = join(folder, "test.db")
      const owner = yield* Ownership.acquire(filename)
      expect(readdirSync(folder).sort()).toEqual(["test.db.lock", "test.db.owner"])
      expect(JSON.parse(readFileSync(`${filename}.owner`, "utf8"))).toEqual({
        pid: process.pid,
        host: hostname(),
        started_at: owner.started_at,
      })
    }),
  )

  it.effect("still refuses when the note is missing or cannot be read", () =>
    Effect.gen(function* () {
      const filename = yield* newFile
      yield* Ownership.acquire(filename)
      writeFileSync(`${filename}.owner`, "{ half a no")
      const error = yield* Effect.flip(Ownership.acquire(filename))
      expect(error).toMatchObject({ _tag: "DatabaseOwned", owner: undefined })
      expect(error.message).toMatch(/in use by another process/)
    }),
  )
})
