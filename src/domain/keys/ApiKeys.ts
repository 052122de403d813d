/**
 * Recognising callers by their API key, and the key of the first start: an empty installation makes one `admin` key,
 * says it once, and keeps it in a file that only its owner can read.
 */
import { randomBytes } from "node:crypto"
import { join } from "node:path"
import { Console, Effect, Layer, Redacted } from "effect"
import * as ApiKeyFormat from "../../security/ApiKeyFormat.ts"
import { Authenticator, AuthenticatorUnavailable, InvalidApiKey } from "../../security/Authenticator.ts"
import * as OwnerOnlyFile from "../../security/OwnerOnlyFile.ts"
import { Principal } from "../../security/Principal.ts"
import * as TypeId from "../../security/TypeId.ts"
import { SqliteClient } from "../../sqlite/SqliteClient.ts"
import { ApiKey } from "./ApiKey.ts"
import { RecognisedKeys } from "./RecognisedKeys.ts"

/** In `DATA_DIR`. */
const ADMIN_KEY_FILE = "admin.key"

/** Index: the primary key. */
const SELECT_BY_HASH = "SELECT stream FROM api_keys WHERE hash = ?"
const SELECT_ANY = "SELECT 1 FROM api_keys LIMIT 1"

/** An `Authenticator` for API keys. */
export const authenticatorLayer = Layer.effect(
  Authenticator,
  Effect.gen(function* () {
    const { reader } = yield* SqliteClient
    const apiKey = yield* ApiKey.client
    const recognised = yield* RecognisedKeys

    const lookUp = Effect.fnUntraced(function* (hash: string) {
      const row = yield* Effect.try({
        try: () => reader.prepare(SELECT_BY_HASH).get(hash),
        catch: () => new AuthenticatorUnavailable(),
      })
      if (row === undefined) return yield* new InvalidApiKey()
      const id = row["stream"] as string
      const key = yield* Effect.mapError(apiKey(id).Get(), () => new AuthenticatorUnavailable())
      // The index found the row by the hash; the comparison that decides takes the same time wherever they differ.
      if (key.status !== "active" || !ApiKeyFormat.equalHashes(key.hash, hash))
        return yield* new InvalidApiKey()
      const { owner, scopes, tier } = key
      const principal = new Principal({ id, kind: "api_key", owner, scopes, tier })
      recognised.remember(hash, principal)
      return principal
    })

    return Authenticator.of({
      authenticate: (credential) => {
        const hash = ApiKeyFormat.hash(credential)
        const known = recognised.get(hash)
        if (known !== undefined) return Effect.succeed(known)
        const isKey = ApiKeyFormat.isWellFormed(Redacted.value(credential))
        return isKey ? lookUp(hash) : Effect.fail(new InvalidApiKey())
      },
    })
  }),
)

/**
 * Makes sure that somebody can get in: with no key in the journal, takes over the one in `dataDir` or makes a new one
 * and prints it.
 */
export const adminKeyLayer = (dataDir: string) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const { reader } = yield* SqliteClient
      if (reader.prepare(SELECT_ANY).get() !== undefined) return
      const path = join(dataDir, ADMIN_KEY_FILE)
      // A crash between writing the file and the event leaves the file: the next start uses it.
      const stored = (yield* OwnerOnlyFile.read(path)) ?? ""
      const isNew = !ApiKeyFormat.isWellFormed(stored)
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
      })
      if (isNew) yield* Console.log(`Admin key (shown once, kept in ${path}): ${Redacted.value(key)}`)
    }),
  )
