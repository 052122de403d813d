/**
 * A DNS server on loopback that answers A and AAAA questions from what the test says (RFC 1035): a real one for the real
 * resolver, with a lifetime of zero so that every question comes here.
 */
import { createSocket } from "node:dgram"
import { Effect, type Scope } from "effect"
import { NetAddress } from "effect/net"

const TYPE_A = 1
const TYPE_AAAA = 28
const CLASS_IN = 1
const NO_SUCH_NAME = 3
const HEADER_BYTES = 12

export interface NameServer {
  readonly port: number
  /** Each question, such as `example.com A`. */
  readonly asked: ReadonlyArray<string>
}

/** `addressesOf` is asked at each question; undefined is a name that does not exist. */
export const start = (
  addressesOf: (name: string) => ReadonlyArray<string> | undefined,
): Effect.Effect<NameServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const asked: Array<string> = []
    const socket = createSocket("udp4")
    socket.on("message", (query, from) => {
      const { end, name, type } = questionOf(query)
      asked.push(`${name} ${type === TYPE_A ? "A" : "AAAA"}`)
      socket.send(answer(query, end, type, addressesOf(name)), from.port, from.address)
    })
    const port = yield* Effect.acquireRelease(
      Effect.callback<number>((resume) => {
        socket.bind(0, "127.0.0.1", () => resume(Effect.succeed(socket.address().port)))
      }),
      () => Effect.callback<void>((resume) => void socket.close(() => resume(Effect.void))),
    )
    return { port, asked }
  })

/** The first question: labels with their lengths, then the type and the class. */
const questionOf = (query: Buffer) => {
  const labels: Array<string> = []
  let at = HEADER_BYTES
  while (query[at]! > 0) {
    labels.push(query.toString("latin1", at + 1, at + 1 + query[at]!))
    at += 1 + query[at]!
  }
  return { name: labels.join(".").toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 }
}

const answer = (
  query: Buffer,
  end: number,
  type: number,
  addresses: ReadonlyArray<string> | undefined,
): Buffer => {
  const records = (addresses ?? []).flatMap((text) => {
    const address = NetAddress.ipFromStringUnsafe(text)
    const four = NetAddress.isIpv4Address(address)
    if (four !== (type === TYPE_A) || (!four && type !== TYPE_AAAA)) return []
    const data = four ? NetAddress.ipv4ToOctets(address) : NetAddress.ipv6ToOctets(address)
    // The name is that of the question, by reference; the lifetime is 0.
    return [Buffer.from([0xc0, HEADER_BYTES, 0, type, 0, CLASS_IN, 0, 0, 0, 0, 0, data.length, ...data])]
  })
  const header = Buffer.alloc(HEADER_BYTES)
  query.copy(header, 0, 0, 2)
  header.writeUInt16BE(0x8580 | (addresses === undefined ? NO_SUCH_NAME : 0), 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(records.length, 6)
  return Buffer.concat([header, query.subarray(HEADER_BYTES, end), ...records])
}
