/**
 * Sends requests over connections that stay open, one request at a time on each, with as little work as can be: the tester
 * shares the machine with what it tests. undici's `dispatch` costs half of `node:http` with an `Agent` (measured: 15 and 29 µs of
 * processor time a request).
 */
import Undici from "@effect/platform-node/Undici"
import { Effect, type Scope } from "effect"
import { Arrivals } from "../../telemetry/Arrivals.ts"
import type { Target } from "./Target.ts"

/** Of an answer that somebody wants to read. */
const BODY_BYTES_MAX = 64 * 1024
/** How often it is looked for requests that take too long. */
const LOOK_MS = 250
const TOO_LATE = "no answer in time"

export interface Request {
  /** What it counts as: `GET /v1/jobs/{id}`. */
  readonly endpoint: string
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE"
  readonly path: string
  /** JSON. */
  readonly body?: string | undefined
  /** Statuses that are as they should be. Default: all of 200 to 299, and 304. */
  readonly statuses?: ReadonlyArray<number> | undefined
  /** Gets the body of an answer that is as it should be. */
  readonly onAnswer?: ((body: string) => void) | undefined
}

type Pool = InstanceType<typeof Undici.Pool>

/** What came of a request: undefined when it was as it should be, or what was wrong, in a few words. */
export type Outcome = string | undefined

/** By `performance.now()`. That the tester was too busy to read an answer is not the server's fault: see `Arrivals`. */
export interface Answer {
  readonly outcome: Outcome
  /** When it was asked for, and when there was a connection to send it on; the same where it was not answered. */
  readonly askedAt: number
  readonly sentAt: number
  readonly answeredAt: number
}

export interface Requester {
  readonly send: (request: Request) => Promise<Answer>
}

/** No connection was made: trying again at once would only burn the processor. */
export const NOT_CONNECTED: ReadonlySet<Outcome> = new Set(["connection refused", "no connection in time"])

/** Opens connections as they are needed, at most so many, for as long as the scope is open. */
export const makeRequester = (options: {
  readonly target: Target
  readonly connections: number
  readonly key?: string | undefined
  /** For an answer to arrive completely, however little of it comes at a time. */
  readonly timeoutMs: number
}): Effect.Effect<Requester, never, Scope.Scope> =>
  Effect.gen(function* () {
    const pool = yield* Effect.acquireRelease(
      Effect.sync(() => poolOf(options)),
      (pool) => Effect.promise(() => pool.destroy()),
    )
    const underWay = yield* Effect.acquireRelease(
      Effect.sync(() => new UnderWay(options.timeoutMs)),
      (underWay) => Effect.sync(() => underWay.close()),
    )
    const arrivals = yield* Arrivals.make
    const headers: Record<string, string> =
      options.key === undefined ? {} : { authorization: `Bearer ${options.key}` }
    return { send: (request) => send({ pool, underWay, arrivals, headers }, request) }
  })

/** Ends requests that take too long. One timer looks after all: a timer each costs more than the request. */
class UnderWay {
  readonly #expiries = new Map<() => void, number>()
  readonly #timeoutMs: number
  readonly #timer: NodeJS.Timeout

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs
    this.#timer = setInterval(() => this.#expire(performance.now()), LOOK_MS)
  }

  add(expire: () => void): void {
    this.#expiries.set(expire, performance.now() + this.#timeoutMs)
  }

  delete(expire: () => void): void {
    this.#expiries.delete(expire)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** In the order in which they were sent, so the first that is not late ends it. */
  #expire(now: number): void {
    for (const [expire, deadline] of this.#expiries) {
      if (deadline > now) return
      this.#expiries.delete(expire)
      expire()
    }
  }
}

const poolOf = ({
  connections,
  target: { address, family, origin },
  timeoutMs,
}: Parameters<typeof makeRequester>[0]): Pool =>
  new Undici.Pool(origin, {
    connections,
    pipelining: 1,
    // One deadline of our own holds for both.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: {
      timeout: timeoutMs,
      // The address that was checked, whatever the name means by now.
      lookup: (_name, { all }, done) =>
        all === true ? done(null, [{ address, family }]) : done(null, address, family),
    },
  })

interface Sending {
  readonly pool: Pool
  readonly underWay: UnderWay
  readonly arrivals: Arrivals
  readonly headers: Record<string, string>
}

const send = ({ arrivals, headers, pool, underWay }: Sending, request: Request): Promise<Answer> =>
  new Promise((resolve) => {
    const askedAt = performance.now()
    let sentAt = askedAt
    let status = 0
    let body = ""
    let isGood = false
    let stop = () => {}
    const decoder = new TextDecoder()
    const end = (answer: Answer) => {
      underWay.delete(expire)
      resolve(answer)
    }
    const fail = (outcome: Outcome) =>
      end({ outcome, askedAt, sentAt: askedAt, answeredAt: performance.now() })
    const expire = () => {
      fail(TOO_LATE)
      stop()
    }
    underWay.add(expire)
    pool.dispatch(
      {
        method: request.method,
        path: request.path,
        headers: request.body === undefined ? headers : { ...headers, "content-type": "application/json" },
        body: request.body ?? null,
      },
      {
        onRequestStart: (controller) => {
          sentAt = performance.now()
          stop = () => controller.abort(new Error(TOO_LATE))
        },
        onResponseStart: (_controller, statusCode) => {
          status = statusCode
          isGood = request.statuses?.includes(status) ?? isFine(status)
        },
        onResponseData: (_controller, chunk) => {
          const isWanted = !isGood || request.onAnswer !== undefined
          if (isWanted && body.length < BODY_BYTES_MAX) body += decoder.decode(chunk, { stream: true })
        },
        onResponseEnd: () => {
          if (isGood) request.onAnswer?.(body)
          const outcome = isGood ? undefined : problemOf(status, body)
          end({ outcome, askedAt, sentAt, answeredAt: arrivals.now(sentAt) })
        },
        onResponseError: (_controller, error) => fail(faultOf(error)),
      },
    )
  })

const isFine = (status: number): boolean => (status >= 200 && status < 300) || status === 304

/** `503 overloaded`: the status, and the name of the problem's type if there is one. */
const problemOf = (status: number, body: string): string => {
  const type = /"type"\s*:\s*"[^"]*\/([\w-]+)"/.exec(body)?.[1]
  return type === undefined ? String(status) : `${status} ${type}`
}

const FAULTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection lost",
  EPIPE: "connection lost",
  UND_ERR_SOCKET: "connection lost",
  UND_ERR_CONNECT_TIMEOUT: "no connection in time",
  UND_ERR_ABORTED: "stopped",
  UND_ERR_DESTROYED: "stopped",
}

const faultOf = (error: Error & { readonly code?: string }): string =>
  FAULTS[error.code ?? ""] ?? error.code ?? error.name
