/**
 * Credentials that were refused lately, by their hash. To send one of them again is no guess: a program with a key that has ended
 * does so all day, and must not use up what its address has for guesses, or nobody else there could sign in.
 */
import { hash } from "node:crypto"
import { Redacted } from "effect"

/** Hashes remembered; the oldest make room. */
const CREDENTIALS_MAX = 10_000

export class RefusedCredentials {
  readonly #hashes = new Set<string>()

  has(credential: Redacted.Redacted<string>): boolean {
    return this.#hashes.size > 0 && this.#hashes.has(hashOf(credential))
  }

  add(credential: Redacted.Redacted<string>): void {
    if (this.#hashes.size >= CREDENTIALS_MAX) {
      for (const oldest of this.#hashes) {
        this.#hashes.delete(oldest)
        break
      }
    }
    this.#hashes.add(hashOf(credential))
  }
}

const hashOf = (credential: Redacted.Redacted<string>): string =>
  hash("sha256", Redacted.value(credential), "base64")
