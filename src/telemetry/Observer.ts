/**
 * Where what has happened is told once: each finished request, each attempt and job that has ended, each commit, each export
 * of spans. Logs, metrics, traces and whoever comes later listen here, so that the rooms that do the work know nothing of them.
 * Without listeners it costs a look at an empty list; nothing is built for nobody.
 *
 * Listeners hear from an immediate, that is in this turn of the event loop or the next, of all that was told until then, and of when:
 * an answer does not wait for its telemetry. One listener hears of everything of a kind before the next does, so order holds
 * within a kind alone.
 */
import { Context, Effect, Layer, type Scope } from "effect"
import type { Tracer } from "effect"

/** A request that has been answered. */
export interface FinishedRequest {
  readonly method: string
  /** The template of the route (`/v1/jobs/:id`), never the path; `undefined` where none was found or looked for. */
  readonly route: string | undefined
  /** 499 when the caller hung up before there was an answer. */
  readonly status: number
  /** Milliseconds from its arrival until the answer was handed to the connection, or began to stream. */
  readonly durationMs: number
  /** Milliseconds that the answer streamed after that; `undefined` for one that was sent at once. */
  readonly streamedMs: number | undefined
  /** Bytes of the body as it was sent; of a stream with the headers and framing around it. */
  readonly bytes: number
  /** Whether the caller had asked to wait (`Prefer: wait`): then slow is what was wanted. */
  readonly waited: boolean
  /** Id of the recognised caller. */
  readonly principal: string | undefined
  readonly requestId: string
  readonly traceId: string
  readonly spanId: string
  /** Where it is traced; whoever made the span ends it. */
  readonly span?: Tracer.Span | undefined
}

/** How an attempt may end, as people are told. */
export const ATTEMPT_OUTCOMES = ["completed", "failed", "stalled", "handed_back", "cancelled"] as const
export type AttemptOutcome = (typeof ATTEMPT_OUTCOMES)[number]

/** How a job may end. */
export const JOB_OUTCOMES = ["completed", "dead_letter", "cancelled"] as const
export type JobOutcome = (typeof JOB_OUTCOMES)[number]

/** The request and trace that a job was submitted in, as far as they are known. */
export interface JobOrigin {
  readonly requestId: string | undefined
  readonly traceId: string | undefined
}

/** An attempt that has ended, once that is durable. */
export interface EndedAttempt extends JobOrigin {
  readonly job: string
  readonly queue: string
  readonly type: string
  readonly attempt: number
  readonly outcome: AttemptOutcome
  /** Name and message of what went wrong. */
  readonly error: { readonly name: string; readonly message: string } | undefined
  readonly waitMs: number
  readonly processingMs: number
  /** How the job has ended with it; `undefined`: it goes on. */
  readonly jobOutcome: JobOutcome | undefined
  /** Of the attempt's own span, where there is one. */
  readonly spanId: string | undefined
}

/** A job that has ended, with an attempt or without, once that is durable. */
export interface EndedJob {
  readonly queue: string
  readonly type: string
  readonly outcome: JobOutcome
  /** Milliseconds since it was enqueued. */
  readonly totalMs: number
  /** Which job it is, where no attempt has ended with it: it was cancelled, or has expired, while it waited. */
  readonly waiting: (JobOrigin & { readonly job: string }) | undefined
}

/** A job that has been taken in. */
export interface EnqueuedJob {
  readonly queue: string
  readonly type: string
}

/** What the database takes longer for is slow. */
export const SLOW_QUERY_MS = 100

/** Something that the database did, or failed to do. Of point reads only the slow ones are told: they are many and quick. */
export interface DatabaseOperation {
  /** `COMMIT`: a transaction of the journal. `READ`: a point read. `SCAN`: a query in a reader process. */
  readonly name: "COMMIT" | "READ" | "SCAN"
  readonly ok: boolean
  /** Why it failed, where nobody else says so. */
  readonly cause: unknown
  /** When it began, in milliseconds since 1970. */
  readonly startedAt: number
  readonly durationMs: number
  /** What was run, where it is one statement: never with its parameters. */
  readonly sql: string | undefined
  /** What a query has answered; `undefined`: nobody counts them. */
  readonly rows: number | undefined
  /** Events that a commit has stored. */
  readonly events: number
  /** W3C `traceparent`s of those that a commit was made for, a bounded number. */
  readonly traces: ReadonlyArray<string>
  /** The span that a read was made in. */
  readonly parent: Tracer.AnySpan | undefined
}

/** Spans that were sent to the collector, or were not. */
export interface ExportedSpans {
  readonly spans: number
  /** False: they are lost, as it did not take them. */
  readonly ok: boolean
  /** They are lost as too many were waiting already. */
  readonly isQueueFull?: true
}

/** What is told, and to whom. */
interface Occasions {
  readonly request: FinishedRequest
  readonly enqueued: EnqueuedJob
  readonly attempt: EndedAttempt
  readonly job: EndedJob
  readonly database: DatabaseOperation
  readonly spans: ExportedSpans
}

/**
 * It must be quick, and must not throw: what follows would be lost.
 *
 * @param toldAt when it happened, by `performance.now()`: a moment ago
 */
export type Listener<What> = (what: What, toldAt: number) => void

/** Something that happens: who hears of it, and what of it they are still to hear. */
class Occasion<What> {
  readonly listeners: Array<Listener<What>> = []
  #told: Array<What> = []
  #times: Array<number> = []

  tell(what: What): void {
    this.#told.push(what)
    this.#times.push(performance.now())
  }

  deliver(): void {
    const told = this.#told
    if (told.length === 0) return
    const times = this.#times
    this.#told = []
    this.#times = []
    for (const listener of this.listeners) for (let i = 0; i < told.length; i++) listener(told[i]!, times[i]!)
  }
}

/** What is kept at most; more is heard of at once. */
const TOLD_MAX = 256

export class Observer {
  readonly #occasions: { readonly [Name in keyof Occasions]: Occasion<Occasions[Name]> } = {
    request: new Occasion(),
    enqueued: new Occasion(),
    attempt: new Occasion(),
    job: new Occasion(),
    database: new Occasion(),
    spans: new Occasion(),
  }
  #told = 0
  #isDue = false

  /** Whether anybody listens: whoever tells asks first, and builds nothing otherwise. */
  hears(name: keyof Occasions): boolean {
    return this.#occasions[name].listeners.length > 0
  }

  tell<Name extends keyof Occasions>(name: Name, what: Occasions[Name]): void {
    const occasion: Occasion<Occasions[Name]> = this.#occasions[name]
    if (occasion.listeners.length === 0) return
    occasion.tell(what)
    if (++this.#told >= TOLD_MAX) this.deliver()
    else if (!this.#isDue) {
      this.#isDue = true
      setImmediate(this.#onImmediate)
    }
  }

  /** Has listeners hear what was told so far: for whoever asks one of them, or looks at what they write. */
  deliver(): void {
    this.#told = 0
    for (const occasion of Object.values(this.#occasions)) occasion.deliver()
  }

  readonly #onImmediate = (): void => {
    this.#isDue = false
    this.deliver()
  }

  /** Listens for as long as the scope is open, to what is told within it. */
  on<Name extends keyof Occasions>(
    name: Name,
    listener: Listener<Occasions[Name]>,
  ): Effect.Effect<void, never, Scope.Scope> {
    const { listeners }: Occasion<Occasions[Name]> = this.#occasions[name]
    return Effect.acquireRelease(
      Effect.sync(() => {
        this.deliver()
        listeners.push(listener)
      }),
      () =>
        Effect.sync(() => {
          this.deliver()
          listeners.splice(listeners.indexOf(listener), 1)
        }),
    )
  }
}

/** The observer of what is being built. Where nobody has provided one, nobody listens. */
export const CurrentObserver: Context.Reference<Observer> = Context.Reference<Observer>(
  "renderowl/telemetry/Observer",
  { defaultValue: () => new Observer() },
)

/** An observer of its own for everything that is built with it. */
export const layer: Layer.Layer<never> = Layer.effect(
  CurrentObserver,
  Effect.sync(() => new Observer()),
)
