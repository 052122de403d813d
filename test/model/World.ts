/**
 * The queues under test: the real engine over a real database, in a {@link Simulation}, and the {@link Reference} that
 * watches it. Everything that the engine stores is held against the reference's rules as soon as it is stored; whenever the
 * world is at rest, nothing may be left undone.
 */
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { JobStore } from "../../src/jobs/JobStore.ts"
import { HEARTBEAT_INTERVAL_MS, LEASE_DURATION_MS } from "../../src/jobs/Leases.ts"
import { Journal, type RecordedEvent } from "../../src/journal/Journal.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { storeOf } from "../jobs/QueueFixture.ts"
import { tables } from "../jobs/JobTables.ts"
import { fillDisk, freeDisk } from "../support/FullDisk.ts"
import { inMemory } from "../support/TestDatabase.ts"
import { Process } from "./Process.ts"
import { isFinal, Reference } from "./Reference.ts"
import { ShadowTables } from "./ShadowTables.ts"
import { Simulation } from "./Simulation.ts"
import { QUEUES } from "./Workload.ts"

/** After the disk has been full: by then the engine has tried again, whatever it was about. */
const RECOVERY_MS = 5_000
/** After the last fault: by then every job must have ended. */
const PATIENCE_MS = 86_400_000
/** Events that are looked through at a time. */
const PAGE = 10_000

/** A promise that was broken. */
export class Broken extends Error {}

export class World {
  readonly simulation: Simulation
  readonly reference = new Reference()
  /** Every event, in order. */
  readonly journal: Array<RecordedEvent> = []
  /** Attempts that have begun, by job and attempt. */
  readonly begun = new Set<string>()
  /** When attempts have vanished. */
  readonly vanished = new Map<string, number>()
  readonly store: Context.Context<Journal | JobStore | SqliteClient>
  readonly #scope = Scope.makeUnsafe()
  readonly #shadow: ShadowTables
  readonly #versions = new Map<string, number>()
  readonly #acknowledged: Array<string> = []
  #process!: Process
  #lives = 0
  #isFull = false
  #isRestarting = false
  #wellAt = 0

  constructor(seed: number, database = inMemory) {
    this.simulation = new Simulation(seed)
    this.store = this.#must(Layer.buildWithScope(Layer.fresh(storeOf(database)), this.#scope))
    this.#shadow = new ShadowTables(this.#must(Layer.buildWithScope(Layer.fresh(inMemory), this.#scope)))
    this.#must(this.#begin)
  }

  /**
   * From now on time passes in the middle of things. A turn decides on what it knew when it began, and timers that are set
   * in it are late by as much: so nothing is asked of the order of starts any more, nor that they come at once.
   */
  lag(millis: number): void {
    this.simulation.lag = millis
    this.reference.isInOrder = false
    this.#wellAt = Number.POSITIVE_INFINITY
  }

  get process(): Process {
    return this.#process
  }

  get isFull(): boolean {
    return this.#isFull
  }

  /** Whether what should have happened must have. */
  get isWell(): boolean {
    return !this.#isFull && !this.#isRestarting && this.simulation.now >= this.#wellAt
  }

  #must<A, E>(effect: Effect.Effect<A, E>): A {
    const exit = this.simulation.run(effect)
    if (Exit.isFailure(exit)) throw new Broken(String(exit.cause))
    return exit.value
  }

  readonly #begin = Effect.suspend(() => {
    this.#process = new Process(this, `life ${++this.#lives}`)
    this.reference.upset(this.simulation.now)
    return this.#process.begin
  })

  /** The process dies from one moment to the next, and another one takes over. */
  readonly kill = Effect.suspend(() => {
    this.#process.kill()
    return Effect.andThen(this.#flush, this.#begin)
  })

  /** The process ends in good order, one handler after the other, and another one takes over. */
  readonly restart = Effect.suspend(() => {
    const { reference } = this
    this.look()
    const { isInOrder } = reference
    // As long as some handlers are gone and others are not, only their own jobs start.
    reference.isInOrder = false
    this.#isRestarting = true
    return this.#process.stop.pipe(
      Effect.andThen(this.#flush),
      Effect.andThen(
        Effect.suspend(() => {
          this.look()
          reference.isInOrder = isInOrder
          this.#isRestarting = false
          return this.#begin
        }),
      ),
    )
  })

  /** What a process that has ended had under way is in the journal or it never will be: before the next one opens it. */
  readonly #flush = Effect.suspend(() => {
    const events = [{ _tag: "F" }]
    const append = { stream: "flush", expectedVersion: this.#versions.get("flush") ?? 0, events }
    return Effect.exit(Context.get(this.store, Journal).append([append], this.simulation.now))
  })

  readonly fillDisk = Effect.suspend(() => {
    this.#isFull = true
    return Effect.provideContext(fillDisk, this.store)
  })

  readonly freeDisk = Effect.suspend(() => {
    this.#isFull = false
    this.#wellAt = Math.max(this.#wellAt, this.simulation.now + RECOVERY_MS)
    return Effect.provideContext(freeDisk, this.store)
  })

  /** Whoever submitted this job was told that it is there, so it is, from this moment on. */
  acknowledge(id: string): void {
    this.look()
    if (!this.reference.jobs.has(id)) this.break(`${id} was acknowledged and is not stored`)
    this.#acknowledged.push(id)
  }

  get acknowledged(): ReadonlyArray<string> {
    return this.#acknowledged
  }

  /** Holds what was stored since the last look against the rules. */
  look(): void {
    const { journal } = this
    const source = Context.get(this.store, Journal)
    if (Effect.runSync(source.head) === journal.length) return
    const fresh = Effect.runSync(source.readAll({ afterPosition: journal.length, limit: PAGE }))
    for (const recorded of fresh) {
      const { event, position, stream, version } = recorded
      journal.push(recorded)
      const told = `${position} ${stream} ${event._tag}`
      if (position !== journal.length) this.break(`${told}: positions are not dense`)
      const last = this.#versions.get(stream) ?? 0
      if (version !== last + 1) this.break(`${told}: version ${version} follows ${last}`)
      this.#versions.set(stream, version)
      if (event._tag === "F") continue
      const fault = this.reference.see(recorded) ?? this.#process.fault(recorded)
      if (fault !== undefined) this.break(`${told}: ${fault}`)
    }
  }

  /** All is at rest: what should have happened has, what runs has a lease, and nobody was failed in silence. */
  readonly atRest = (): void => {
    this.look()
    const { defects, now } = this.simulation
    if (defects.length > 0) throw new Broken(defects.join("\n"))
    if (!this.isWell) return
    const [first] = this.reference.undone(now)
    if (first !== undefined) throw new Broken(`at rest at ${now}: ${first}`)
    const leased = [...this.reference.jobs.values()]
      .filter(({ status }) => status === "processing")
      .map(({ attempt, id }) => `${id} ${attempt}`)
      .filter((name) => !this.#hasVanished(name))
    const running = [...this.#process.running]
      .map(([id, attempt]) => `${id} ${attempt}`)
      .filter((name) => leased.includes(name) || !this.reference.unwinding.has(name.split(" ")[0]!))
    if (leased.toSorted().join() !== running.toSorted().join())
      throw new Broken(`leases: ${leased.join()}; attempts: ${running.join()}`)
  }

  /** Whether nothing is left of an attempt that has a lease. The next heartbeat after the lease has run out ends it. */
  #hasVanished(name: string): boolean {
    const at = this.vanished.get(name)
    if (at === undefined) return false
    const end = Math.max(at + LEASE_DURATION_MS, this.#wellAt) + HEARTBEAT_INTERVAL_MS
    if (this.simulation.now > end) throw new Broken(`the lease of ${name} does not run out`)
    return true
  }

  /** The projections' rows are the fold of the journal. */
  compareTables(): void {
    this.look()
    const kept = Effect.runSync(Effect.provideContext(tables, this.store))
    const fault = this.#shadow.differenceAfter(this.journal, kept)
    if (fault !== undefined) throw new Broken(fault)
  }

  /** Faults stop, whatever was held up is let go, and every job that was accepted comes to its end. */
  quiesce(): void {
    const { simulation, reference } = this
    simulation.lag = 0
    simulation.run(this.freeDisk)
    for (const name of QUEUES)
      simulation.run(Effect.flatMap(this.#process.queue, (queue) => Effect.ignore(queue.resume(name))))
    const deadline = simulation.now + PATIENCE_MS
    const open = () => [...reference.jobs.values()].filter(({ status }) => !isFinal(status))
    while (open().length > 0) {
      if (simulation.now > deadline) throw new Broken(`${open()[0]!.id} never ends`)
      simulation.runUntil(simulation.now + 60_000, this.atRest)
      // Whoever waits for somebody to redrive what has died is helped.
      for (const { waitsFor } of open())
        for (const id of waitsFor)
          if (isFinal(reference.jobs.get(id)!.status))
            simulation.run(Effect.flatMap(this.#process.queue, (queue) => Effect.ignore(queue.retry(id))))
      this.look()
    }
    this.compareTables()
  }

  /** Where nobody would hear of it: within the engine's own fibers. */
  break(fault: string): never {
    this.simulation.defects.push(fault)
    throw new Broken(fault)
  }

  /** Ends the world. */
  close(): void {
    this.#process.kill()
    this.simulation.run(Scope.close(this.#scope, Exit.void))
  }
}
