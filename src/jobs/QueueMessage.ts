/**
 * What is sent to a queue's actor, and how senders are answered: once the append of the turn that handled their message has
 * ended, and according to how it ended.
 */
import { Exit } from "effect"
import type { CommandContext, Decision } from "../actor/Behavior.ts"
import type { EventMetadata, JournalError } from "../journal/Journal.ts"
import type { Enqueued, NewJob } from "./Enqueue.ts"
import type { AlreadyExpired, IdempotencyKeyReused, QueueDraining } from "./JobErrors.ts"
import type { JobEvent } from "./JobEvents.ts"
import type { JobState } from "./JobState.ts"
import type { QueueEvent, QueueState } from "./QueueBehavior.ts"

/** A decision about one job. */
export type Decide<Answer, Refusal> = (
  state: JobState,
  context: CommandContext,
) => Decision<JobState, JobEvent, Answer, Refusal>

/** A decision about the queue itself. */
export type Govern = (
  state: QueueState,
  context: CommandContext,
) => Decision<QueueState, QueueEvent, void, never>

/** Why a queue takes no job. */
export type EnqueueRefusal = AlreadyExpired | IdempotencyKeyReused | QueueDraining | JournalError

export type Message =
  | {
      readonly _tag: "Enqueue"
      readonly jobs: ReadonlyArray<NewJob>
      readonly answer: (exit: Exit.Exit<ReadonlyArray<Enqueued>, EnqueueRefusal>) => void
    }
  | {
      readonly _tag: "Command"
      readonly id: string
      readonly decide: Decide<unknown, unknown>
      readonly metadata: EventMetadata | undefined
      readonly answer: (exit: Exit.Exit<unknown, unknown>) => void
    }
  | {
      readonly _tag: "Govern"
      readonly decide: Govern
      readonly metadata: EventMetadata | undefined
      readonly answer: (exit: Exit.Exit<void, JournalError>) => void
    }
  /** Attempts of a type (of all, without one) end here, and their jobs wait for another process. */
  | {
      readonly _tag: "HandBack"
      readonly type: string | undefined
      readonly answer: (exit: Exit.Exit<void>) => void
    }
  /** Answered when everything before it was. */
  | { readonly _tag: "Settle"; readonly answer: (exit: Exit.Exit<void>) => void }
  | { readonly _tag: "Wake" }

export type EnqueueMessage = Extract<Message, { readonly _tag: "Enqueue" }>
export type CommandMessage = Extract<Message, { readonly _tag: "Command" }>
export type HandBackMessage = Extract<Message, { readonly _tag: "HandBack" }>

/** Told to a message's sender once the turn's append has ended. */
export type Answer = (outcome: Exit.Exit<unknown, JournalError>) => void

/** The same failure, whatever the success would have been. */
export const refusal = <E>(exit: Exit.Failure<unknown, E>): Exit.Exit<never, E> =>
  exit as Exit.Failure<never, E>

/** What a sender is told when the append has ended so. */
export const answerOf = <A, E>(outcome: Exit.Exit<unknown, E>, answer: A): Exit.Exit<A, E> =>
  Exit.isSuccess(outcome) ? Exit.succeed(answer) : refusal(outcome)
