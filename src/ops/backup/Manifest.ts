/**
 * A backup is a folder: the database and the archive, each one file without a log beside it, and `manifest.json`, which says
 * what they are. The folder gets its name when everything in it is on the disk, so one that has a manifest is complete.
 */
import { Effect, Schema } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"

/** Of the folder's layout. */
export const FORMAT = 1
export const MANIFEST_FILE = "manifest.json"
export const DATABASE_FILE = "queue.db"
export const ARCHIVE_FILE = "archive.db"

const Count = Schema.Int.pipe(Schema.check(Schema.isGreaterThanOrEqualTo(0)))

const StoredFile = Schema.Struct({
  bytes: Count,
  /** Hexadecimal. */
  sha256: Schema.String,
})

/** How far the copy was proven: its whole journal was folded, its pages were checked, or it was only copied. */
export const PROOFS = ["journal", "file", "none"] as const

export class Manifest extends Schema.Class<Manifest>("renderowl/ops/backup/Manifest")({
  format: Schema.Int,
  /** The release that made it. */
  release: Schema.String,
  /** ISO 8601, UTC: the moment that it shows. */
  created_at: Schema.String,
  /** The newest position of its journal. */
  head: Count,
  /** Streams and events that had left for the archive. */
  archived: Schema.Struct({ streams: Count, events: Count }),
  /** The migrations that were applied. */
  migrations: Schema.Array(Schema.String),
  proof: Schema.Literals(PROOFS),
  database: StoredFile,
  /** null: nothing was ever archived. */
  archive: Schema.NullOr(StoredFile),
}) {}

const ManifestJson = Schema.fromJsonString(Manifest)
const decode = Schema.decodeUnknownEffect(ManifestJson)

export const encodeManifest = (manifest: Manifest): string =>
  `${JSON.stringify(Schema.encodeSync(Manifest)(manifest), undefined, 2)}\n`

/** The folder is no backup that this release can read. */
export class NotABackup extends Schema.TaggedError<NotABackup>()("NotABackup", {
  folder: Schema.String,
  detail: Schema.String,
}) {
  override get message(): string {
    return `${this.folder} is not a backup: ${this.detail}`
  }
}

/** What a folder says of itself. */
export const readManifest = Effect.fnUntraced(function* (
  folder: string,
): Effect.fn.Return<Manifest, NotABackup> {
  const refuse = (detail: string) => new NotABackup({ folder, detail })
  const text = yield* Effect.try({
    try: () => readFileSync(join(folder, MANIFEST_FILE), "utf8"),
    catch: () => refuse(`it has no ${MANIFEST_FILE}`),
  })
  const manifest = yield* Effect.mapError(decode(text), ({ message }) =>
    refuse(`its ${MANIFEST_FILE} is not understood: ${message}`),
  )
  if (manifest.format !== FORMAT)
    return yield* refuse(`it has the format ${manifest.format}, and this release reads ${FORMAT}`)
  return manifest
})
