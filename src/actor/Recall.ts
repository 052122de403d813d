/**
 * Carrying a request out again (see `KeyedRequest.ts`): each command that it had carried out before it was interrupted is
 * answered from the journal and appends nothing. Behaviors are pure, so the decision can be made again on the state and at the
 * moment of then; what it answers is what it answered. As long as there is something to recall, everything that is only read is
 * read as it was before the request acted.
 */
import { isDeepStrictEqual } from "node:util"
import { Effect } from "effect"
import type { DomainEvent } from "../journal/DomainEvent.ts"
import type { Journal, JournalError, RecordedEvent } from "../journal/Journal.ts"
import { CurrentKeyedRequest, type KeyedRequest, type Past } from "../security/KeyedRequest.ts"
import type { CommandContext, Decision } from "./Behavior.ts"

/** Events that are looked through at a time. */
const PAGE_EVENTS = 1_000

/** A command to one stream. */
export interface Recallable<State, Event, Answer, Refusal> {
  readonly stream: string
  readonly behavior: {
    readonly initial: State
    readonly evolve: (state: State, event: Event, at: number) => State
  }
  readonly decide: (state: State, context: CommandContext) => Decision<State, Event, Answer, Refusal>
}

/** The command's answer: recalled if the current request had got one before, and that of `send` otherwise. */
export const recalling = <State, Event extends DomainEvent, Answer, Refusal, A, E>(
  journal: Journal["Service"],
  command: Recallable<State, Event, Answer, Refusal>,
  send: Effect.Effect<A, E>,
): Effect.Effect<Answer | A, Refusal | JournalError | E> =>
  Effect.withFiber((fiber): Effect.Effect<Answer | A, Refusal | JournalError | E> => {
    const request = fiber.getRef(CurrentKeyedRequest)
    if (request === undefined) return send
    const again = againOf(request)
    if (again === undefined) return toItsEnd(send)
    return Effect.flatMap(
      journal.readStream(command.stream),
      (events): Effect.Effect<Answer | A, Refusal | E> => recall(again, command, events) ?? toItsEnd(send),
    )
  })

/**
 * What a keyed request sends, it waits for, also when another part of it has failed: events that come after its end would not be
 * known as its own to whoever carries it out again at that moment.
 */
export const toItsEnd = <A, E>(send: Effect.Effect<A, E>): Effect.Effect<A, E> => Effect.uninterruptible(send)

/** A request that has something to recall. */
export interface Again {
  readonly id: string
  readonly startedAt: number
  readonly past: Past
  acted(): void
}

/** The request, if it has something to recall. */
export const againOf = (request: KeyedRequest | undefined): Again | undefined =>
  request !== undefined && hasPast(request) && !request.past.isOver ? request : undefined

const hasPast = (request: KeyedRequest): request is KeyedRequest & Again => request.past !== undefined

const recall = <State, Event extends DomainEvent, Answer, Refusal>(
  request: Again,
  command: Recallable<State, Event, Answer, Refusal>,
  events: ReadonlyArray<RecordedEvent>,
): Effect.Effect<Answer, Refusal> | undefined => {
  const { past } = request
  const { behavior, decide, stream } = command
  const fold = (state: State, some: ReadonlyArray<RecordedEvent>) =>
    some.reduce(
      (state, { event, recordedAt }) => behavior.evolve(state, event as Event & DomainEvent, recordedAt),
      state,
    )
  const isOwn = causedBy(request)
  const next = events.findIndex((event) => isOwn(event) && event.version > past.recalledOf(stream))
  if (next === -1) {
    if (past.recalledOf(stream) > 0) return undefined
    // A stream that it did not change: read as it was, and changed for the first time now.
    const before = events.filter(({ position }) => position < past.first)
    if (before.length === 0) return undefined
    const decision = decide(fold(behavior.initial, before), { id: stream, now: request.startedAt })
    return decision._tag === "Accepted" && decision.events.length > 0
      ? undefined
      : answerOf(decision, fold(behavior.initial, before))
  }
  const before = fold(behavior.initial, events.slice(0, next))
  const decision = decide(before, { id: stream, now: events[next]!.recordedAt })
  if (decision._tag === "Refused" || decision.events.length === 0) return answerOf(decision, before)
  const recorded = events.slice(next, next + decision.events.length)
  if (!recorded.every(isOwn) || !isSame(decision.events, recorded)) return Effect.die(diverged(stream))
  past.recall(stream, recorded.at(-1)!.version, recorded.length)
  request.acted()
  return answerOf(decision, fold(before, recorded))
}

const answerOf = <State, Event, Answer, Refusal>(
  decision: Decision<State, Event, Answer, Refusal>,
  state: State,
): Effect.Effect<Answer, Refusal> =>
  decision._tag === "Refused" ? Effect.fail(decision.refusal) : Effect.succeed(decision.answer(state))

/** Whether a request caused an event. */
export const causedBy =
  ({ id }: { readonly id: string }) =>
  ({ metadata }: RecordedEvent): boolean =>
    metadata?.keyed_request === id

/** Whether events are those that were recorded, as JSON knows them. */
const isSame = (events: ReadonlyArray<DomainEvent>, recorded: ReadonlyArray<RecordedEvent>): boolean =>
  events.length === recorded.length &&
  events.every((event, i) => isDeepStrictEqual(JSON.parse(JSON.stringify(event)), recorded[i]!.event))

/** Another release decides otherwise, or somebody has changed what the request depends on. It must not act twice. */
const diverged = (stream: string) =>
  new Error(`a request that is carried out again would not do to ${stream} what it did before`)

/**
 * The streams that the current request had changed before it was interrupted, in the order of its first events there: for who
 * acts on what it finds, and would find something else now. None for a request that comes for the first time.
 */
export const streamsChangedBefore = (
  journal: Journal["Service"],
): Effect.Effect<ReadonlyArray<string>, JournalError> =>
  Effect.flatMap(CurrentKeyedRequest, (request) => {
    const again = againOf(request)
    if (again === undefined) return Effect.succeed([])
    return Effect.gen(function* () {
      const streams = new Set<string>()
      const isOwn = causedBy(again)
      for (let after = again.past.first - 1; after < again.past.last;) {
        const page = yield* journal.readAll({ afterPosition: after, limit: PAGE_EVENTS })
        if (page.length === 0) break
        for (const event of page) if (isOwn(event)) streams.add(event.stream)
        after = page.at(-1)!.position
      }
      return [...streams]
    })
  })
