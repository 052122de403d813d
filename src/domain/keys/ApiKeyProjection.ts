/**
 * The keys that open the API, by hash. A revoked key is not there.
 */
import type { InlineProjection } from "../../journal/InlineProjection.ts"
import type { ApiKeyEvent } from "./ApiKey.ts"
import type { RecognisedKeys } from "./RecognisedKeys.ts"

const INSERT = "INSERT INTO api_keys (hash, stream) VALUES (?, ?)"
const DELETE = "DELETE FROM api_keys WHERE stream = ?"

export const apiKeyProjection = (recognised: RecognisedKeys["Service"]): InlineProjection => ({
  name: "api_keys",
  tables: ["api_keys"],
  project: (db, events) => {
    for (const recorded of events) {
      const event = recorded.event as ApiKeyEvent
      if (event._tag === "ApiKeyCreated") db.prepare(INSERT).run(event.hash, recorded.stream)
      else if (event._tag === "ApiKeyRevoked") {
        db.prepare(DELETE).run(recorded.stream)
        recognised.forgetAll()
      }
    }
  },
  forget: () => {},
})
