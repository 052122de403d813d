/**
 * The cache's file as the cache uses it: never a reason to fail, see `ExpendableFile`. Whatever was in a file that gave trouble
 * is given up, so that nothing needs to be remembered about it.
 */
import { ExpendableFile, type Trouble } from "../sqlite/ExpendableFile.ts"
import type { Answer, Mark } from "./Answer.ts"
import { CacheFile, type Changes, type FiledEntry } from "./CacheFile.ts"

export interface FileStoreOptions {
  readonly filename: string
  readonly generation: string
  /** The file gave trouble: what it had is not there any more. */
  readonly onTrouble: (trouble: Trouble) => void
}

export class FileStore {
  readonly #file: ExpendableFile<CacheFile>

  constructor({ filename, generation, onTrouble }: FileStoreOptions) {
    this.#file = new ExpendableFile({
      filename,
      title: "the cache file",
      open: () => CacheFile.open(filename, generation),
      onTrouble,
    })
  }

  /** Whether the file is in use now. */
  get isOpen(): boolean {
    return this.#file.isOpen
  }

  /** What the file had when it was opened. */
  load(): { readonly entries: ReadonlyArray<FiledEntry>; readonly mark: Mark } | undefined {
    return this.#file.use((file) => ({ entries: file.entries(), mark: file.mark }))
  }

  read(key: string): Answer | undefined {
    return this.#file.use((file) => file.read(key))
  }

  /** Whether the changes are in the file. */
  write(changes: Changes): boolean {
    return (
      this.#file.use((file) => {
        file.write(changes)
        return true
      }) ?? false
    )
  }

  /** Begins an empty file, or empties the one that is there. */
  startOver(mark: Mark): boolean {
    this.#file.reopen()
    return (
      this.#file.use((file) => {
        file.clear(mark)
        return true
      }) ?? false
    )
  }

  close(): void {
    this.#file.close()
  }
}
