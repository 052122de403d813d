/** Requests signed as an internal caller signs them, with `node:crypto` alone. */
import { createHmac } from "node:crypto"
import type { Effect } from "effect"
import type { Answer, Client } from "./Client.ts"

export const SECRET = `whsec_${Buffer.alloc(32, 5).toString("base64")}`
export const OTHER_SECRET = `whsec_${Buffer.alloc(32, 6).toString("base64")}`

let sent = 0

export interface SignedOptions {
  readonly id?: string
  readonly secret?: string
  /** Seconds since 1970. */
  readonly timestamp?: number
  /** What is signed in place of the body. */
  readonly signed?: string | Uint8Array
}

/** The three headers for a body. */
export const signature = (body: string | Uint8Array, options: SignedOptions = {}): Record<string, string> => {
  const { id = `msg_${process.pid}_${++sent}`, secret = SECRET, signed = body } = options
  const { timestamp = Math.floor(Date.now() / 1_000) } = options
  const key = Buffer.from(secret.slice("whsec_".length), "base64")
  const tag = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(signed).digest("base64")
  return {
    "webhook-id": id,
    "webhook-timestamp": String(timestamp),
    "webhook-signature": `v1,${tag}`,
  }
}

/** Sends a signed request. */
export const send = (
  client: Client,
  method: string,
  path: string,
  body?: unknown,
  options?: SignedOptions,
): Effect.Effect<Answer> => {
  const text = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body)
  const headers = signature(text, options)
  return client.request(method, path, body === undefined ? { headers } : { headers, body: text })
}
