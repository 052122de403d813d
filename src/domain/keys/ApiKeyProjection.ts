/**
 * The keys that open the API, by the hash of each secret that may still be good, and by owner for lists. A revoked key is in
 * neither. What the clock alone decides (expiry, the end of an overlap) is not known here.
 */
import type { InlineProjection } from "../../journal/InlineProjection.ts"
import type { ApiKeyEvent } from "./ApiKey.ts"
import type { RecognisedKeys } from "./RecognisedKeys.ts"

const INSERT_SECRET = "INSERT INTO api_keys (hash, stream, current) VALUES (?, ?, 1)"
/** Index: api_keys_of_stream, as for the next two. */
const DELETE_PREVIOUS = "DELETE FROM api_keys WHERE stream = ? AND current = 0"
const RETIRE_CURRENT = "UPDATE api_keys SET current = 0 WHERE stream = ?"
const DELETE_SECRETS = "DELETE FROM api_keys WHERE stream = ?"
const INSERT_ISSUED = "INSERT INTO issued_keys (position, owner, admin_until) VALUES (?, ?, ?)"
/** Indexes: events UNIQUE (stream, version), then the primary key. */
const DELETE_ISSUED =
  "DELETE FROM issued_keys WHERE position = (SELECT position FROM events WHERE stream = ? AND version = 1)"

/** Until when the key holds `admin`, if it does. */
const adminUntil = ({
  expires_at,
  scopes,
}: Extract<ApiKeyEvent, { _tag: "ApiKeyCreated" }>): number | null =>
  scopes.includes("admin") ? (expires_at ?? Number.MAX_SAFE_INTEGER) : null

export const apiKeyProjection = (recognised: RecognisedKeys["Service"]): InlineProjection => ({
  name: "api_keys",
  tables: ["api_keys", "issued_keys"],
  project: (db, events) => {
    for (const recorded of events) {
      const event = recorded.event as ApiKeyEvent
      switch (event._tag) {
        case "ApiKeyCreated":
          db.prepare(INSERT_SECRET).run(event.hash, recorded.stream)
          db.prepare(INSERT_ISSUED).run(recorded.position, event.owner, adminUntil(event))
          break
        case "ApiKeyRotated":
          db.prepare(DELETE_PREVIOUS).run(recorded.stream)
          db.prepare(RETIRE_CURRENT).run(recorded.stream)
          db.prepare(INSERT_SECRET).run(event.hash, recorded.stream)
          recognised.forgetAll()
          break
        case "ApiKeyRevoked":
          db.prepare(DELETE_SECRETS).run(recorded.stream)
          db.prepare(DELETE_ISSUED).run(recorded.stream)
          recognised.forgetAll()
          break
      }
    }
  },
  forget: () => {},
})
