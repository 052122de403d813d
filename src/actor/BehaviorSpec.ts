/**
 * The given/when/then kit: tests of a behavior without a store, a clock or an actor. Given events, when a command is
 * decided, then these events and this answer follow, or this refusal.
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict"
import type { Rpc } from "effect/rpc"
import type { DomainEvent } from "../journal/DomainEvent.ts"
import type { Behavior, CommandContext, Decision } from "./Behavior.ts"

/** What followed from a command, with the ways to expect it. */
export interface Outcome<State, Event> {
  /** The state after the events; after a refusal, the state before. */
  readonly state: State
  /** Expects exactly these events. */
  readonly thenEvents: (...events: ReadonlyArray<Event>) => Outcome<State, Event>
  /** Expects this answer. */
  readonly thenAnswer: (answer: unknown) => Outcome<State, Event>
  /** Expects a refusal with this `_tag`, and so no events. */
  readonly thenRefused: (tag: string) => Outcome<State, Event>
}

type Decider<State, Event> = (
  state: State,
  payload: unknown,
  context: CommandContext,
) => Decision<State, Event, unknown, unknown>

/** Starts from a history; each event is recorded one millisecond after the one before it, the first at time 1. */
export const given = <State, Event extends DomainEvent, Commands extends Rpc.Any>(
  behavior: Behavior<State, Event, Commands>,
  ...history: ReadonlyArray<Event>
) => {
  let before = behavior.initial
  history.forEach((event, index) => {
    before = behavior.evolve(before, event, index + 1)
  })
  return {
    state: before,
    when: <Tag extends Rpc.Tag<Commands>>(
      tag: Tag,
      payload: Rpc.Payload<Rpc.ExtractTag<Commands, Tag>>,
      context: { readonly id?: string; readonly now?: number } = {},
    ): Outcome<State, Event> => {
      const now = context.now ?? history.length + 1
      const decider = behavior.decide[tag as keyof typeof behavior.decide] as unknown as Decider<State, Event>
      const decision = decider(before, payload, { id: context.id ?? "test_actor", now })
      let state = before
      if (decision._tag === "Accepted") {
        for (const event of decision.events) state = behavior.evolve(state, event, now)
      }
      const outcome: Outcome<State, Event> = {
        state,
        thenEvents: (...events) => {
          strictEqual(decision._tag, "Accepted")
          if (decision._tag === "Accepted") deepStrictEqual(decision.events, events)
          return outcome
        },
        thenAnswer: (answer) => {
          strictEqual(decision._tag, "Accepted")
          if (decision._tag === "Accepted") deepStrictEqual(decision.answer(state), answer)
          return outcome
        },
        thenRefused: (refusal) => {
          strictEqual(decision._tag, "Refused")
          if (decision._tag === "Refused") strictEqual((decision.refusal as { _tag?: string })._tag, refusal)
          return outcome
        },
      }
      return outcome
    },
  }
}
