/**
 * The key of the first start: an installation without an `admin` key makes one, says it once, and keeps it in a file that
 * only its owner can read. So whoever revokes the last one gets in again by a restart.
 */
import { randomBytes } from "node:crypto"
import { join } from "node:path"
import { Clock, Console, Effect, Layer, Redacted } from "effect"
import * as ApiKeyFormat from "../../security/ApiKeyFormat.ts"
import * as OwnerOnlyFile from "../../security/OwnerOnlyFile.ts"
import * as TypeId from "../../security/TypeId.ts"
import { SqliteClient } from "../../sqlite/SqliteClient.ts"
import { ApiKey } from "./ApiKey.ts"

/** In `DATA_DIR`. */
const ADMIN_KEY_FILE = "admin.key"

/** A scan of a small table, once. */
const SELECT_ADMIN = "SELECT 1 FROM issued_keys WHERE admin_until > ? LIMIT 1"
/** Whether a key of this hash ever was: also a revoked one, which is in no table. Index: UNIQUE (stream, version). */
const SELECT_EVER = `SELECT 1 FROM events
  WHERE stream >= 'key_' AND stream < 'key\`' AND data ->> '$.hash' = ? LIMIT 1`

/**
 * Makes sure that somebody can get in: with no admin key in the journal, takes over the one in `dataDir` or makes a new one
 * and prints it.
 */
export const adminKeyLayer = (dataDir: string) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const { reader } = yield* SqliteClient
      if (reader.prepare(SELECT_ADMIN).get(yield* Clock.currentTimeMillis) !== undefined) return
      const path = join(dataDir, ADMIN_KEY_FILE)
      // A crash between writing the file and the event leaves the file: the next start uses it. A key that was known
      // before, and ended, stays ended.
      const stored = (yield* OwnerOnlyFile.read(path)) ?? ""
      const isNew =
        !ApiKeyFormat.isWellFormed(stored) ||
        reader.prepare(SELECT_EVER).get(ApiKeyFormat.hash(Redacted.make(stored))) !== undefined
      const key = isNew
        ? ApiKeyFormat.generate(randomBytes(ApiKeyFormat.RANDOM_BYTES))
        : Redacted.make(stored)
      if (isNew) yield* OwnerOnlyFile.write(path, Redacted.value(key))
      const apiKey = yield* ApiKey.client
      yield* apiKey(yield* TypeId.make("key")).Create({
        name: "admin",
        prefix: ApiKeyFormat.prefixOf(key),
        hash: ApiKeyFormat.hash(key),
        owner: yield* TypeId.make("user"),
        scopes: ["admin"],
        tier: "enterprise",
        expires_at: null,
        allowed_ips: [],
        allowed_origins: [],
      })
      if (isNew) yield* Console.log(`Admin key (shown once, kept in ${path}): ${Redacted.value(key)}`)
    }),
  )
