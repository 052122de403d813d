/**
 * Defining and using event-sourced actors: `Actor.make` names one kind with the schemas of its state, events and
 * commands; `toLayer` gives it a behavior; `client` asks its instances by id. Commands are `effect/rpc` definitions, so
 * the same actor can be hosted elsewhere without changing its users.
 */
import { Context, Effect, Layer, Schema } from "effect"
import type { Rpc } from "effect/rpc"
import type { DomainEvent, EventOf, EventType } from "../journal/DomainEvent.ts"
import type { EventMetadata } from "../journal/Journal.ts"
import { type ActorError, ActorSystem, type HostedBehavior } from "./ActorSystem.ts"
import type { Behavior } from "./Behavior.ts"

/** Events between two snapshots of one actor, unless it says otherwise. */
const DEFAULT_SNAPSHOT_EVERY = 100

/** One instance of an actor: a function per command. */
export type ActorClient<Commands extends Rpc.Any> = {
  readonly [Command in Commands as Rpc.Tag<Command>]: (
    payload: Rpc.Payload<Command>,
    metadata?: EventMetadata,
  ) => Effect.Effect<Rpc.Success<Command>, Rpc.Error<Command> | ActorError>
}

/** Asks instances of one kind by id. */
export interface ActorService<Commands extends Rpc.Any> {
  readonly of: (id: string) => ActorClient<Commands>
}

/** One kind of actor. */
export interface Actor<Name extends string, State, Event extends DomainEvent, Commands extends Rpc.Any> {
  readonly name: Name
  readonly events: ReadonlyArray<EventType>
  /** Given an id, the instance's commands. Every one may also fail with {@link ActorError}. */
  readonly client: Effect.Effect<(id: string) => ActorClient<Commands>, never, Actor.Service<Name>>
  /** Hosts this kind on the `ActorSystem`. */
  readonly toLayer: (
    behavior: ActorBehavior<State, Event, Commands>,
  ) => Layer.Layer<Actor.Service<Name>, never, ActorSystem>
  /** The behavior as the `ActorSystem` runs it, for tools that fold streams and check snapshots. */
  readonly hosted: (behavior: ActorBehavior<State, Event, Commands>) => HostedBehavior
}

type ActorBehavior<State, Event extends DomainEvent, Commands extends Rpc.Any> = Behavior<
  State,
  Event,
  Commands
> & {
  /** Events between snapshots. Default 100. */
  readonly snapshotEvery?: number
}

export declare namespace Actor {
  /** The service a hosted kind of actor provides. */
  interface Service<Name extends string> {
    readonly actor: Name
  }
}

/**
 * Defines a kind of actor. `stateRevision` must grow whenever the state's shape changes, so that older snapshots are
 * left aside.
 */
export const make = <
  const Name extends string,
  State,
  StateEncoded,
  const Events extends ReadonlyArray<EventType>,
  const Commands extends ReadonlyArray<Rpc.Any & { readonly _tag: string }>,
>(
  name: Name,
  options: {
    readonly state: Schema.Codec<State, StateEncoded>
    readonly stateRevision?: number
    readonly events: Events
    readonly commands: Commands
  },
): Actor<Name, State, EventOf<Events[number]>, Commands[number]> => {
  const key = Context.Service<Actor.Service<Name>, ActorService<Commands[number]>>(
    `renderowl/actor/Actor/${name}`,
  )
  const hosted = (behavior: ActorBehavior<State, EventOf<Events[number]>, Commands[number]>) =>
    host(behavior, options.state, options.stateRevision ?? 1)
  return {
    name,
    events: options.events,
    hosted,
    client: Effect.map(key, (service) => service.of),
    toLayer: (behavior) =>
      Layer.effect(
        key,
        Effect.gen(function* () {
          const system = yield* ActorSystem
          const running = hosted(behavior)
          return {
            of: (id: string) =>
              Object.fromEntries(
                options.commands.map(({ _tag }) => [
                  _tag,
                  (payload: unknown, metadata?: EventMetadata) =>
                    system.ask(running, id, _tag, payload, metadata),
                ]),
              ) as unknown as ActorClient<Commands[number]>,
          }
        }),
      ),
  }
}

/** The behavior with its types erased. The casts are sound: the client's types let nothing else through. */
const host = <State, StateEncoded, Event extends DomainEvent, Commands extends Rpc.Any>(
  behavior: ActorBehavior<State, Event, Commands>,
  state: Schema.Codec<State, StateEncoded>,
  revision: number,
): HostedBehavior => {
  const decide = behavior.decide as unknown as Record<string, HostedDecider>
  return {
    initial: behavior.initial,
    decide: (current, tag, payload, context) => decide[tag]!(current, payload, context),
    evolve: behavior.evolve as HostedBehavior["evolve"],
    snapshots: {
      every: behavior.snapshotEvery ?? DEFAULT_SNAPSHOT_EVERY,
      revision,
      encode: Schema.encodeUnknownSync(state),
      decode: Schema.decodeUnknownSync(state),
    },
  }
}

type HostedDecider = (
  state: unknown,
  payload: unknown,
  context: Parameters<HostedBehavior["decide"]>[3],
) => ReturnType<HostedBehavior["decide"]>
