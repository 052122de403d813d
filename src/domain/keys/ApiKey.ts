/**
 * An API key as an actor: who it stands for, what it may do and from where, how long, and whether it was revoked. A rotation
 * gives it a new secret under the same id; the old one goes on for a while. Only the prefix and the hash of a secret are
 * ever known here.
 */
import { Schema } from "effect"
import { Rpc } from "effect/rpc"
import * as Actor from "../../actor/Actor.ts"
import { accept, type Behavior, refuse } from "../../actor/Behavior.ts"
import { eventType, type Upcast } from "../../journal/DomainEvent.ts"
import { Tier } from "../../security/Principal.ts"
import { Scope } from "../../security/Scope.ts"

const Secret = {
  prefix: Schema.String,
  /** SHA-256, hexadecimal. */
  hash: Schema.String,
}

const ApiKeyCreated = Schema.TaggedStruct("ApiKeyCreated", {
  name: Schema.String,
  ...Secret,
  owner: Schema.String,
  scopes: Schema.Array(Scope),
  tier: Tier,
  /** Milliseconds since 1970; null: never. */
  expires_at: Schema.NullOr(Schema.Int),
  /** CIDR blocks; empty: from anywhere. */
  allowed_ips: Schema.Array(Schema.String),
  /** Web origins; empty: from anywhere, browser or not. */
  allowed_origins: Schema.Array(Schema.String),
})
/** Revision 1 knew no limits: such keys have none. */
const withoutLimits: Upcast = (data) => ({
  ...data,
  expires_at: null,
  allowed_ips: [],
  allowed_origins: [],
})

const ApiKeyRotated = Schema.TaggedStruct("ApiKeyRotated", {
  ...Secret,
  /** Until when the secret before this one is good, in milliseconds since 1970. One that is older ends now. */
  previous_until: Schema.Int,
})
const ApiKeyRevoked = Schema.TaggedStruct("ApiKeyRevoked", {})

export type ApiKeyEvent = typeof ApiKeyCreated.Type | typeof ApiKeyRotated.Type | typeof ApiKeyRevoked.Type

/** No key has this id. */
export class ApiKeyNotFound extends Schema.TaggedError<ApiKeyNotFound>()("ApiKeyNotFound", {
  id: Schema.String,
}) {}

/** The key has ended, and a new secret would not change that. */
export class ApiKeyEnded extends Schema.TaggedError<ApiKeyEnded>()("ApiKeyEnded", {
  id: Schema.String,
  status: Schema.Literals(["revoked", "expired"]),
}) {}

const { _tag: _, ...keyFields } = ApiKeyCreated.fields

export const ApiKeyState = Schema.Struct({
  status: Schema.Literals(["absent", "active", "revoked"]),
  ...keyFields,
  /** The secret before the last rotation. */
  previous: Schema.NullOr(Schema.Struct({ hash: Schema.String, until: Schema.Int })),
  createdAt: Schema.Int,
  rotatedAt: Schema.NullOr(Schema.Int),
})
export type ApiKeyState = typeof ApiKeyState.Type

/** Whether the key's time is over; the moment itself is. */
export const isExpired = ({ expires_at }: Pick<ApiKeyState, "expires_at">, now: number): boolean =>
  expires_at !== null && now >= expires_at

const commands = [
  Rpc.make("Create", { payload: keyFields, success: ApiKeyState }),
  Rpc.make("Rotate", {
    payload: { ...Secret, previous_until: Schema.Int },
    success: ApiKeyState,
    error: Schema.Union([ApiKeyNotFound, ApiKeyEnded]),
  }),
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
    expires_at: null,
    allowed_ips: [],
    allowed_origins: [],
    previous: null,
    createdAt: 0,
    rotatedAt: null,
  },
  decide: {
    Create: (state, key) =>
      state.status === "absent" ? accept([{ _tag: "ApiKeyCreated", ...key }], itself) : accept([], itself),
    Rotate: (state, secret, { id, now }) => {
      if (state.status === "absent") return refuse(new ApiKeyNotFound({ id }))
      if (state.status === "revoked") return refuse(new ApiKeyEnded({ id, status: "revoked" }))
      if (isExpired(state, now)) return refuse(new ApiKeyEnded({ id, status: "expired" }))
      return accept([{ _tag: "ApiKeyRotated", ...secret }], itself)
    },
    Revoke: (state, _payload, { id }) => {
      if (state.status === "absent") return refuse(new ApiKeyNotFound({ id }))
      return accept(state.status === "revoked" ? [] : [{ _tag: "ApiKeyRevoked" }], itself)
    },
    Get: (state, _payload, { id }) =>
      state.status === "absent" ? refuse(new ApiKeyNotFound({ id })) : accept([], itself),
  },
  evolve: (state, event, at) => {
    switch (event._tag) {
      case "ApiKeyCreated": {
        const { _tag, ...key } = event
        return { ...key, status: "active", previous: null, createdAt: at, rotatedAt: null }
      }
      case "ApiKeyRotated":
        return {
          ...state,
          prefix: event.prefix,
          hash: event.hash,
          previous: { hash: state.hash, until: event.previous_until },
          rotatedAt: at,
        }
      case "ApiKeyRevoked":
        return { ...state, status: "revoked", previous: null }
    }
  },
}

/** The actor; its ids are `key_…`. */
export const ApiKey = Actor.make("api_key", {
  state: ApiKeyState,
  stateRevision: 2,
  events: [eventType(ApiKeyCreated, [withoutLimits]), eventType(ApiKeyRotated), eventType(ApiKeyRevoked)],
  commands,
})

export const ApiKeyLive = ApiKey.toLayer(ApiKeyBehavior)
