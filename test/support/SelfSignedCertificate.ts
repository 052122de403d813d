/**
 * A certificate for a name or an address, signed by itself and good for some days: for servers with TLS on loopback. Made
 * anew for each run, so that no private key lies around; X.509 in DER (RFC 5280) is written out because Node only reads it.
 */
import { generateKeyPairSync, randomBytes, sign } from "node:crypto"
import { isIP } from "node:net"

export interface Certificate {
  readonly key: string
  readonly cert: string
}

const der = (tag: number, ...contents: ReadonlyArray<Uint8Array>): Buffer => {
  const body = Buffer.concat(contents)
  const length =
    body.length < 0x80
      ? [body.length]
      : body.length < 0x100
        ? [0x81, body.length]
        : [0x82, body.length >> 8, body.length & 0xff]
  return Buffer.concat([Buffer.of(tag, ...length), body])
}
const sequence = (...contents: ReadonlyArray<Uint8Array>) => der(0x30, ...contents)
const oid = (hex: string) => der(0x06, Buffer.from(hex, "hex"))
const utf8 = (text: string) => der(0x0c, Buffer.from(text))
const time = (date: Date) =>
  der(0x17, Buffer.from(`${date.toISOString().replace(/[-:T]/g, "").slice(2, 14)}Z`))

const ED25519 = sequence(oid("2b6570"))
const COMMON_NAME = oid("550403")
const SUBJECT_ALT_NAME = oid("551d11")
const BASIC_CONSTRAINTS = oid("551d13")
const DAY_MS = 24 * 60 * 60 * 1000

export const make = (host: string, options: { readonly expired?: boolean } = {}): Certificate => {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519")
  const end = Date.now() + (options.expired === true ? -DAY_MS : DAY_MS)
  const name = sequence(der(0x31, sequence(COMMON_NAME, utf8("RenderOwl test"))))
  const subject =
    isIP(host) === 4 ? der(0x87, Buffer.from(host.split(".").map(Number))) : der(0x82, Buffer.from(host))
  const body = sequence(
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])),
    ED25519,
    name,
    sequence(time(new Date(end - 2 * DAY_MS)), time(new Date(end))),
    name,
    publicKey.export({ format: "der", type: "spki" }),
    der(
      0xa3,
      sequence(
        sequence(SUBJECT_ALT_NAME, der(0x04, sequence(subject))),
        sequence(
          BASIC_CONSTRAINTS,
          der(0x01, Buffer.of(0xff)),
          der(0x04, sequence(der(0x01, Buffer.of(0xff)))),
        ),
      ),
    ),
  )
  const certificate = sequence(body, ED25519, der(0x03, Buffer.of(0), sign(null, body, privateKey)))
  return {
    key: privateKey.export({ format: "pem", type: "pkcs8" }) as string,
    cert: `-----BEGIN CERTIFICATE-----\n${certificate
      .toString("base64")
      .match(/.{1,64}/g)!
      .join("\n")}\n-----END CERTIFICATE-----\n`,
  }
}
