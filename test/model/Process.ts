/**
 * One life of a process that runs the queues: its handlers do what their jobs' scripts say. Killed, it stops in the middle of
 * whatever it is doing: the journal may still have taken its last append, but nothing comes back to it, and nothing of it
 * reaches the journal any more.
 */
import { Context, Deferred, Effect, Exit, Latch, Layer, Schema, Scope } from "effect"
import * as Job from "../../src/jobs/Job.ts"
import type { JobContext } from "../../src/jobs/JobContext.ts"
import { JobStore } from "../../src/jobs/JobStore.ts"
import { Queue } from "../../src/jobs/Queue.ts"
import { Journal, type RecordedEvent } from "../../src/journal/Journal.ts"
import { ROOM } from "./Reference.ts"
import type { World } from "./World.ts"
import { OUTCOMES, type Outcome, type Script } from "./Workload.ts"

/** An attempt's time limit. */
export const TIME_LIMIT_MS = 100_000
/** What a handler that says so asks to wait before its next attempt. */
export const RETRY_AFTER_MS = 7_000

const Payload = Schema.Struct({
  acts: Schema.Array(Schema.Union([Schema.Literals(["step", "progress", "log"]), Schema.Int])),
  outcomes: Schema.Array(Schema.Literals(OUTCOMES)),
  unwinding: Schema.Int,
})

const typed = (type: string) =>
  Job.make(type, {
    payload: Payload,
    success: Schema.Unknown as Schema.Codec<unknown>,
    error: Schema.Unknown as Schema.Codec<unknown>,
    retry: { maxAttempts: 3, base: "1 second", max: "1 minute", jitter: true },
    timeout: TIME_LIMIT_MS,
  })

const TYPES = [typed("quick"), typed("slow")]

/** An error that cannot even be described: whoever tries to tell it to the queue fails. */
const unspeakable = Object.defineProperty({}, "message", {
  get: () => {
    throw new Error("unspeakable")
  },
})

const END: Readonly<Record<Outcome, Effect.Effect<unknown, unknown>>> = {
  complete: Effect.succeed("done"),
  fail: Effect.fail({ _tag: "Broken" }),
  fatal: Effect.fail({ _tag: "Fatal", retryable: false }),
  later: Effect.fail({ _tag: "Later", retryAfter: RETRY_AFTER_MS }),
  die: Effect.die("a defect of the handler"),
  interrupt: Effect.interrupt,
  hang: Effect.never,
  vanish: Effect.fail(unspeakable),
}

export class Process {
  readonly name: string
  /** Attempts that run here, by job. */
  readonly running = new Map<string, number>()
  readonly #world: World
  readonly #scope = Scope.makeUnsafe()
  #isDead = false
  readonly #queue = Deferred.makeUnsafe<Queue["Service"]>()
  readonly #death = Latch.makeUnsafe(false)

  constructor(world: World, name: string) {
    this.name = name
    this.#world = world
  }

  /** Answers once the process has begun. */
  get queue(): Effect.Effect<Queue["Service"]> {
    return Deferred.await(this.#queue)
  }

  /** Ends when the process has been killed. */
  get death(): Effect.Effect<void> {
    return this.#death.await
  }

  readonly begin = Effect.suspend(() => {
    const { store } = this.#world
    const services = Context.make(Journal, this.#mortal(Context.get(store, Journal))).pipe(
      Context.add(JobStore, this.#mortal(Context.get(store, JobStore))),
    )
    const handlers = TYPES.map((job) =>
      job.toLayer((payload, context) => this.#handle(payload, context), { concurrency: ROOM[job.type]! }),
    )
    const layer = Layer.mergeAll(...(handlers as [Layer.Layer<never, never, Queue>])).pipe(
      Layer.provideMerge(Queue.layer({ worker: this.name, grace: 0 })),
      Layer.fresh,
    )
    return Effect.provideContext(Layer.buildWithScope(layer, this.#scope), services).pipe(
      Effect.orDie,
      Effect.flatMap((context) => Deferred.succeed(this.#queue, Context.get(context, Queue))),
    )
  })

  /** What only this process knows to be wrong with an event. */
  fault({ event, stream }: RecordedEvent): string | undefined {
    if (event._tag !== "JobStalled") return undefined
    const { attempt, reason } = event as unknown as { readonly attempt: number; readonly reason: string }
    const name = `${stream} ${attempt}`
    const { worker } = this.#world.reference.jobs.get(stream)!
    // One whose handler has just gone never begins; it may be found so before it is handed back.
    const isLive = this.#world.begun.has(name) && !this.#world.vanished.has(name)
    if (reason === "lease_expired" && isLive) return "the attempt was alive"
    if (reason === "process_lost" && worker === this.name) return "the process is alive"
    return undefined
  }

  kill(): void {
    this.#isDead = true
    this.running.clear()
    this.#world.reference.unwinding.clear()
    this.#death.openUnsafe()
  }

  readonly stop = Effect.suspend(() => Scope.close(this.#scope, Exit.void)).pipe(
    Effect.andThen(
      Effect.sync(() => {
        if (this.running.size > 0) this.#world.break("attempts outlive their process")
        this.#isDead = true
        this.#death.openUnsafe()
      }),
    ),
  )

  /** An effect for as long as the process lives: then it never ends. */
  readonly #alive = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      if (this.#isDead) return Effect.never
      return Effect.flatMap(Effect.exit(effect), (exit) => (this.#isDead ? Effect.never : exit))
    })

  /** A service whose effects end with the process. */
  #mortal<Service extends object>(service: Service): Service {
    const alive = this.#alive
    const guard = (value: unknown): unknown => {
      if (Effect.isEffect(value)) return alive(value)
      return typeof value === "function" ? (...all: ReadonlyArray<unknown>) => guard(value(...all)) : value
    }
    return new Proxy(service, { get: (target, name) => guard(Reflect.get(target, name)) })
  }

  #handle(
    { acts, outcomes, unwinding }: typeof Payload.Type,
    job: JobContext,
  ): Effect.Effect<unknown, unknown> {
    const self = this
    const world = this.#world
    const { attempt, id } = job
    const unwind = Effect.suspend(() => {
      if (unwinding === 0) return Effect.void
      world.reference.unwinding.add(id)
      return Effect.sleep(unwinding)
    })
    return Effect.gen(function* () {
      world.look()
      // Its end may be on the way already, but never its beginning.
      const started = world.reference.jobs.get(id)?.attempt ?? 0
      if (started < attempt) world.break(`attempt ${attempt} of ${id} runs before it is stored`)
      if (self.running.has(id)) world.break(`two attempts of ${id} run at a time`)
      self.running.set(id, attempt)
      world.begun.add(`${id} ${attempt}`)
      for (const [at, act] of acts.entries()) yield* self.#alive(self.#act(act, at, job))
      const outcome = outcomes[attempt - 1] ?? "complete"
      if (outcome === "vanish") world.vanished.set(`${id} ${attempt}`, world.simulation.now)
      return yield* END[outcome]
    }).pipe(
      Effect.onInterrupt(() => self.#alive(unwind)),
      Effect.ensuring(Effect.sync(() => this.#leave(id, attempt))),
      self.#alive,
    )
  }

  /** A handler has ended. */
  #leave(id: string, attempt: number): void {
    if (this.running.get(id) !== attempt) return
    this.running.delete(id)
    const { reference, simulation } = this.#world
    if (reference.unwinding.delete(id)) reference.upset(simulation.now)
  }

  #act(act: Script["acts"][number], at: number, job: JobContext): Effect.Effect<unknown> {
    const name = `step ${at}`
    switch (act) {
      case "step":
        return job.step(
          name,
          Effect.sync(() => this.#firstTime(job.id, name)),
        )
      case "progress":
        return job.progress({ percent: at * 20 })
      case "log":
        return job.log(`act ${at}`)
      default:
        return Effect.sleep(act)
    }
  }

  #firstTime(id: string, step: string): null {
    this.#world.look()
    if (this.#world.reference.jobs.get(id)!.steps.has(step))
      this.#world.break(`${step} of ${id} is done again`)
    return null
  }
}
