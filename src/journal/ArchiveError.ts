/**
 * Why the archive file could not be read or written. The journal itself is well then: whatever is still in it is served,
 * and only archived streams are out of reach until the file is.
 */
import { Schema } from "effect"
import { isBusy, isCorrupt, isDiskFull } from "../sqlite/SqliteError.ts"

/** The journal says that events were archived, and the file that should have them is not there. */
export class ArchiveMissing extends Schema.TaggedError<ArchiveMissing>()("ArchiveMissing", {
  /** As many as the journal has given away. */
  streams: Schema.Number,
}) {
  override get message() {
    return `the file with ${this.streams} archived streams is not there`
  }
}

/** Another program holds a lock on it. */
export class ArchiveLocked extends Schema.TaggedError<ArchiveLocked>()("ArchiveLocked", {}) {
  override get message() {
    return "another program has locked it"
  }
}

/** It is damaged, or is not an archive, or lacks what the journal has given away. */
export class ArchiveCorrupt extends Schema.TaggedError<ArchiveCorrupt>()("ArchiveCorrupt", {
  detail: Schema.String,
}) {
  override get message() {
    return this.detail
  }
}

/** There is no room left on its disk. */
export class ArchiveFull extends Schema.TaggedError<ArchiveFull>()("ArchiveFull", {}) {
  override get message() {
    return "its disk is full"
  }
}

/** Anything else: an I/O error, no permission. */
export class ArchiveFailed extends Schema.TaggedError<ArchiveFailed>()("ArchiveFailed", {
  cause: Schema.Defect(),
}) {
  override get message() {
    return this.cause instanceof Error ? this.cause.message : String(this.cause)
  }
}

/** The archive cannot be used right now. */
export class ArchiveError extends Schema.TaggedError<ArchiveError>()("ArchiveError", {
  filename: Schema.String,
  reason: Schema.Union([ArchiveMissing, ArchiveLocked, ArchiveCorrupt, ArchiveFull, ArchiveFailed]),
}) {
  override get message() {
    return `the archive ${this.filename} cannot be used: ${this.reason.message}`
  }
}

/** What went wrong with the file, by what node:sqlite or zstd threw. */
export const toArchiveError = (filename: string, cause: unknown): ArchiveError => {
  if (cause instanceof ArchiveError) return cause
  return new ArchiveError({ filename, reason: reasonOf(cause) })
}

const reasonOf = (cause: unknown): ArchiveError["reason"] => {
  if (cause instanceof ArchiveCorrupt || cause instanceof ArchiveMissing) return cause
  if (isBusy(cause)) return new ArchiveLocked()
  if (isDiskFull(cause)) return new ArchiveFull()
  if (isCorrupt(cause)) return new ArchiveCorrupt({ detail: messageOf(cause) })
  return new ArchiveFailed({ cause })
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
