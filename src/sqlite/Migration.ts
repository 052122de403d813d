/**
 * One migration file: its number, its name, its checksum, and the SQL of its two directions. Parsing is strict, because
 * what a file means must not depend on who reads it. It touches neither the disk nor a database.
 */
import { Result } from "effect"
import { createHash } from "node:crypto"
import { Malformed } from "./MigrationError.ts"

/** A migration read from `NNNN_name.sql`. */
export interface Migration {
  readonly id: number
  /** The `name` of `NNNN_name.sql`. */
  readonly name: string
  /** File name without its folder. */
  readonly file: string
  /** SHA-256 of the file's bytes, in hex. */
  readonly checksum: string
  readonly up: string
  /** Empty when the migration cannot be undone. */
  readonly down: string
}

const FILE_NAME = /^(\d{4})_([a-z0-9][a-z0-9_]*)\.sql$/
const MARKER = /^--[ \t]*migrate:(.*)$/
const BLANK_OR_COMMENT = /^\s*(--.*)?$/

/** The file name a recorded migration had. */
export const migrationFile = (id: number, name: string): string =>
  `${String(id).padStart(4, "0")}_${name}.sql`

/** Reads one migration from the bytes of its file. */
export const parseMigration = (file: string, bytes: Uint8Array): Result.Result<Migration, Malformed> => {
  const malformed = (detail: string) => Result.fail(new Malformed({ file, detail }))
  const named = FILE_NAME.exec(file)
  if (named === null)
    return malformed("is not named NNNN_name.sql (four digits, then lower case, digits and _)")
  const text = decodeUtf8(bytes)
  if (text === undefined) return malformed("is not UTF-8 text")
  // SQLite ends its input at a NUL and would leave out what follows.
  if (text.includes("\0")) return malformed("contains a NUL character")
  const lines = text.split(/\r?\n/)
  const markers = lines.flatMap((line, index) => {
    const marker = MARKER.exec(line)
    return marker === null ? [] : [{ direction: marker[1]?.trim(), index }]
  })
  const [up, down] = markers
  if (markers.length !== 2 || up?.direction !== "up" || down?.direction !== "down") {
    return malformed('must have one line "-- migrate:up" and after it one line "-- migrate:down"')
  }
  if (!lines.slice(0, up.index).every(isBlankOrComment)) return malformed('has SQL before "-- migrate:up"')
  const upLines = lines.slice(up.index + 1, down.index)
  if (upLines.every(isBlankOrComment)) return malformed("has nothing in its up part")
  const downLines = lines.slice(down.index + 1)
  return Result.succeed({
    id: Number(named[1]),
    name: String(named[2]),
    file,
    checksum: createHash("sha256").update(bytes).digest("hex"),
    up: upLines.join("\n"),
    down: downLines.every(isBlankOrComment) ? "" : downLines.join("\n"),
  })
}

const isBlankOrComment = (line: string): boolean => BLANK_OR_COMMENT.test(line)

const decodeUtf8 = (bytes: Uint8Array): string | undefined => {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}
