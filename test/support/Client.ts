/**
 * HTTP as a program outside sees it: plain `fetch`, JSON that is taken as it comes, and live streams event by event.
 */
import { Effect } from "effect"

/** A whole answer. */
export class Answer {
  readonly status: number
  readonly headers: Headers
  readonly bytes: Uint8Array

  constructor(response: Response, bytes: Uint8Array) {
    this.status = response.status
    this.headers = response.headers
    this.bytes = bytes
  }

  get text(): string {
    return Buffer.from(this.bytes).toString()
  }

  /** The body, taken for what the caller says it is. */
  json<Body = Record<string, unknown>>(): Body {
    return JSON.parse(this.text) as Body
  }

  /** The name of the problem's type. */
  get problem(): string | undefined {
    if (this.headers.get("content-type") !== "application/problem+json") return undefined
    return String(this.json()["type"]).split("/").at(-1)
  }

  /** `field` and `code` of each field error of a problem. */
  get fieldErrors(): ReadonlyArray<string> {
    const { errors = [] } = this.json<{ errors?: ReadonlyArray<{ field: string; code: string }> }>()
    return errors.map(({ code, field }) => `${field} ${code}`)
  }
}

/** An event of a live stream. Comments and the retry time are left out. */
export interface StreamEvent {
  readonly id: number | undefined
  readonly event: string
  readonly data: Record<string, unknown>
}

/** What came of a live stream: its events, everything as it was sent, and whether the server ended it. */
export interface Followed {
  readonly events: ReadonlyArray<StreamEvent>
  readonly raw: string
  readonly ended: boolean
}

export interface RequestOptions {
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON, unless it is a string or bytes already. */
  readonly body?: unknown
}

export class Client {
  readonly url: string
  readonly key: string | undefined

  constructor(url: string, key: string | undefined) {
    this.url = url
    this.key = key
  }

  request(method: string, path: string, { body, headers }: RequestOptions = {}): Effect.Effect<Answer> {
    return Effect.promise(async (signal) => {
      const response = await fetch(this.url + path, {
        method,
        signal,
        headers: {
          ...this.#credentials,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        ...(body === undefined
          ? {}
          : { body: typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body) }),
      } as RequestInit)
      return new Answer(response, new Uint8Array(await response.arrayBuffer()))
    })
  }

  get(path: string, headers: Readonly<Record<string, string>> = {}) {
    return this.request("GET", path, { headers })
  }

  post(path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}) {
    return this.request("POST", path, { body, headers })
  }

  /**
   * Follows a live stream to its end, or until an event satisfies `until`; then it hangs up. A connection that breaks
   * is an end that the server did not make.
   */
  follow(
    path: string,
    options: { readonly lastEventId?: number; readonly until?: (event: StreamEvent) => boolean } = {},
  ): Effect.Effect<Followed> {
    const { lastEventId, until = () => false } = options
    return Effect.promise(async (signal) => {
      const hangUp = new AbortController()
      const response = await fetch(this.url + path, {
        signal: AbortSignal.any([signal, hangUp.signal]),
        headers: {
          ...this.#credentials,
          accept: "text/event-stream",
          ...(lastEventId === undefined ? {} : { "last-event-id": String(lastEventId) }),
        },
      })
      const type = response.headers.get("content-type")
      if (type !== "text/event-stream") throw new Error(`${path} answered ${response.status} ${type}`)
      const events: Array<StreamEvent> = []
      let raw = ""
      let parsed = 0
      try {
        for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
          const fresh = Math.max(parsed, raw.length - 1)
          raw += text
          for (let end = raw.indexOf("\n\n", fresh); end !== -1; end = raw.indexOf("\n\n", parsed)) {
            const event = parseEvent(raw.slice(parsed, end))
            parsed = end + 2
            if (event === undefined) continue
            events.push(event)
            if (!until(event)) continue
            hangUp.abort()
            return { events, raw, ended: false }
          }
        }
      } catch {
        return { events, raw, ended: false }
      }
      return { events, raw, ended: true }
    })
  }

  get #credentials(): Record<string, string> {
    return this.key === undefined ? {} : { authorization: `Bearer ${this.key}` }
  }
}

const parseEvent = (block: string): StreamEvent | undefined => {
  const fields = new Map(
    block
      .split("\n")
      .filter((line) => !line.startsWith(":"))
      .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trimStart()]),
  )
  const data = fields.get("data")
  if (data === undefined) return undefined
  const id = fields.get("id")
  return {
    id: id === undefined ? undefined : Number(id),
    event: fields.get("event") ?? "message",
    data: JSON.parse(data) as Record<string, unknown>,
  }
}
