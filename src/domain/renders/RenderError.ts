/**
 * What can go wrong with a render, as one error with a typed reason.
 *
 * Reasons also cross the thread boundary, so they carry data only. `retryable` says whether the same request may
 * succeed later; HTTP statuses are decided elsewhere.
 */
import { Schema } from "effect"
import { FieldErrors } from "../../http/FieldError.ts"

export class UnknownComposition extends Schema.TaggedError<UnknownComposition>()("UnknownComposition", {
  composition_id: Schema.String,
  /** The ids that exist. */
  known: Schema.Array(Schema.String),
}) {
  override get message(): string {
    return `There is no composition ${JSON.stringify(this.composition_id)}; there are ${this.known.join(", ")}`
  }
}

/** The props or output settings do not hold: every fault, under `input_props` or `output_settings`. */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>()("InvalidRequest", {
  errors: FieldErrors,
}) {
  override get message(): string {
    return this.errors.map(({ field, message }) => `${field} ${message}`).join("; ")
  }
}

/** The composition's own code threw, for example because an inline image could not be decoded. */
export class DrawFailed extends Schema.TaggedError<DrawFailed>()("DrawFailed", {
  composition_id: Schema.String,
  /** The frame being drawn; null while the composition was being made ready. */
  frame: Schema.NullOr(Schema.Int),
  detail: Schema.String,
}) {
  override get message(): string {
    return `${this.composition_id} could not draw ${this.frame === null ? "its media" : `frame ${this.frame}`}: ${this.detail}`
  }
}

/** The plan names an encoder that this machine does not have (any more). */
export class EncoderUnavailable extends Schema.TaggedError<EncoderUnavailable>()("EncoderUnavailable", {
  encoder: Schema.String,
}) {
  override get message(): string {
    return `The encoder ${this.encoder} is not available on this machine`
  }
}

export class EncoderFailed extends Schema.TaggedError<EncoderFailed>()("EncoderFailed", {
  encoder: Schema.String,
  detail: Schema.String,
}) {
  override get message(): string {
    return `The encoder ${this.encoder} failed: ${this.detail}`
  }
}

/** A finished segment is gone, damaged, or does not belong to the others; rendering it again mends that. */
export class SegmentUnusable extends Schema.TaggedError<SegmentUnusable>()("SegmentUnusable", {
  index: Schema.Int,
  detail: Schema.String,
}) {
  override get message(): string {
    return `Segment ${this.index} cannot be used: ${this.detail}`
  }
}

/** The thread that drew the frames ended; it is replaced. */
export class WorkerDied extends Schema.TaggedError<WorkerDied>()("WorkerDied", { detail: Schema.String }) {
  override get message(): string {
    return `A render thread died: ${this.detail}`
  }
}

export class DiskFull extends Schema.TaggedError<DiskFull>()("DiskFull", { path: Schema.String }) {
  override get message(): string {
    return `No space left on the device for ${this.path}`
  }
}

/** The file system refused for another reason than space. */
class StorageFailed extends Schema.TaggedError<StorageFailed>()("StorageFailed", {
  path: Schema.String,
  detail: Schema.String,
}) {
  override get message(): string {
    return `${this.path} could not be written or read: ${this.detail}`
  }
}

/** Every reason a render can fail for. */
export const RenderErrorReason = Schema.Union([
  UnknownComposition,
  InvalidRequest,
  DrawFailed,
  EncoderUnavailable,
  EncoderFailed,
  SegmentUnusable,
  WorkerDied,
  DiskFull,
  StorageFailed,
])
export type RenderErrorReason = typeof RenderErrorReason.Type

const FINAL: ReadonlySet<RenderErrorReason["_tag"]> = new Set([
  "UnknownComposition",
  "InvalidRequest",
  "DrawFailed",
])

/** The error of the render engine. */
export class RenderError extends Schema.TaggedError<RenderError>()("RenderError", {
  reason: RenderErrorReason,
}) {
  override get message(): string {
    return this.reason.message
  }

  /** Whether the same request may succeed when tried again. */
  get retryable(): boolean {
    return !FINAL.has(this.reason._tag)
  }
}

const codeOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "code" in error ? error.code : undefined

/** Whether an exception came from the file system. */
export const isFileError = (error: unknown): boolean => error instanceof Error && "syscall" in error

/** The reason behind an exception of a file operation on `path`. */
export const storageReason = (error: unknown, path: string): RenderErrorReason =>
  codeOf(error) === "ENOSPC" || codeOf(error) === "EDQUOT"
    ? new DiskFull({ path })
    : new StorageFailed({ path, detail: error instanceof Error ? error.message : String(error) })
