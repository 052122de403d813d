/**
 * The cache's file as the cache uses it: never a reason to fail. A damaged file is set aside and a new one begun; one that is
 * locked, full or cannot be opened is done without and tried again later. Whatever was in a file that gave trouble is
 * given up, so that nothing needs to be remembered about it.
 */
import type { Answer, Mark } from "./Answer.ts"
import { CacheFile, type Changes, type FiledEntry, isDamage, setAside } from "./CacheFile.ts"

/** What is told about the file. */
export interface Trouble {
  readonly message: string
  readonly cause: unknown
}

export interface FileStoreOptions {
  readonly filename: string
  readonly generation: string
  /** The file gave trouble: what it had is not there any more. */
  readonly onTrouble: (trouble: Trouble) => void
}

export class FileStore {
  readonly #options: FileStoreOptions
  #file: CacheFile | undefined

  constructor(options: FileStoreOptions) {
    this.#options = options
    this.#file = this.#open()
  }

  /** Whether the file is in use now. */
  get isOpen(): boolean {
    return this.#file !== undefined
  }

  /** What the file had when it was opened. */
  load(): { readonly entries: ReadonlyArray<FiledEntry>; readonly mark: Mark } | undefined {
    return this.#use((file) => ({ entries: file.entries(), mark: file.mark }))
  }

  read(key: string): Answer | undefined {
    return this.#use((file) => file.read(key))
  }

  /** Whether the changes are in the file. */
  write(changes: Changes): boolean {
    return (
      this.#use((file) => {
        file.write(changes)
        return true
      }) ?? false
    )
  }

  /** Begins an empty file, or empties the one that is there. */
  startOver(mark: Mark): boolean {
    this.#file ??= this.#open()
    return (
      this.#use((file) => {
        file.clear(mark)
        return true
      }) ?? false
    )
  }

  close(): void {
    this.#file?.close()
    this.#file = undefined
  }

  #use<A>(body: (file: CacheFile) => A): A | undefined {
    if (this.#file === undefined) return undefined
    try {
      return body(this.#file)
    } catch (cause) {
      this.#giveUp()
      if (isDamage(cause)) this.#file = this.#replace(cause)
      else this.#tell("the cache file cannot be used and is done without", cause)
      return undefined
    }
  }

  #giveUp(): void {
    const file = this.#file
    this.#file = undefined
    try {
      file?.close()
    } catch (cause) {
      this.#tell("the cache file could not be closed", cause)
    }
  }

  #open(): CacheFile | undefined {
    const { filename, generation } = this.#options
    try {
      return CacheFile.open(filename, generation)
    } catch (cause) {
      if (isDamage(cause)) return this.#replace(cause)
      this.#tell("the cache file cannot be opened and is done without", cause)
      return undefined
    }
  }

  #replace(damage: unknown): CacheFile | undefined {
    const { filename, generation } = this.#options
    try {
      this.#tell(`the cache file is damaged; it is kept as ${setAside(filename)}`, damage)
      return CacheFile.open(filename, generation)
    } catch (cause) {
      this.#tell("the cache file is damaged and cannot be replaced; it is done without", cause)
      return undefined
    }
  }

  #tell(message: string, cause: unknown): void {
    this.#options.onTrouble({ message, cause })
  }
}
