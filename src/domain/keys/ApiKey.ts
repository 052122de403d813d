/**
 * An API key as an actor: who it stands for, what it may do, and whether it was revoked. Only the prefix and the hash of
 * the key itself are ever known here.
 */
import { Schema } from "effect"
import { Rpc } from "effect/rpc"
import * as Actor from "../../actor/Actor.ts"
import { accept, type Behavior, refuse } from "../../actor/Behavior.ts"
import { eventType } from "../../journal/DomainEvent.ts"
import { Tier } from "../../security/Principal.ts"
import { Scope } from "../../security/Scope.ts"

const ApiKeyCreated = Schema.TaggedStruct("ApiKeyCreated", {
  name: Schema.String,
  prefix: Schema.String,
  /** SHA-256, hexadecimal. */
  hash: Schema.String,
  owner: Schema.String,
  scopes: Schema.Array(Scope),
  tier: Tier,
})
const ApiKeyRevoked = Schema.TaggedStruct("ApiKeyRevoked", {})

export type ApiKeyEvent = typeof ApiKeyCreated.Type | typeof ApiKeyRevoked.Type

/** No key has this id. */
export class ApiKeyNotFound extends Schema.TaggedError<ApiKeyNotFound>()("ApiKeyNotFound", {
  id: Schema.String,
}) {}

const { _tag: _, ...keyFields } = ApiKeyCreated.fields

export const ApiKeyState = Schema.Struct({
  status: Schema.Literals(["absent", "active", "revoked"]),
  ...keyFields,
  createdAt: Schema.Int,
})
export type ApiKeyState = typeof ApiKeyState.Type

const commands = [
  Rpc.make("Create", { payload: keyFields, success: ApiKeyState }),
  Rpc.make("Revoke", { success: ApiKeyState, error: ApiKeyNotFound }),
  Rpc.make("Get", { success: ApiKeyState, error: ApiKeyNotFound }),
] as const

const itself = (state: ApiKeyState) => state

export const ApiKeyBehavior: Behavior<ApiKeyState, ApiKeyEvent, (typeof commands)[number]> = {
  initial: {
    status: "absent",
    name: "",
    prefix: "",
    hash: "",
    owner: "",
    scopes: [],
    tier: "free",
    createdAt: 0,
  },
  decide: {
    Create: (state, key) =>
      state.status === "absent" ? accept([{ _tag: "ApiKeyCreated", ...key }], itself) : accept([], itself),
    Revoke: (state, _payload, { id }) => {
      if (state.status === "absent") return refuse(new ApiKeyNotFound({ id }))
      return accept(state.status === "revoked" ? [] : [{ _tag: "ApiKeyRevoked" }], itself)
    },
    Get: (state, _payload, { id }) =>
      state.status === "absent" ? refuse(new ApiKeyNotFound({ id })) : accept([], itself),
  },
  evolve: (state, event, at) => {
    if (event._tag === "ApiKeyRevoked") return { ...state, status: "revoked" }
    const { _tag, ...key } = event
    return { ...key, status: "active", createdAt: at }
  },
}

/** The actor; its ids are `key_…`. */
export const ApiKey = Actor.make("api_key", {
  state: ApiKeyState,
  events: [eventType(ApiKeyCreated), eventType(ApiKeyRevoked)],
  commands,
})

export const ApiKeyLive = ApiKey.toLayer(ApiKeyBehavior)
