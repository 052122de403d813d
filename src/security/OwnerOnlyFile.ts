/**
 * Small secrets of an installation on disk: readable and writable by their owner alone, complete or not there at all.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { Effect, Schema } from "effect"

const OWNER_ONLY = 0o600

/** The file with the secret cannot be read or written. */
export class SecretNotStored extends Schema.TaggedError<SecretNotStored>()("SecretNotStored", {
  path: Schema.String,
  cause: Schema.Defect(),
}) {
  override get message() {
    return `the secret in ${this.path} cannot be read or written`
  }
}

const attempt = <A>(path: string, f: () => A): Effect.Effect<A, SecretNotStored> =>
  Effect.try({ try: f, catch: (cause) => new SecretNotStored({ path, cause }) })

/** The text in the file, without white space around it; undefined when there is no file. */
export const read = (path: string): Effect.Effect<string | undefined, SecretNotStored> =>
  attempt(path, () => (existsSync(path) ? readFileSync(path, "utf8").trim() : undefined))

/** Writes the file anew, on disk before it takes its name. */
export const write = (path: string, text: string): Effect.Effect<void, SecretNotStored> =>
  attempt(path, () => {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(`${path}.tmp`, `${text}\n`, { mode: OWNER_ONLY, flush: true })
    renameSync(`${path}.tmp`, path)
  })

/** The text in the file; made and written first when there is none. */
export const readOrCreate = (path: string, make: () => string): Effect.Effect<string, SecretNotStored> =>
  Effect.flatMap(read(path), (known) => {
    if (known !== undefined && known !== "") return Effect.succeed(known)
    const text = make()
    return Effect.as(write(path, text), text)
  })
