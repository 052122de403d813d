/**
 * The server that a load goes to. Unless it is said otherwise that is one of this machine: a tester that is pointed at
 * somebody else's server by a slip of the hand is an attack. The address is looked up once, checked, and kept, so that a name
 * cannot mean another machine later.
 */
import { Effect, Runtime, Schema } from "effect"
import { lookup } from "node:dns/promises"
import { BlockList, isIP } from "node:net"
import { USAGE } from "../CommandLine.ts"

const loopback = new BlockList()
loopback.addSubnet("127.0.0.0", 8, "ipv4")
loopback.addAddress("::1", "ipv6")

/** It is not where a load may go. */
export class BadTarget extends Schema.TaggedError<BadTarget>()("BadTarget", {
  url: Schema.String,
  detail: Schema.String,
}) {
  override readonly [Runtime.errorExitCode] = USAGE
  override get message(): string {
    return `${this.url} ${this.detail}`
  }
}

export interface Target {
  /** `http://127.0.0.1:8000`, without a path. */
  readonly origin: string
  /** What the name was looked up to. */
  readonly address: string
  readonly family: 4 | 6
  /** Whether all of it is on this machine. */
  readonly isLoopback: boolean
}

/** Looks up and checks where a load should go. */
export const targetOf = Effect.fnUntraced(function* (
  text: string,
  options: { readonly allowRemote: boolean },
): Effect.fn.Return<Target, BadTarget> {
  const refuse = (detail: string) => new BadTarget({ url: text, detail })
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:"))
    return yield* refuse("is not an http:// or https:// URL")
  if (url.pathname !== "/" || url.search !== "" || url.username !== "")
    return yield* refuse("must be the root of a server; --endpoint takes the path")
  const name = url.hostname.replace(/^\[(.*)\]$/, "$1")
  const addresses = yield* Effect.tryPromise({
    try: () => lookup(name, { all: true }),
    catch: () => refuse("has a name that is not known"),
  })
  const [first] = addresses
  if (first === undefined) return yield* refuse("has a name without an address")
  const isLoopback = addresses.every(({ address, family }) =>
    loopback.check(address, family === 6 ? "ipv6" : "ipv4"),
  )
  if (!isLoopback && !options.allowRemote)
    return yield* refuse("is not on this machine; --allow-remote says that it is yours to load")
  return { origin: url.origin, address: first.address, family: isIP(first.address) === 6 ? 6 : 4, isLoopback }
})
