/**
 * The credential of a connection, which is mostly the same from its first request to its last. To redact and to hash it anew
 * for each of them takes 2 µs, and more of the garbage collector (measured).
 */
import { Redacted } from "effect"
import type { HttpServerRequest } from "effect/http"
import type { IncomingMessage } from "node:http"
import type { Socket } from "node:net"

const credentials = new WeakMap<Socket, Redacted.Redacted<string>>()

/** The credential that a request brings, as the same value that the last request of its connection had. */
export const knownCredential = (
  { source }: HttpServerRequest.HttpServerRequest,
  credential: string,
): Redacted.Redacted<string> => {
  // One that a request of a batch stands for may have no connection.
  const { socket } = source as { readonly socket: IncomingMessage["socket"] | undefined }
  const known = socket && credentials.get(socket)
  if (known !== undefined && Redacted.value(known) === credential) return known
  const redacted = Redacted.make(credential)
  if (socket !== undefined) credentials.set(socket, redacted)
  return redacted
}
