/**
 * An answer as bytes, to be given again later: its status, the headers that its handler gave it, and its body. What the edge
 * adds to every answer, it adds again.
 */
import { HttpServerResponse } from "effect/http"

type Response = HttpServerResponse.HttpServerResponse

/** Bytes of a body up to which an answer is kept. A larger one is made again: see `Recall.ts`. */
export const KEPT_BODY_BYTES_MAX = 65_536

/** Bytes before the head: its length. */
const LENGTH_BYTES = 4

interface Head {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Absent: there is no body. */
  readonly type?: string
}

/** The answer as bytes; null when it is too large, or is no more than a stream. */
export const encodeAnswer = ({ body, headers, status }: Response): Uint8Array | null => {
  if (body._tag === "Empty") return join({ status, headers }, new Uint8Array())
  if (body._tag !== "Uint8Array" || body.contentLength > KEPT_BODY_BYTES_MAX) return null
  return join({ status, headers, type: body.contentType }, body.body)
}

const join = (head: Head, body: Uint8Array): Uint8Array => {
  const text = Buffer.from(JSON.stringify(head))
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeUInt32BE(text.length)
  return Buffer.concat([length, text, body])
}

/** The answer that the bytes are. */
export const decodeAnswer = (bytes: Buffer): Response => {
  const start = LENGTH_BYTES + bytes.readUInt32BE()
  const { headers, status, type } = JSON.parse(bytes.toString("utf8", LENGTH_BYTES, start)) as Head
  if (type === undefined) return HttpServerResponse.empty({ status, headers })
  return HttpServerResponse.uint8Array(bytes.subarray(start), { status, headers, contentType: type })
}
