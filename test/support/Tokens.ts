/**
 * JSON Web Tokens as an issuer makes them, or a forger: header and claims are taken as they come, also as text that no
 * library would write. Keys are made when they are needed.
 */
import {
  createHmac,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  randomBytes,
  sign as signWith,
} from "node:crypto"

/** Signs `header.claims`. */
export type Signer = (content: string) => Buffer

const encode = (part: object | string): string =>
  Buffer.from(typeof part === "string" ? part : JSON.stringify(part)).toString("base64url")

/** A token; a header or claims given as text are not touched. */
export const token = (header: object | string, claims: object | string, sign: Signer): string => {
  const content = `${encode(header)}.${encode(claims)}`
  return `${content}.${sign(content).toString("base64url")}`
}

export const secret = (bytes = 32): string => randomBytes(bytes).toString("hex").slice(0, bytes)

export const hs256 =
  (key: string | Buffer): Signer =>
  (content) =>
    createHmac("sha256", key).update(content).digest()

export const unsigned: Signer = () => Buffer.alloc(0)

/** A pair of keys of an issuer. */
export interface IssuerKey {
  readonly alg: string
  readonly kid: string
  readonly publicKey: KeyObject
  /** As it stands in a JWKS. */
  readonly jwk: JsonWebKey
  readonly sign: Signer
}

const issuerKey = (
  alg: string,
  kid: string,
  { privateKey, publicKey }: { readonly privateKey: KeyObject; readonly publicKey: KeyObject },
): IssuerKey => ({
  alg,
  kid,
  publicKey,
  jwk: { ...publicKey.export({ format: "jwk" }), kid, alg, use: "sig" },
  sign: (content) =>
    signWith(alg === "EdDSA" ? null : "sha256", Buffer.from(content), {
      key: privateKey,
      dsaEncoding: "ieee-p1363",
    }),
})

export const rs256 = (kid: string, modulusLength = 2_048): IssuerKey =>
  issuerKey("RS256", kid, generateKeyPairSync("rsa", { modulusLength }))
export const es256 = (kid: string): IssuerKey =>
  issuerKey("ES256", kid, generateKeyPairSync("ec", { namedCurve: "P-256" }))
export const edDsa = (kid: string): IssuerKey => issuerKey("EdDSA", kid, generateKeyPairSync("ed25519"))
