/**
 * What the server gave out: ids, names, cursors and entity tags, the newest of each kind, to be used in later requests, also for
 * what they were not meant for.
 */
import type { Document, Operation } from "./Document.ts"
import type { Answer, Request } from "./Exchange.ts"
import type { Known } from "./Values.ts"

/** Texts of one kind that are remembered. */
const REMEMBERED_MAX = 60
const RECENT = 5

export class Memory {
  readonly #document: Document
  readonly #kinds = new Map<string, Array<string>>()
  /** The newest entity tag of each path. */
  readonly #tags = new Map<string, string>()
  readonly #forgotten: ReadonlySet<string>

  /** `forgotten` are never used again: without its key a caller could not go on. */
  constructor(document: Document, forgotten: ReadonlySet<string>) {
    this.#document = document
    this.#forgotten = forgotten
  }

  learn(operation: Operation, request: Request, { body, headers, status }: Answer): void {
    if (headers.etag !== undefined) {
      this.#add("etag", headers.etag)
      this.#tags.set(request.path, headers.etag)
    }
    if (status >= 300 || headers["content-type"] !== "application/json") return
    this.#walk(operation.path.split("/")[2] ?? "", JSON.parse(body.toString()))
  }

  tagOf(path: string): string | undefined {
    return this.#tags.get(path)
  }

  find({ otherwise, pick, schema }: Known): unknown {
    // Kinds first, so that a list of many jobs does not drown the one project.
    const fitting = [...this.#kinds.values()]
      .map((texts) => texts.filter((text) => this.#document.accepts(schema, text)))
      .filter((texts) => texts.length > 0)
    const kind = fitting[pick % fitting.length]
    if (kind === undefined) return otherwise
    // Mostly a recent one: there is more left to be done with it.
    const rest = Math.floor(pick / fitting.length)
    const among = rest % 4 === 0 ? kind.length : Math.min(kind.length, RECENT)
    return kind[kind.length - 1 - (Math.floor(rest / 4) % among)]
  }

  #walk(kind: string, value: unknown): void {
    if (typeof value !== "object" || value === null) return
    for (const [name, each] of Object.entries(value)) {
      if (typeof each === "string" && /^(id|name|next_cursor|stream|.*_id)$/.test(name))
        this.#add(`${kind} ${name}`, each)
      else this.#walk(kind, each)
    }
  }

  #add(kind: string, text: string): void {
    if (this.#forgotten.has(text)) return
    const texts = this.#kinds.get(kind) ?? []
    this.#kinds.set(kind, texts)
    if (!texts.includes(text)) texts.push(text)
    if (texts.length > REMEMBERED_MAX) texts.shift()
  }
}
