/** A folder on a real disk for one test, removed with the test's scope. */
import { Effect, type Scope } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export const temporaryFolder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "renderowl-sqlite-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true })),
)
