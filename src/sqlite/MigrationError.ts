/**
 * Why migrations stopped. Each reason names the file to look at and carries what is needed to repair it; none of them
 * leaves a migration half applied.
 */
import { Schema } from "effect"

/** The folder or a file in it cannot be read. */
export class Unreadable extends Schema.TaggedError<Unreadable>()("Unreadable", {
  path: Schema.String,
  cause: Schema.Defect(),
}) {
  override get message(): string {
    return `${this.path} cannot be read`
  }
}

/** The file is not `NNNN_name.sql` with an up part and a down part. */
export class Malformed extends Schema.TaggedError<Malformed>()("Malformed", {
  file: Schema.String,
  detail: Schema.String,
}) {
  override get message(): string {
    return `${this.file} ${this.detail}`
  }
}

/** Two files have the same number. */
export class DuplicateId extends Schema.TaggedError<DuplicateId>()("DuplicateId", {
  id: Schema.Int,
  files: Schema.Array(Schema.String),
}) {
  override get message(): string {
    return `${this.files.join(" and ")} have the same number ${this.id}`
  }
}

/** Numbers run 1, 2, 3 …; this file leaves one out. */
export class IdGap extends Schema.TaggedError<IdGap>()("IdGap", {
  file: Schema.String,
  expected: Schema.Int,
}) {
  override get message(): string {
    return `${this.file} leaves a gap: number ${this.expected} should come next`
  }
}

/** The file differs from what was applied. Put the old text back and write a new migration. */
export class ChangedAfterApply extends Schema.TaggedError<ChangedAfterApply>()("ChangedAfterApply", {
  file: Schema.String,
  appliedChecksum: Schema.String,
  fileChecksum: Schema.String,
}) {
  override get message(): string {
    return `${this.file} was changed after it was applied`
  }
}

/** The database has a migration whose file is gone: it may belong to a newer version of the program. */
export class AppliedFileMissing extends Schema.TaggedError<AppliedFileMissing>()("AppliedFileMissing", {
  file: Schema.String,
}) {
  override get message(): string {
    return `${this.file} was applied to this database, but the file is missing; is the database from a newer version?`
  }
}

/** The file is pending although a later one is applied. */
export class OutOfOrder extends Schema.TaggedError<OutOfOrder>()("OutOfOrder", {
  file: Schema.String,
  newestApplied: Schema.String,
}) {
  override get message(): string {
    return `${this.file} is not applied, although ${this.newestApplied} already is`
  }
}

/** The SQL failed. Nothing of this file was kept; the ones before it were. */
export class StatementFailed extends Schema.TaggedError<StatementFailed>()("StatementFailed", {
  file: Schema.String,
  direction: Schema.Literals(["up", "down"]),
  detail: Schema.String,
  cause: Schema.Defect(),
}) {
  override get message(): string {
    return `${this.file} failed (${this.direction}) and was undone: ${this.detail}`
  }
}

/** The file's down part is empty: it cannot be rolled back. */
export class Irreversible extends Schema.TaggedError<Irreversible>()("Irreversible", {
  file: Schema.String,
}) {
  override get message(): string {
    return `${this.file} has nothing in its down part and cannot be rolled back`
  }
}

/** Everything that stops a migration. */
const MigrationErrorReason = Schema.Union([
  Unreadable,
  Malformed,
  DuplicateId,
  IdGap,
  ChangedAfterApply,
  AppliedFileMissing,
  OutOfOrder,
  StatementFailed,
  Irreversible,
])

/** Migrations stopped; `reason` says at which file and why. */
export class MigrationError extends Schema.TaggedError<MigrationError>()("MigrationError", {
  reason: MigrationErrorReason,
}) {
  override readonly cause = this.reason

  override get message(): string {
    return this.reason.message
  }
}
