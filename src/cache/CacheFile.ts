/**
 * The cache's SQLite file: entries by key, and the mark up to which all invalidations have been applied to them. It belongs to
 * one process at a time and to one generation of the program; a file of another generation is emptied when it is opened.
 * Every method throws: the errors of node:sqlite, `FileDamaged` and `ForeignFile`.
 */
import { crc32 } from "node:zlib"
import { FileDamaged, type FileFormat, openDatabase } from "../sqlite/ExpendableFile.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { type Answer, BEGINNING, type Mark } from "./Answer.ts"

const SCHEMA = `
CREATE TABLE state (
  id         INTEGER PRIMARY KEY CHECK (id = 1),
  generation TEXT    NOT NULL,
  position   INTEGER NOT NULL,   -- all invalidations up to here have been applied
  of         TEXT    NOT NULL    -- what was there
) STRICT;
INSERT INTO state (id, generation, position, of) VALUES (1, '', 0, '');

CREATE TABLE entries (
  id         INTEGER PRIMARY KEY, -- in the order of storing
  key        TEXT    NOT NULL UNIQUE,
  tags       TEXT    NOT NULL,    -- JSON array
  expires_at INTEGER NOT NULL,    -- milliseconds since 1970
  bytes      INTEGER NOT NULL,    -- what it counts for
  checksum   INTEGER NOT NULL,    -- CRC-32 of head and body
  head       TEXT    NOT NULL,
  body       BLOB    NOT NULL
) STRICT;
`

const FORMAT: FileFormat = {
  /** "ROCA". */
  applicationId: 0x52_4f_43_41,
  version: 1,
  schema: SCHEMA,
  /** The front has what is asked for often. */
  pageCacheBytes: 4 * 1024 * 1024,
}

const SELECT_STATE = "SELECT generation, position, of FROM state WHERE id = 1"
const UPDATE_STATE = "UPDATE state SET generation = ?, position = ?, of = ? WHERE id = 1"
/** Every entry without its body: at most as many as the cache may have. */
const SELECT_ALL = "SELECT key, tags, expires_at, bytes FROM entries ORDER BY id"
/** Index: UNIQUE (key). */
const SELECT_ANSWER = "SELECT checksum, head, body FROM entries WHERE key = ?"
/** Index: UNIQUE (key). */
const DELETE_ENTRIES = "DELETE FROM entries WHERE key IN (SELECT atom FROM json_each(?))"
const INSERT_ENTRY = `INSERT OR REPLACE INTO entries (key, tags, expires_at, bytes, checksum, head, body)
  VALUES (?, ?, ?, ?, ?, ?, ?)`

/** An entry without what it holds. */
export interface FiledEntry {
  readonly key: string
  readonly tags: ReadonlyArray<string>
  readonly expiresAt: number
  readonly bytes: number
}

/** What is to be written in one transaction. */
export interface Changes {
  readonly removed: Iterable<string>
  readonly added: Iterable<FiledEntry & { readonly answer: Answer }>
  readonly mark: Mark
}

export class CacheFile {
  readonly #database: SqliteDatabase
  readonly #generation: string

  private constructor(database: SqliteDatabase, generation: string) {
    this.#database = database
    this.#generation = generation
  }

  /** Opens the file, making it if need be, and holds it alone until it is closed. */
  static open(filename: string, generation: string): CacheFile {
    const database = openDatabase(filename, FORMAT)
    try {
      const file = new CacheFile(database, generation)
      database.transaction(() => {
        if (file.#state()["generation"] !== generation) file.#clear(BEGINNING)
      })
      return file
    } catch (cause) {
      database.close()
      throw cause
    }
  }

  get mark(): Mark {
    const { of, position } = this.#state()
    return { of: of as string, position: position as number }
  }

  /** All entries, the one stored first coming first. */
  entries(): ReadonlyArray<FiledEntry> {
    return this.#database
      .prepare(SELECT_ALL)
      .all()
      .map((row) => ({
        key: row["key"] as string,
        tags: JSON.parse(row["tags"] as string) as ReadonlyArray<string>,
        expiresAt: row["expires_at"] as number,
        bytes: row["bytes"] as number,
      }))
  }

  /** What an entry holds; undefined where there is none. */
  read(key: string): Answer | undefined {
    const row = this.#database.prepare(SELECT_ANSWER).get(key)
    if (row === undefined) return undefined
    const answer = { head: row["head"] as string, body: row["body"] as Uint8Array }
    if (checksumOf(answer) === row["checksum"]) return answer
    throw new FileDamaged(`the entry ${key} is not what was stored`)
  }

  write({ added, mark, removed }: Changes): void {
    this.#database.transaction(() => {
      const keys = [...removed]
      if (keys.length > 0) this.#database.prepare(DELETE_ENTRIES).run(JSON.stringify(keys))
      const insert = this.#database.prepare(INSERT_ENTRY)
      for (const { answer, bytes, expiresAt, key, tags } of added) {
        const { body, head } = answer
        insert.run(key, JSON.stringify(tags), expiresAt, bytes, checksumOf(answer), head, body)
      }
      this.#setMark(mark)
    })
  }

  /** Forgets every entry. */
  clear(mark: Mark): void {
    this.#database.transaction(() => this.#clear(mark))
  }

  close(): void {
    this.#database.close()
  }

  #state() {
    const row = this.#database.prepare(SELECT_STATE).get()
    if (row === undefined) throw new FileDamaged("its state is not there")
    return row
  }

  #clear(mark: Mark): void {
    this.#database.exec("DELETE FROM entries")
    this.#setMark(mark)
  }

  #setMark({ of, position }: Mark): void {
    this.#database.prepare(UPDATE_STATE).run(this.#generation, position, of)
  }
}

const checksumOf = ({ body, head }: Answer): number => crc32(body, crc32(head))
