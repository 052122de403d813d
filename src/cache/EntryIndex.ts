/**
 * The entries of a cache by key and by tag, in the order of their last use, within a number of entries and of bytes. The
 * bodies of those that were used last are in memory, within a limit of their own; the others are somewhere else, or were
 * never kept there and then go altogether. Nothing here waits or fails.
 */
import type { Answer } from "./Answer.ts"

/** What an entry counts for beside its text and body: it is kept in four maps. */
const ENTRY_OVERHEAD_BYTES = 400

export interface Entry {
  readonly key: string
  readonly tags: ReadonlyArray<string>
  readonly expiresAt: number
  readonly bytes: number
  /** Absent when only the file has it. */
  answer: Answer | undefined
  /** Whether the file has it. */
  isFiled: boolean
}

export interface IndexLimits {
  readonly entriesMax: number
  readonly bytesMax: number
  /** Of bodies in memory. */
  readonly frontBytesMax: number
}

/** What an entry counts for. */
export const sizeOf = (key: string, tags: ReadonlyArray<string>, { body, head }: Answer): number => {
  let characters = key.length + head.length
  for (const tag of tags) characters += tag.length
  return body.byteLength + 2 * characters + ENTRY_OVERHEAD_BYTES
}

export class EntryIndex {
  readonly #limits: IndexLimits
  /** The one used last comes last, also in the front. */
  readonly #entries = new Map<string, Entry>()
  readonly #front = new Map<string, Entry>()
  readonly #byTag = new Map<string, Set<Entry>>()
  readonly #onRemove: (entry: Entry) => void
  #newest: Entry | undefined
  #bytes = 0
  #frontBytes = 0
  #evictions = 0

  /** `onRemove` is told of every entry that goes, whyever it does. */
  constructor(limits: IndexLimits, onRemove: (entry: Entry) => void) {
    this.#limits = limits
    this.#onRemove = onRemove
  }

  get size(): number {
    return this.#entries.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Of the bodies in memory. */
  get front(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#front.size, bytes: this.#frontBytes }
  }

  /** Entries that had to make room for others. */
  get evictions(): number {
    return this.#evictions
  }

  values(): Iterable<Entry> {
    return this.#entries.values()
  }

  has(entry: Entry): boolean {
    return this.#entries.get(entry.key) === entry
  }

  /** The entry, which is now the one used last. One that has expired goes. */
  get(key: string, now: number): Entry | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.expiresAt <= now) return void this.remove(entry)
    if (entry !== this.#newest) this.#touch(entry)
    return entry
  }

  /** Adds an entry in the place of any that has its key, and makes room for it. */
  add(entry: Entry): void {
    const known = this.#entries.get(entry.key)
    if (known !== undefined) this.remove(known)
    this.#entries.set(entry.key, entry)
    this.#newest = entry
    this.#bytes += entry.bytes
    for (const tag of entry.tags) {
      const tagged = this.#byTag.get(tag)
      if (tagged === undefined) this.#byTag.set(tag, new Set([entry]))
      else tagged.add(entry)
    }
    if (entry.answer !== undefined) this.#intoFront(entry)
    this.#makeRoom()
  }

  /** The body of an entry was fetched. */
  bringToFront(entry: Entry, answer: Answer): void {
    entry.answer = answer
    this.#intoFront(entry)
    this.#makeRoomInFront()
  }

  remove(entry: Entry): void {
    if (!this.has(entry)) return
    this.#entries.delete(entry.key)
    if (this.#newest === entry) this.#newest = undefined
    this.#bytes -= entry.bytes
    for (const tag of entry.tags) {
      const tagged = this.#byTag.get(tag)!
      tagged.delete(entry)
      if (tagged.size === 0) this.#byTag.delete(tag)
    }
    this.#outOfFront(entry)
    this.#onRemove(entry)
  }

  /** Removes what has the tag; answers how many those were. */
  removeTagged(tag: string): number {
    const tagged = this.#byTag.get(tag)
    if (tagged === undefined) return 0
    const { size } = tagged
    for (const entry of tagged) this.remove(entry)
    return size
  }

  removeExpired(now: number): void {
    for (const entry of this.#entries.values()) if (entry.expiresAt <= now) this.remove(entry)
  }

  /** The file has this entry now: its body need not stay in memory. */
  filed(entry: Entry): void {
    entry.isFiled = true
    this.#makeRoomInFront()
  }

  /** The file lost what it had: entries without a body in memory go, the others must be written again. */
  unfile(): void {
    for (const entry of this.#entries.values()) {
      entry.isFiled = false
      if (entry.answer === undefined) this.remove(entry)
    }
  }

  #touch(entry: Entry): void {
    this.#entries.delete(entry.key)
    this.#entries.set(entry.key, entry)
    this.#newest = entry
    if (entry.answer === undefined) return
    this.#front.delete(entry.key)
    this.#front.set(entry.key, entry)
  }

  #intoFront(entry: Entry): void {
    this.#front.set(entry.key, entry)
    this.#frontBytes += entry.bytes
  }

  #outOfFront(entry: Entry): void {
    if (this.#front.delete(entry.key)) this.#frontBytes -= entry.bytes
  }

  #makeRoom(): void {
    for (const oldest of this.#entries.values()) {
      if (this.#entries.size <= this.#limits.entriesMax && this.#bytes <= this.#limits.bytesMax) break
      this.#evictions++
      this.remove(oldest)
    }
    this.#makeRoomInFront()
  }

  /** An entry that is nowhere else is lost with its body. */
  #makeRoomInFront(): void {
    for (const oldest of this.#front.values()) {
      if (this.#frontBytes <= this.#limits.frontBytesMax) return
      if (oldest.isFiled) {
        this.#outOfFront(oldest)
        oldest.answer = undefined
      } else {
        this.#evictions++
        this.remove(oldest)
      }
    }
  }
}
