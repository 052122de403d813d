/**
 * The one place where domain errors become problems. Errors without a case here are unexpected and end as
 * `internal-error`.
 */
import { Effect, Schema } from "effect"
import type { MailboxFull } from "../../actor/Mailbox.ts"
import type { Quarantined } from "../../actor/ActorSystem.ts"
import type { ApiKeyEnded, ApiKeyNotFound } from "../../domain/keys/ApiKey.ts"
import type { ExpiryPassed, TooManyApiKeys } from "../../domain/keys/ApiKeys.ts"
import type { GrantExceeded, ScopesNotHeld } from "../../domain/keys/KeyGrant.ts"
import type {
  ProjectChangedMeanwhile,
  ProjectIsArchived,
  ProjectNotFound,
} from "../../domain/projects/Project.ts"
import type { RenderError } from "../../domain/renders/RenderError.ts"
import type { RenderNotFound } from "../../domain/renders/Renders.ts"
import { ForbiddenProblem, InsufficientScopeProblem } from "../../http/AccessProblems.ts"
import { fieldErrors } from "../../http/FieldError.ts"
import * as ProblemMapper from "../../http/ProblemMapper.ts"
import { PreconditionFailedProblem, ValidationFailedProblem } from "../../http/RequestProblems.ts"
import {
  ApiKeyNotFoundProblem,
  ConflictProblem,
  GoneProblem,
  IdempotencyKeyReusedProblem,
  JobNotFoundProblem,
  ProjectNotFoundProblem,
  QueueDrainingProblem,
  QueueNotFoundProblem,
  RenderNotFoundProblem,
  ScheduleNotFoundProblem,
  StaleLeaseProblem,
} from "../../http/ResourceProblems.ts"
import { securityProblems } from "../../http/SecurityProblems.ts"
import { MailboxFullProblem, ServiceUnavailableProblem } from "../../http/ServiceProblems.ts"
import type {
  AlreadyExpired,
  IdempotencyKeyReused,
  InvalidDependency,
  InvalidPayload,
  JobConflict,
  JobNotFound,
  QueueDraining,
  QueueNotFound,
  StaleLease,
  TooManyQueues,
  UnknownJobType,
} from "../../jobs/JobErrors.ts"
import type { PoolError } from "../../sqlite/PoolError.ts"
import { toInstant } from "./Timestamp.ts"
import { ArchiveError } from "../../journal/ArchiveError.ts"
import type {
  InvalidSchedule,
  ScheduleNotFound,
  TooManySchedules,
} from "../../jobs/schedules/ScheduleErrors.ts"
import type { JournalError } from "../../journal/Journal.ts"

/** Problems that any route may answer whose work goes through the journal. */
export const StoreProblems = [ServiceUnavailableProblem, MailboxFullProblem, ConflictProblem] as const

/** Problems of every route that submits a job. */
export const SubmitProblems = [ValidationFailedProblem, QueueDrainingProblem, ...StoreProblems] as const

/** Where a job of a batch stands in the body. */
const inBatch = (index: number | undefined): ReadonlyArray<string | number> =>
  index === undefined ? [] : ["jobs", index]

const DEPENDENCY_FAULTS = {
  unknown: (dependency: string) => `${dependency} is not the id of a job that is there`,
  cycle: (dependency: string) => `waits for ${dependency}, which waits for it: a cycle`,
  ambiguous: (ref: string) => `${ref} names two jobs of the batch`,
} as const

export const toProblem = ProblemMapper.make({
  ...securityProblems,
  JobNotFound: ({ id }: JobNotFound) => new JobNotFoundProblem({ detail: `No job has the id ${id}.` }),
  JobConflict: ({ command, status }: JobConflict) =>
    new ConflictProblem({ detail: `A job that is ${status} does not take the command ${command}.` }),
  StaleLease: ({ attempt }: StaleLease) =>
    new StaleLeaseProblem({ detail: `Attempt ${attempt} is not the one that runs.` }),
  UnknownJobType: ({ index, known }: UnknownJobType) =>
    new ValidationFailedProblem({
      detail: "No job type of this name is registered.",
      errors: [
        {
          field: [...inBatch(index), "type"].join("."),
          code: "invalid_value",
          message: `must be one of ${known.join(", ")}`,
        },
      ],
    }),
  InvalidPayload: ({ cause, index, type }: InvalidPayload) =>
    new ValidationFailedProblem({
      detail: `The payload does not fit the job type ${type}.`,
      errors: Schema.isSchemaError(cause) ? fieldErrors(cause.issue, [...inBatch(index), "payload"]) : [],
    }),
  AlreadyExpired: ({ dueAt, expiresAt, index }: AlreadyExpired) =>
    new ValidationFailedProblem({
      detail: "The job would expire before it could start.",
      errors: [
        {
          field: [...inBatch(index), "expires_at"].join("."),
          code: "out_of_range",
          message: `is ${toInstant(expiresAt)}, and must be after ${toInstant(dueAt)}`,
        },
      ],
    }),
  InvalidDependency: ({ dependency, fault, index }: InvalidDependency) =>
    new ValidationFailedProblem({
      detail: "The job cannot depend on that.",
      errors: [
        {
          field: [...inBatch(index), fault === "ambiguous" ? "ref" : "depends_on"].join("."),
          code: "invalid_value",
          message: DEPENDENCY_FAULTS[fault](dependency),
        },
      ],
    }),
  QueueDraining: ({ queue }: QueueDraining) =>
    new QueueDrainingProblem({ detail: `The queue ${queue} takes no new jobs.` }),
  QueueNotFound: ({ name }: QueueNotFound) =>
    new QueueNotFoundProblem({ detail: `No queue is called ${name}.` }),
  IdempotencyKeyReused: ({ id, key }: IdempotencyKeyReused) =>
    new IdempotencyKeyReusedProblem({ detail: `The key ${key} belongs to ${id}, which is another request.` }),
  TooManyQueues: ({ max }: TooManyQueues) =>
    new ConflictProblem({ detail: `There are ${max} queues already, which is as many as there may be.` }),
  ScheduleNotFound: ({ id }: ScheduleNotFound) =>
    new ScheduleNotFoundProblem({ detail: `No schedule has the id ${id}.` }),
  InvalidSchedule: ({ errors }: InvalidSchedule) =>
    new ValidationFailedProblem({ detail: "The schedule cannot be carried out.", errors }),
  TooManySchedules: ({ max }: TooManySchedules) =>
    new ConflictProblem({ detail: `There are ${max} schedules already, which is as many as there may be.` }),
  ProjectNotFound: ({ id }: ProjectNotFound) =>
    new ProjectNotFoundProblem({ detail: `No project has the id ${id}.` }),
  ProjectIsArchived: ({ id }: ProjectIsArchived) =>
    new GoneProblem({ detail: `The project ${id} was archived.` }),
  ProjectChangedMeanwhile: ({ version }: ProjectChangedMeanwhile) =>
    new PreconditionFailedProblem({ current_etag: `"${version}"` }),
  RenderNotFound: ({ id }: RenderNotFound) =>
    new RenderNotFoundProblem({ detail: `No render has the id ${id}.` }),
  RenderError: ({ reason }: RenderError) => {
    switch (reason._tag) {
      case "UnknownComposition":
        return new ValidationFailedProblem({
          detail: "There is no composition of this id.",
          errors: [
            {
              field: "composition_id",
              code: "invalid_value",
              message: `must be one of ${reason.known.join(", ")}`,
            },
          ],
        })
      case "InvalidRequest":
        return new ValidationFailedProblem({ errors: reason.errors })
      default:
        return new ServiceUnavailableProblem({ detail: "The renderer is not available right now." })
    }
  },
  ApiKeyNotFound: ({ id }: ApiKeyNotFound) =>
    new ApiKeyNotFoundProblem({ detail: `No API key has the id ${id}.` }),
  ApiKeyEnded: ({ id, status }: ApiKeyEnded) =>
    new ConflictProblem({ detail: `The key ${id} is ${status}. Make another one.` }),
  ScopesNotHeld: ({ held, required }: ScopesNotHeld) =>
    new InsufficientScopeProblem({
      detail: "A key may do no more than whoever makes, rotates or revokes it.",
      required_scopes: required,
      your_scopes: held,
    }),
  GrantExceeded: ({ what }: GrantExceeded) =>
    new ForbiddenProblem({ detail: `The key's ${what} would go beyond your own.` }),
  TooManyApiKeys: ({ max }: TooManyApiKeys) =>
    new ConflictProblem({ detail: `The owner has ${max} keys already, which is as many as there may be.` }),
  ExpiryPassed: (_: ExpiryPassed) =>
    new ValidationFailedProblem({
      detail: "The key would have ended before it began.",
      errors: [{ field: "expires_at", code: "out_of_range", message: "must be in the future" }],
    }),
  MailboxFull: (_: MailboxFull) => new MailboxFullProblem({}),
  Quarantined: (_: Quarantined) =>
    new ServiceUnavailableProblem({
      detail: "This resource failed repeatedly and is closed for some minutes.",
    }),
  PoolError: (_: PoolError) =>
    new ServiceUnavailableProblem({ detail: "No reader of the database was free in time." }),
  // Why the store refused is the operator's business; the caller is told that nothing was kept.
  JournalError: ({ reason }: JournalError) => {
    if (reason._tag === "VersionConflict")
      return new ConflictProblem({ detail: "Somebody else changed the resource at the same moment." })
    return new ServiceUnavailableProblem({
      detail:
        reason.cause instanceof ArchiveError
          ? "The archive of old jobs cannot be read right now. Nothing was kept."
          : "The store cannot be written right now. Nothing was kept.",
    })
  },
})

/** Errors that cannot happen here: not to find what was just listed or made is a fault of ours, not of the caller. */
export const impossible =
  <const Tags extends ReadonlyArray<string>>(...tags: Tags) =>
  <A, E extends { readonly _tag: string }, R>(
    effect: Effect.Effect<A, E, R>,
  ): Effect.Effect<A, Exclude<E, { readonly _tag: Tags[number] }>, R> =>
    Effect.catch(effect, (error) =>
      tags.includes(error._tag)
        ? Effect.die(error)
        : Effect.fail(error as Exclude<E, { readonly _tag: Tags[number] }>),
    )
