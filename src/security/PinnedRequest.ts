/**
 * One HTTP/1.1 request over a connection of its own to an address that was decided before: nothing in here resolves a name.
 * The name of the URL goes into `Host` and into TLS (SNI and the check of the certificate), the address alone decides where
 * to. No agent, no proxy of the environment, no connection that is used again, no redirects, no decompression.
 */
import * as Http from "node:http"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { Effect, type Scope } from "effect"
import { NetAddress } from "effect/net"
import type { Message } from "./OutboundMessage.ts"
import { AnswerBroken, AnswerTooLarge, NotConnected, RequestRefused } from "./OutboundError.ts"

export interface Destination {
  readonly url: URL
  readonly address: NetAddress.IpAddress
  readonly port: number
  /** The name that the certificate has to be for; undefined where the URL has an address. */
  readonly name: string | undefined
  /** Certificate authorities in PEM, in place of those that Node comes with. */
  readonly authorities: ReadonlyArray<string> | undefined
}

/** A connection, with TLS on it where the URL says https; closed with the scope, made or not. */
export const connect = (destination: Destination): Effect.Effect<Net.Socket, NotConnected, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => open(destination)),
    (socket) => Effect.sync(() => void socket.destroy()),
  ).pipe(Effect.flatMap(ready))

const open = ({ address, authorities, name, port, url }: Destination): Net.Socket => {
  const host = NetAddress.formatIp(address)
  const socket =
    url.protocol === "https:"
      ? Tls.connect({
          host,
          port,
          servername: name ?? "",
          ALPNProtocols: ["http/1.1"],
          // Said aloud, so that no variable of the environment can turn it off.
          rejectUnauthorized: true,
          ...(authorities === undefined ? {} : { ca: [...authorities] }),
        })
      : Net.connect({ host, port })
  // An error while nobody listens, as between connection and request, shows when the request is written.
  return socket.on("error", () => {}).setNoDelay(true)
}

const ready = (socket: Net.Socket): Effect.Effect<Net.Socket, NotConnected> =>
  Effect.callback((resume) => {
    const secure = socket instanceof Tls.TLSSocket
    let connected = false
    const fail = (error: Error) =>
      resume(Effect.fail(new NotConnected({ code: codeOf(error), tls: secure && connected })))
    socket.once("connect", () => void (connected = true))
    socket.once("error", fail)
    socket.once("close", () => fail(new Error("closed")))
    socket.once(secure ? "secureConnect" : "connect", () => resume(Effect.succeed(socket)))
  })

/** Sends the message and returns when the headers of the answer are there; its body comes at the reader's pace. */
export const send = (
  socket: Net.Socket,
  { url }: Destination,
  { body, headers, method }: Message,
  headerBytesMax: number,
): Effect.Effect<Http.IncomingMessage, AnswerBroken | AnswerTooLarge | RequestRefused> =>
  Effect.suspend(() => {
    let request: Http.ClientRequest
    try {
      request = Http.request({
        createConnection: () => socket,
        method,
        path: url.pathname + url.search,
        setHost: false,
        headers: {
          ...headers,
          host: url.host,
          connection: "close",
          ...(body === undefined ? {} : { "content-length": String(body.byteLength) }),
        },
        maxHeaderSize: headerBytesMax,
        insecureHTTPParser: false,
      })
    } catch (error) {
      // A method or a header that cannot be written.
      return Effect.fail(new RequestRefused({ detail: (error as Error).message }))
    }
    return Effect.callback((resume) => {
      request.once("response", (response) => {
        // A body that nobody reads must not bring the process down when it breaks off; a reader learns of it all the same.
        response.on("error", () => {})
        resume(Effect.succeed(response))
      })
      request.once("upgrade", () => {
        socket.destroy()
        resume(Effect.fail(new AnswerBroken({ code: "UPGRADED" })))
      })
      request.on("error", (error) => {
        const code = codeOf(error)
        resume(
          Effect.fail(
            code === "HPE_HEADER_OVERFLOW"
              ? new AnswerTooLarge({ part: "headers", bytes_max: headerBytesMax })
              : new AnswerBroken({ code }),
          ),
        )
      })
      request.end(body)
      return Effect.sync(() => void request.destroy())
    })
  })

/** What Node calls the failure: `ECONNREFUSED`, `CERT_HAS_EXPIRED`, `HPE_INVALID_CONSTANT`. */
export const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : String((error as Error)?.message ?? error)
