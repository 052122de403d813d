/**
 * A SQLite file that its program can do without: what is in it makes things faster or fairer, and is never the only copy of
 * anything that matters. It is never a reason to fail. A damaged one is set aside and a new one begun; one that is locked,
 * full or cannot be opened is done without until somebody tries again. It belongs to one process at a time.
 */
import { mkdirSync, renameSync, rmSync } from "node:fs"
import { dirname } from "node:path"
import { IN_MEMORY, SqliteDatabase } from "./SqliteDatabase.ts"
import { isCorrupt } from "./SqliteError.ts"

/** What tells a kind of file from all others. */
export interface FileFormat {
  /** Four letters in `PRAGMA application_id`: tells our files from other people's. */
  readonly applicationId: number
  /** Of the schema, in `PRAGMA user_version`. A file of another one counts as damaged. */
  readonly version: number
  readonly schema: string
  /** Pages kept in memory, in bytes. */
  readonly pageCacheBytes: number
}

/** The file is ours, and broken. */
export class FileDamaged extends Error {
  override readonly name = "FileDamaged"
}

/** The file is a database of somebody else: nothing of it is touched. */
export class ForeignFile extends Error {
  override readonly name = "ForeignFile"
}

/**
 * Opens such a file, making it if need be, and holds it alone until it is closed.
 *
 * @throws the errors of node:sqlite, {@link FileDamaged} and {@link ForeignFile}
 */
export const openDatabase = (filename: string, format: FileFormat): SqliteDatabase => {
  if (filename !== IN_MEMORY) mkdirSync(dirname(filename), { recursive: true })
  const database = SqliteDatabase.open({
    filename,
    // What a power cut takes back was expendable.
    synchronous: "NORMAL",
    // It is used on the main thread, and never worth waiting for.
    busyTimeout: 0,
    pageCacheBytes: format.pageCacheBytes,
    // A mapped file that is cut short ends the process instead of failing a read.
    mmapBytes: 0,
  })
  try {
    if (database.isBlank) database.transaction(() => database.exec(preamble(format)))
    if (database.pragma("application_id") !== format.applicationId)
      throw new ForeignFile("it is another program's database, or serves another purpose")
    if (database.pragma("user_version") !== format.version)
      throw new FileDamaged("it was made by another release")
    // Two processes would each believe that the file is what they left behind.
    database.exec("PRAGMA locking_mode = EXCLUSIVE")
    return database
  } catch (cause) {
    database.close()
    throw cause
  }
}

const preamble = ({ applicationId, schema, version }: FileFormat): string =>
  `${schema}\nPRAGMA application_id = ${applicationId};\nPRAGMA user_version = ${version};`

/** What is told about the file. */
export interface Trouble {
  readonly message: string
  readonly cause: unknown
}

export interface ExpendableFileOptions<File> {
  readonly filename: string
  /** What people call it: "the cache file". */
  readonly title: string
  /** Opens it, or throws. */
  readonly open: () => File
  /** The file gave trouble: what it had is not there any more. */
  readonly onTrouble: (trouble: Trouble) => void
}

/** The file as it is used: `undefined` where it gives trouble. */
export class ExpendableFile<File extends { readonly close: () => void }> {
  readonly #options: ExpendableFileOptions<File>
  #file: File | undefined

  constructor(options: ExpendableFileOptions<File>) {
    this.#options = options
    this.#file = this.#open()
  }

  /** Whether the file is in use now. */
  get isOpen(): boolean {
    return this.#file !== undefined
  }

  /** Opens it if it is not open. */
  reopen(): boolean {
    this.#file ??= this.#open()
    return this.isOpen
  }

  /** What `body` makes of the file; `undefined` without one, and when it throws. */
  use<A>(body: (file: File) => A): A | undefined {
    if (this.#file === undefined) return undefined
    try {
      return body(this.#file)
    } catch (cause) {
      this.#giveUp()
      if (isDamage(cause)) this.#file = this.#replace(cause)
      else this.#tell("cannot be used and is done without", cause)
      return undefined
    }
  }

  close(): void {
    this.#file?.close()
    this.#file = undefined
  }

  #giveUp(): void {
    const file = this.#file
    this.#file = undefined
    try {
      file?.close()
    } catch (cause) {
      this.#tell("could not be closed", cause)
    }
  }

  #open(): File | undefined {
    try {
      return this.#options.open()
    } catch (cause) {
      if (isDamage(cause)) return this.#replace(cause)
      this.#tell("cannot be opened and is done without", cause)
      return undefined
    }
  }

  #replace(damage: unknown): File | undefined {
    const { filename, open } = this.#options
    try {
      this.#tell(`is damaged; it is kept as ${setAside(filename)}`, damage)
      return open()
    } catch (cause) {
      this.#tell("is damaged and cannot be replaced; it is done without", cause)
      return undefined
    }
  }

  #tell(what: string, cause: unknown): void {
    this.#options.onTrouble({ message: `${this.#options.title} ${what}`, cause })
  }
}

/** Whether what was thrown means that the file itself is of no use any more. */
const isDamage = (cause: unknown): boolean => cause instanceof FileDamaged || isCorrupt(cause)

/** Puts a closed file out of the way, for whoever wants to know what happened to it; the one before it goes. */
const setAside = (filename: string): string => {
  const elsewhere = `${filename}.damaged`
  renameSync(filename, elsewhere)
  for (const suffix of ["-wal", "-shm"]) rmSync(filename + suffix, { force: true })
  return elsewhere
}
