/**
 * HTTP as bytes on a socket, for what a well-behaved client cannot send: malformed requests, half a request, pipelining,
 * and readers that do not read.
 */
import { Effect } from "effect"
import { connect, type Socket } from "node:net"

/** An open connection that collects what arrives. */
export class Connection {
  readonly socket: Socket
  readonly closed: Promise<void>
  received = ""
  #waiting: Array<{ readonly until: (received: string) => boolean; readonly resolve: () => void }> = []

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1")
    this.socket.on("error", () => {})
    this.socket.on("data", (chunk: Buffer) => {
      this.received += chunk.toString("latin1")
      this.#waiting = this.#waiting.filter(({ resolve, until }) => {
        if (!until(this.received)) return true
        resolve()
        return false
      })
    })
    this.closed = new Promise((resolve) => this.socket.once("close", () => resolve()))
  }

  send(bytes: string | Buffer): void {
    this.socket.write(bytes)
  }

  /** Returns when what has arrived satisfies `until`, or the connection ends. */
  async receive(until: (received: string) => boolean): Promise<string> {
    if (!until(this.received)) {
      await Promise.race([
        new Promise<void>((resolve) => this.#waiting.push({ until, resolve })),
        this.closed,
      ])
    }
    return this.received
  }
}

/** A connection for the length of the scope. */
export const open = (port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => new Connection(port)),
    (connection) => Effect.sync(() => connection.socket.destroy()),
  )

/** True once a whole response with a Content-Length is there. */
export const isComplete = (received: string): boolean => {
  const end = received.indexOf("\r\n\r\n")
  const length = /\r\ncontent-length: (\d+)/i.exec(received)
  return end !== -1 && length !== null && received.length >= end + 4 + Number(length[1])
}

/** Sends bytes and returns the first response: status, headers in lower case, body. */
export const exchange = Effect.fnUntraced(function* (port: number, bytes: string | Buffer) {
  const connection = yield* open(port)
  connection.send(bytes)
  const received = yield* Effect.promise(() => connection.receive(isComplete))
  return { ...parse(received), connection }
})

export const parse = (received: string) => {
  const end = received.indexOf("\r\n\r\n")
  const [line = "", ...rest] = received.slice(0, end).split("\r\n")
  const headers = new Map(
    rest.map((each) => [
      each.slice(0, each.indexOf(":")).toLowerCase(),
      each.slice(each.indexOf(":") + 1).trim(),
    ]),
  )
  const body = received.slice(end + 4)
  const json = (headers.get("content-type") ?? "").includes("json")
    ? (JSON.parse(body) as Record<string, unknown>)
    : {}
  return { status: Number(line.split(" ")[1]), headers, body, json }
}
