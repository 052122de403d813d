/**
 * The form of an API key: `ro_live_`, 30 base62 characters of randomness (178 bits), and 6 of checksum. The checksum lets
 * a mistyped key be refused without a lookup and lets secret scanners be sure of a find; it protects nothing. Only the
 * prefix and the SHA-256 of a key are ever stored: with this much randomness a slow hash would add no safety.
 *
 * @source https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
 */
import { hash as sha256, timingSafeEqual } from "node:crypto"
import { crc32 } from "node:zlib"
import { Redacted } from "effect"

const MARK = "ro_live_"
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
const SECRET_CHARACTERS = 30
/** 62^6 is more than 2^32, so 6 characters hold any CRC32. */
const CHECKSUM_CHARACTERS = 6
/** Characters of a key that may be shown and stored: the mark and 6 of 30. */
const PREFIX_CHARACTERS = MARK.length + 6
/** 256 bits reduced to 178: the bias of the reduction is below 2^-77. */
export const RANDOM_BYTES = 32

const pattern = new RegExp(`^${MARK}[0-9A-Za-z]{${SECRET_CHARACTERS + CHECKSUM_CHARACTERS}}$`)

/** The key that `random` makes; the caller draws {@link RANDOM_BYTES} bytes from the system. */
export const generate = (random: Uint8Array): Redacted.Redacted<string> => {
  if (random.length < RANDOM_BYTES) throw new RangeError(`an API key needs ${RANDOM_BYTES} random bytes`)
  const secret = base62(BigInt(`0x${Buffer.from(random).toString("hex")}`), SECRET_CHARACTERS)
  return Redacted.make(`${MARK}${secret}${checksum(MARK + secret)}`)
}

/** True for text that is a whole, correctly copied key; says nothing about whether it was ever issued. */
export const isWellFormed = (text: string): boolean => {
  if (!pattern.test(text)) return false
  const body = text.slice(0, -CHECKSUM_CHARACTERS)
  return checksum(body) === text.slice(-CHECKSUM_CHARACTERS)
}

/** The part of a key by which people recognise it. */
export const prefixOf = (key: Redacted.Redacted<string>): string =>
  Redacted.value(key).slice(0, PREFIX_CHARACTERS)

/** What is stored and looked up: SHA-256 of the whole key, 64 hexadecimal characters. */
export const hash = (key: Redacted.Redacted<string>): string => {
  let known = hashes.get(key)
  if (known === undefined) {
    known = sha256("sha256", Redacted.value(key), "hex")
    hashes.set(key, known)
  }
  return known
}

/** A connection may show the same key with each of its requests; hashing it takes about a microsecond (measured). */
const hashes = new WeakMap<Redacted.Redacted<string>, string>()

/** Compares two hashes in a time that does not depend on where they differ. */
export const equalHashes = (left: string, right: string): boolean => {
  const a = Buffer.from(left, "hex")
  const b = Buffer.from(right, "hex")
  return a.length === b.length && a.length > 0 && timingSafeEqual(a, b)
}

const checksum = (body: string): string => base62(BigInt(crc32(body)), CHECKSUM_CHARACTERS)

/** The lowest `length` base62 digits of `value`, most significant first. */
const base62 = (value: bigint, length: number): string => {
  let rest = value
  let text = ""
  for (let i = 0; i < length; i++) {
    text = ALPHABET[Number(rest % 62n)]! + text
    rest /= 62n
  }
  return text
}
