/**
 * A load of identical requests over a number of kept-open connections, one request at a time on each. It speaks just
 * enough HTTP/1.1 to know where an answer ends, because a full client would cost more than the server it measures. It does
 * not sleep while it waits: to wake it would cost the server 15 µs an answer (measured, in a virtual machine), but only one
 * that is slow enough for it to fall asleep. So it needs a processor for itself.
 */
import { Effect, type Scope } from "effect"
import { connect, type Socket } from "node:net"

const HEADERS_END = "\r\n\r\n"

/** What is sent, over and over. */
export interface Request {
  readonly method: "GET" | "POST"
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** The status that every answer must have. */
  readonly status: number
}

const bytesOf = ({ body = "", headers, method, path }: Request): Buffer => {
  const lines = { Host: "127.0.0.1", "Content-Length": String(Buffer.byteLength(body)), ...headers }
  const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}`)
  return Buffer.from(`${method} ${path} HTTP/1.1\r\n${head.join("\r\n")}${HEADERS_END}${body}`)
}

/** One connection. `roundTrip` resolves when the whole answer is there. */
class Connection {
  readonly #socket: Socket
  #received = ""
  #answered: ((received: string) => void) | undefined
  #failed: ((error: Error) => void) | undefined

  constructor(port: number) {
    this.#socket = connect({ host: "127.0.0.1", port, noDelay: true })
    this.#socket.setEncoding("latin1")
    this.#socket.on("data", (chunk: string) => {
      this.#received += chunk
      const end = this.#received.indexOf(HEADERS_END)
      if (end === -1) return
      const length = Number(/content-length: (\d+)/i.exec(this.#received)?.[1] ?? 0)
      if (this.#received.length < end + HEADERS_END.length + length) return
      const received = this.#received
      this.#received = ""
      this.#answered?.(received)
    })
    this.#socket.on("error", (error) => this.#failed?.(error))
    // A server may end a connection that nobody has used for a while.
    this.#socket.on("close", () => this.#failed?.(new Error("the server has closed the connection")))
  }

  roundTrip(request: Buffer): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) return reject(new Error("the connection is closed"))
      this.#answered = resolve
      this.#failed = reject
      this.#socket.write(request)
    })
  }

  close(): void {
    this.#socket.destroy()
  }
}

/** The connections to a server on loopback, for as long as the scope is open; answers how to send `count` requests. */
export const open = (
  port: number,
  connections: number,
): Effect.Effect<(request: Request, count: number) => Effect.Effect<void>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => Array.from({ length: connections }, () => new Connection(port))),
      (all) => Effect.sync(() => all.forEach((connection) => connection.close())),
    ),
    (all) => (request, count) =>
      Effect.promise(async () => {
        const bytes = bytesOf(request)
        const expected = `HTTP/1.1 ${request.status} `
        let left = count
        let isWaiting = true
        const stayAwake = () => void (isWaiting && setImmediate(stayAwake))
        stayAwake()
        try {
          await Promise.all(
            all.map(async (connection) => {
              while (left-- > 0) {
                const answer = await connection.roundTrip(bytes)
                if (!answer.startsWith(expected))
                  throw new Error(`not ${request.status}: ${answer.slice(0, 400)}`)
              }
            }),
          )
        } finally {
          isWaiting = false
        }
      }),
  )
