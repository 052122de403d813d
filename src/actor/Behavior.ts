/**
 * What an actor is, as pure functions: `decide` turns a command into events or a refusal, `evolve` turns an event into
 * the next state. Neither sees a clock, a random source or an Effect; the moment comes in with the command.
 */
import type { Rpc } from "effect/rpc"
import type { DomainEvent } from "../journal/DomainEvent.ts"

/** What a command may know beside its payload. */
export interface CommandContext {
  /** The actor's id, which is also its stream. */
  readonly id: string
  /** The moment of the decision, in milliseconds since 1970; it becomes the events' `recordedAt`. */
  readonly now: number
}

/** These events happened, and this is the answer once they are durable. */
export interface Accepted<State, Event, Answer> {
  readonly _tag: "Accepted"
  readonly events: ReadonlyArray<Event>
  readonly answer: (state: State) => Answer
}

/** Nothing happened, and this is why. */
export interface Refused<Refusal> {
  readonly _tag: "Refused"
  readonly refusal: Refusal
}

/** The outcome of a command: events to append and an answer from the state after them, or a refusal that appends none. */
export type Decision<State, Event, Answer, Refusal> = Accepted<State, Event, Answer> | Refused<Refusal>

/** Accepts: these events happened; the caller is told `answer` of the state that they lead to. */
export const accept = <State, Event, Answer>(
  events: ReadonlyArray<Event>,
  answer: (state: State) => Answer,
): Accepted<State, Event, Answer> => ({ _tag: "Accepted", events, answer })

/** Refuses: nothing happens, the caller gets the error. */
export const refuse = <Refusal>(refusal: Refusal): Refused<Refusal> => ({ _tag: "Refused", refusal })

/** A decider for each command, the state before anything happened, and the fold. */
export interface Behavior<State, Event extends DomainEvent, Commands extends Rpc.Any> {
  readonly initial: State
  readonly decide: {
    readonly [Command in Commands as Rpc.Tag<Command>]: (
      state: State,
      payload: Rpc.Payload<Command>,
      context: CommandContext,
    ) => Decision<State, Event, Rpc.Success<Command>, Rpc.Error<Command>>
  }
  /** `at`: when the event was recorded, in milliseconds since 1970. */
  readonly evolve: (state: State, event: Event, at: number) => State
}
