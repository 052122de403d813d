/** A small actor for tests: credits that are added and spent, with ways to make it fail. */
import { Effect, Layer, Schema } from "effect"
import { Rpc } from "effect/rpc"
import * as Actor from "../../src/actor/Actor.ts"
import { ActorSystem } from "../../src/actor/ActorSystem.ts"
import { accept, type Behavior, refuse } from "../../src/actor/Behavior.ts"
import { SnapshotStore } from "../../src/actor/SnapshotStore.ts"
import { eventType } from "../../src/journal/DomainEvent.ts"
import * as SqliteJournal from "../../src/journal/SqliteJournal.ts"
import { filler } from "../support/FullDisk.ts"
import type { inMemory } from "../support/TestDatabase.ts"

const CreditsAdded = Schema.TaggedStruct("CreditsAdded", { amount: Schema.Int })
const CreditsDeducted = Schema.TaggedStruct("CreditsDeducted", {
  amount: Schema.Int,
  reference: Schema.String,
})
const AccountClosed = Schema.TaggedStruct("AccountClosed", {})
/** Cannot be folded: an account that has it cannot be loaded. */
const AccountPoisoned = Schema.TaggedStruct("AccountPoisoned", {})

type CreditEvent =
  | typeof CreditsAdded.Type
  | typeof CreditsDeducted.Type
  | typeof AccountClosed.Type
  | typeof AccountPoisoned.Type

export const added = (amount: number): CreditEvent => ({ _tag: "CreditsAdded", amount })
export const deducted = (amount: number, reference: string): CreditEvent => ({
  _tag: "CreditsDeducted",
  amount,
  reference,
})

export class InsufficientCredits extends Schema.TaggedError<InsufficientCredits>()("InsufficientCredits", {
  balance: Schema.Int,
}) {}
export class AccountIsClosed extends Schema.TaggedError<AccountIsClosed>()("AccountIsClosed", {}) {}

export const CreditAccountState = Schema.Struct({
  balance: Schema.Int,
  closed: Schema.Boolean,
  /** What was spent on, in order. */
  references: Schema.Array(Schema.String),
  changedAt: Schema.Int,
})
export type CreditAccountState = typeof CreditAccountState.Type

const commands = [
  Rpc.make("Add", { payload: { amount: Schema.Int }, success: Schema.Int, error: AccountIsClosed }),
  Rpc.make("Deduct", {
    payload: { amount: Schema.Int, reference: Schema.String },
    success: Schema.Int,
    error: Schema.Union([InsufficientCredits, AccountIsClosed]),
  }),
  Rpc.make("Close", {}),
  Rpc.make("Get", { success: CreditAccountState }),
  /** Always fails unexpectedly. */
  Rpc.make("Break", {}),
] as const

const balanceOf = ({ balance }: CreditAccountState) => balance

export const CreditBehavior: Behavior<CreditAccountState, CreditEvent, (typeof commands)[number]> = {
  initial: { balance: 0, closed: false, references: [], changedAt: 0 },
  decide: {
    Add: (state, { amount }) =>
      state.closed ? refuse(new AccountIsClosed({})) : accept([added(amount)], balanceOf),
    Deduct: (state, { amount, reference }) => {
      if (state.closed) return refuse(new AccountIsClosed({}))
      if (state.references.includes(reference)) return accept([], balanceOf)
      return state.balance < amount
        ? refuse(new InsufficientCredits({ balance: state.balance }))
        : accept([deducted(amount, reference)], balanceOf)
    },
    Close: (state) => accept(state.closed ? [] : [{ _tag: "AccountClosed" }], () => undefined),
    Get: () => accept([], (state) => state),
    Break: () => {
      throw new Error("broken on purpose")
    },
  },
  evolve: (state, event, at) => {
    switch (event._tag) {
      case "CreditsAdded":
        return { ...state, balance: state.balance + event.amount, changedAt: at }
      case "CreditsDeducted":
        return {
          ...state,
          balance: state.balance - event.amount,
          references: [...state.references, event.reference],
          changedAt: at,
        }
      case "AccountClosed":
        return { ...state, closed: true, changedAt: at }
      case "AccountPoisoned":
        throw new Error("poisoned on purpose")
    }
  },
}

export const CreditAccount = Actor.make("credit_account", {
  state: CreditAccountState,
  events: [CreditsAdded, CreditsDeducted, AccountClosed, AccountPoisoned].map((schema) => eventType(schema)),
  commands,
})

/** The journal of accounts, over a database. */
export const accountJournal = (database: typeof inMemory) =>
  SqliteJournal.layer({ events: [...CreditAccount.events, filler], projections: [] }).pipe(
    Layer.provideMerge(database),
  )

/** Hosts accounts; each use is another process, as it were. */
export const accounts = (snapshotEvery?: number) =>
  Layer.fresh(
    CreditAccount.toLayer({
      ...CreditBehavior,
      ...(snapshotEvery === undefined ? {} : { snapshotEvery }),
    }).pipe(Layer.provideMerge(ActorSystem.layer), Layer.provide(SnapshotStore.layer)),
  )

export const account = (id: string) => Effect.map(CreditAccount.client, (client) => client(id))
