/**
 * Requests that `fetch` would not send: paths that stay as they are written, any method and header, bodies where there should be
 * none. A live stream is hung up on after its first bytes.
 */
import { brotliDecompressSync, gunzipSync } from "node:zlib"
import { signature } from "../support/Signed.ts"
import { Agent, type IncomingHttpHeaders, request as open } from "node:http"

export interface Request {
  readonly method: string
  /** Path and query, as they are sent. */
  readonly path: string
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string>>>
  readonly body?: Uint8Array | undefined
  /** Whether it is signed as it is sent. */
  readonly signed?: boolean
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

const CONNECTIONS = 16
/** Milliseconds: longer than `Prefer: wait` may take. */
const SILENCE_MS = 30_000

export class Exchanges {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  readonly #url: URL
  /** What a connection was used for last: when it breaks, that may be why. */
  readonly #carried = new WeakMap<object, string>()

  constructor(url: string) {
    this.#url = new URL(url)
  }

  send({ body, headers, method, path, signed }: Request): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const request = open(
        {
          host: this.#url.hostname,
          port: this.#url.port,
          agent: this.#agent,
          method,
          path,
          headers: {
            ...headers,
            ...(signed === true ? signature(body ?? "") : {}),
            ...(body === undefined ? {} : lengthOf(headers, body)),
          } as Record<string, string>,
          timeout: SILENCE_MS,
        },
        (response) => {
          const chunks: Array<Buffer> = []
          this.#carried.set(response.socket, `${method} ${path} answered ${response.statusCode}`)
          const isLive = response.headers["content-type"] === "text/event-stream"
          const done = () => {
            const { headers, statusCode } = response
            resolve({ status: statusCode!, headers, body: decoded(headers, Buffer.concat(chunks)) })
          }
          response.on("data", (chunk: Buffer) => {
            chunks.push(chunk)
            if (!isLive) return
            done()
            request.destroy()
          })
          response.on("end", done)
          // What was refused before it was read ends with the connection.
          response.on("error", () =>
            response.complete ? done() : reject(new Error("the answer breaks off")),
          )
        },
      )
      request.on("timeout", () => request.destroy(new Error(`nothing came for ${SILENCE_MS} ms`)))
      request.on("error", (error) => {
        const before = request.socket === null ? undefined : this.#carried.get(request.socket)
        reject(before === undefined ? error : new Error(`${error.message}, after ${before}`))
      })
      request.end(body)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

const lengthOf = (headers: Request["headers"], body: Uint8Array) =>
  "content-length" in headers || "transfer-encoding" in headers
    ? {}
    : { "content-length": String(body.length) }

const decoded = (headers: IncomingHttpHeaders, body: Buffer): Buffer => {
  if (body.length === 0) return body
  switch (headers["content-encoding"]) {
    case "gzip":
      return gunzipSync(body)
    case "br":
      return brotliDecompressSync(body)
    default:
      return body
  }
}
