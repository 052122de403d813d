/**
 * Hosts live actors: one cell per id with its mailbox, state and version. Cells are loaded on their first command
 * (snapshot, then the rest of the stream), passivated when idle or when too many are resident, and restarted from the
 * journal whenever what they hold can no longer be trusted.
 */
import { Cause, Clock, Context, Effect, Exit, FiberSet, Layer, Schema } from "effect"
import type { DomainEvent } from "../journal/DomainEvent.ts"
import { type EventMetadata, Journal, type JournalError } from "../journal/Journal.ts"
import type { CommandContext, Decision } from "./Behavior.ts"
import { Mailbox, type MailboxFull } from "./Mailbox.ts"
import { recalling } from "./Recall.ts"
import { SnapshotStore } from "./SnapshotStore.ts"

/** Actors kept in memory at most; the one idle for longest goes first. */
const RESIDENT_ACTORS_MAX = 10_000
/** An actor that nobody has asked for this long leaves memory. */
export const PASSIVATE_AFTER_MS = 600_000
/** Idle actors are looked for this often. */
const PASSIVATION_INTERVAL_MS = 60_000
/** Commands one actor may have waiting. */
export const ACTOR_MAILBOX_CAPACITY = 1_000
/** This many defects of one actor within the window put it in quarantine. */
export const DEFECTS_MAX = 3
export const DEFECT_WINDOW_MS = 60_000
/** How long an actor in quarantine refuses commands. */
export const QUARANTINE_MS = 300_000

/** The actor's behavior failed unexpectedly several times in a short while; it refuses commands until then. */
export class Quarantined extends Schema.TaggedError<Quarantined>()("Quarantined", {
  actor: Schema.String,
  until: Schema.Number,
}) {}

/** What any actor may answer beside its own refusals. */
export type ActorError = MailboxFull | Quarantined | JournalError

/** One kind of actor with the types erased, as the system runs it. */
export interface HostedBehavior {
  readonly initial: unknown
  readonly decide: (
    state: unknown,
    tag: string,
    payload: unknown,
    context: CommandContext,
  ) => Decision<unknown, DomainEvent, unknown, unknown>
  readonly evolve: (state: unknown, event: DomainEvent, at: number) => unknown
  /** Absent: this kind keeps no snapshots. */
  readonly snapshots?: {
    readonly every: number
    readonly revision: number
    readonly encode: (state: unknown) => unknown
    readonly decode: (json: unknown) => unknown
  }
}

interface Command {
  readonly tag: string
  readonly payload: unknown
  readonly metadata: EventMetadata | undefined
  readonly answer: (exit: Exit.Exit<unknown, unknown>) => void
}

interface Cell {
  readonly id: string
  readonly behavior: HostedBehavior
  readonly mailbox: Mailbox<Command>
  /** Absent until loaded, and after anything that makes it doubtful. */
  state: { value: unknown; version: number; snapshotVersion: number } | undefined
  defects: ReadonlyArray<number>
  quarantinedUntil: number
  /** When it last handled commands. */
  usedAt: number
}

/** What there is and what has been, since the start. */
export interface ActorStats {
  readonly resident: number
  /** Commands that wait in all mailboxes together. */
  readonly waiting: number
  /** Actors that were loaded anew after a defect. */
  readonly restarts: number
  readonly quarantines: number
  /** Those that are in quarantine now. */
  readonly quarantined: ReadonlyArray<string>
}

/** Asks an actor: the effect ends with the actor's answer, once whatever it decided is durable. */
export type Ask = (
  behavior: HostedBehavior,
  id: string,
  tag: string,
  payload: unknown,
  metadata?: EventMetadata,
) => Effect.Effect<unknown, unknown>

export class ActorSystem extends Context.Service<
  ActorSystem,
  {
    readonly ask: Ask
    /** Actors in memory now. */
    readonly resident: Effect.Effect<number>
    readonly stats: Effect.Effect<ActorStats>
  }
>()("renderowl/actor/ActorSystem") {
  static readonly layer = Layer.effect(
    ActorSystem,
    Effect.gen(function* () {
      const journal = yield* Journal
      const snapshots = yield* SnapshotStore
      const fibers = yield* FiberSet.make()
      const fork = yield* FiberSet.runtime(fibers)()
      /** In order of last use, so that the first is the one to passivate. */
      const cells = new Map<string, Cell>()
      let closed = false
      let restarts = 0
      let quarantines = 0
      // What was asked is still decided and answered; whoever asks later is interrupted, like all that outlives a scope.
      yield* Effect.addFinalizer(() => {
        closed = true
        return FiberSet.awaitEmpty(fibers)
      })

      const load = Effect.fnUntraced(function* (cell: Cell) {
        const { behavior, id } = cell
        let value = behavior.initial
        let version = 0
        const snapshot =
          behavior.snapshots === undefined
            ? undefined
            : yield* snapshots.load(id, behavior.snapshots.revision)
        if (snapshot !== undefined) {
          const decoded = yield* Effect.exit(Effect.sync(() => behavior.snapshots!.decode(snapshot.state)))
          if (Exit.isSuccess(decoded)) {
            value = decoded.value
            version = snapshot.version
          } else yield* Effect.logWarning("a snapshot could not be read and was ignored", { actor: id })
        }
        const snapshotVersion = version
        for (const recorded of yield* journal.readStream(id, { afterVersion: version })) {
          value = behavior.evolve(value, recorded.event, recorded.recordedAt)
          version = recorded.version
        }
        return (cell.state = { value, version, snapshotVersion })
      })

      const saveSnapshot = Effect.fnUntraced(function* (cell: Cell) {
        const { snapshots: settings } = cell.behavior
        const state = cell.state
        if (settings === undefined || state === undefined) return
        if (state.version - state.snapshotVersion < settings.every) return
        state.snapshotVersion = state.version
        const encoded = yield* Effect.exit(Effect.sync(() => settings.encode(state.value)))
        if (Exit.isFailure(encoded)) {
          return yield* Effect.logError("a state does not fit its schema", { actor: cell.id }, encoded.cause)
        }
        yield* snapshots.save(cell.id, settings.revision, { version: state.version, state: encoded.value })
      })

      /** A defect of the behavior: the actor restarts from the journal, and too many of them quarantine it. */
      const onDefect = (cell: Cell, defect: unknown, now: number) =>
        Effect.suspend(() => {
          restarts++
          cell.state = undefined
          cell.defects = [...cell.defects.filter((at) => now - at < DEFECT_WINDOW_MS), now]
          if (cell.defects.length < DEFECTS_MAX) return Effect.void
          quarantines++
          cell.quarantinedUntil = now + QUARANTINE_MS
          return Effect.logError("actor quarantined after repeated defects", { actor: cell.id, defect })
        })

      /** Decides a batch in order against the evolving state, appends once, then answers everyone. */
      const handle = (cell: Cell, batch: ReadonlyArray<Command>): Effect.Effect<void> =>
        Effect.gen(function* () {
          const now = yield* Clock.currentTimeMillis
          cell.usedAt = now
          if (now < cell.quarantinedUntil) {
            const quarantined = Exit.fail(new Quarantined({ actor: cell.id, until: cell.quarantinedUntil }))
            for (const command of batch) command.answer(quarantined)
            return
          }
          const loaded = yield* Effect.exit(
            cell.state === undefined ? load(cell) : Effect.succeed(cell.state),
          )
          if (Exit.isFailure(loaded)) {
            for (const command of batch) command.answer(loaded)
            if (Cause.hasDies(loaded.cause)) yield* onDefect(cell, Cause.squash(loaded.cause), now)
            return
          }
          const start = loaded.value
          let value = start.value
          let version = start.version
          const appends: Array<{
            stream: string
            expectedVersion: number
            events: ReadonlyArray<DomainEvent>
            metadata: EventMetadata | undefined
          }> = []
          const answers: Array<(outcome: Exit.Exit<unknown, JournalError>) => void> = []
          for (const command of batch) {
            try {
              const context = { id: cell.id, now }
              const decision = cell.behavior.decide(value, command.tag, command.payload, context)
              const before = version
              if (decision._tag === "Refused") {
                // Refused because of what this batch has changed, it is only refused if that is durable.
                answers.push((outcome) =>
                  command.answer(
                    Exit.isFailure(outcome) && before > start.version ? outcome : Exit.fail(decision.refusal),
                  ),
                )
                continue
              }
              for (const event of decision.events) {
                value = cell.behavior.evolve(value, event, now)
                version++
              }
              const answer = decision.answer(value)
              if (version > before) {
                const { metadata } = command
                appends.push({ stream: cell.id, expectedVersion: before, events: decision.events, metadata })
              }
              answers.push((outcome) =>
                command.answer(Exit.isFailure(outcome) ? outcome : Exit.succeed(answer)),
              )
            } catch (defect) {
              // Nothing of this batch was appended yet: the others start over against a freshly loaded state.
              command.answer(Exit.die(defect))
              yield* onDefect(cell, defect, now)
              const others = batch.filter((other) => other !== command)
              return others.length === 0 ? undefined : yield* handle(cell, others)
            }
          }
          const outcome = yield* Effect.exit(
            appends.length === 0 ? Effect.succeed([]) : journal.append(appends, now, { hasGathered: true }),
          )
          cell.state = Exit.isSuccess(outcome)
            ? { value, version, snapshotVersion: start.snapshotVersion }
            : undefined
          for (const answer of answers) answer(outcome)
          yield* saveSnapshot(cell)
        })

      const cellOf = (behavior: HostedBehavior, id: string): Cell => {
        const known = cells.get(id)
        if (known !== undefined) {
          cells.delete(id)
          cells.set(id, known)
          return known
        }
        if (cells.size >= RESIDENT_ACTORS_MAX) passivateFirst()
        const cell: Cell = {
          id,
          behavior,
          mailbox: new Mailbox({
            actor: id,
            capacity: ACTOR_MAILBOX_CAPACITY,
            handle: (batch) => handle(cell, batch),
            fork,
          }),
          state: undefined,
          defects: [],
          quarantinedUntil: 0,
          usedAt: 0,
        }
        cells.set(id, cell)
        return cell
      }

      const passivateFirst = () => {
        for (const [id, cell] of cells) {
          if (cell.mailbox.isIdle && cell.quarantinedUntil === 0) return void cells.delete(id)
        }
      }

      const passivateIdle = Effect.map(Clock.currentTimeMillis, (now) => {
        for (const [id, cell] of cells) {
          const idle = cell.mailbox.isIdle && now - cell.usedAt >= PASSIVATE_AFTER_MS
          // A quarantine is known to the cell alone.
          if (idle && cell.quarantinedUntil <= now) cells.delete(id)
        }
      })
      yield* Effect.forkScoped(
        Effect.forever(Effect.andThen(Effect.sleep(PASSIVATION_INTERVAL_MS), passivateIdle)),
      )

      const ask: Ask = (behavior, id, tag, payload, metadata) =>
        recalling(
          journal,
          { stream: id, behavior, decide: (state, context) => behavior.decide(state, tag, payload, context) },
          Effect.callback<unknown, unknown>((resume) => {
            if (closed) return resume(Effect.interrupt)
            const { mailbox } = cellOf(behavior, id)
            if (!mailbox.offer({ tag, payload, metadata, answer: resume })) resume(Effect.fail(mailbox.full))
          }),
        )

      const stats = Effect.map(Clock.currentTimeMillis, (now): ActorStats => {
        let waiting = 0
        const quarantined: Array<string> = []
        for (const { id, mailbox, quarantinedUntil } of cells.values()) {
          waiting += mailbox.size
          if (quarantinedUntil > now) quarantined.push(id)
        }
        return { resident: cells.size, waiting, restarts, quarantines, quarantined }
      })

      return ActorSystem.of({ ask, resident: Effect.sync(() => cells.size), stats })
    }),
  )
}
