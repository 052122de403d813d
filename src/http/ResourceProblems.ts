/**
 * Problems with the state of a resource: it does not exist (404, 410), its state forbids the change (409), or the change
 * is well formed and still cannot be carried out (422).
 */
import { Effect, Schema } from "effect"
import { Problem, RetryAfterSeconds } from "./Problem.ts"

/** Seconds. Most requests have finished by then. */
const IN_PROGRESS_PAUSE_SECONDS = 1

/** The state that forbids the change. */
const currentStatus = { current_status: Schema.optionalKey(Schema.String) }

export class UserNotFoundProblem extends Problem<UserNotFoundProblem>()("UserNotFoundProblem", {
  slug: "user-not-found",
  status: 404,
  title: "No such user",
  cause: "No user has this id, or it is not visible to the caller.",
  cure: "Check the id.",
}) {}

export class ProjectNotFoundProblem extends Problem<ProjectNotFoundProblem>()("ProjectNotFoundProblem", {
  slug: "project-not-found",
  status: 404,
  title: "No such project",
  cause: "No project has this id, or it is not visible to the caller.",
  cure: "Check the id against GET /v1/projects.",
}) {}

export class RenderNotFoundProblem extends Problem<RenderNotFoundProblem>()("RenderNotFoundProblem", {
  slug: "render-not-found",
  status: 404,
  title: "No such render",
  cause: "No render has this id, or it is not visible to the caller.",
  cure: "Check the id against the renders of its project.",
}) {}

export class AssetNotFoundProblem extends Problem<AssetNotFoundProblem>()("AssetNotFoundProblem", {
  slug: "asset-not-found",
  status: 404,
  title: "No such asset",
  cause: "No asset has this id, or it is not visible to the caller.",
  cure: "Check the id against the assets of its project.",
}) {}

export class AutomationNotFoundProblem extends Problem<AutomationNotFoundProblem>()(
  "AutomationNotFoundProblem",
  {
    slug: "automation-not-found",
    status: 404,
    title: "No such automation",
    cause: "No automation has this id, or it is not visible to the caller.",
    cure: "Check the id against GET /v1/automations.",
  },
) {}

export class ApiKeyNotFoundProblem extends Problem<ApiKeyNotFoundProblem>()("ApiKeyNotFoundProblem", {
  slug: "api-key-not-found",
  status: 404,
  title: "No such API key",
  cause: "No key has this id, or it belongs to another owner.",
  cure: "Check the id against GET /v1/api-keys.",
}) {}

export class QueueNotFoundProblem extends Problem<QueueNotFoundProblem>()("QueueNotFoundProblem", {
  slug: "queue-not-found",
  status: 404,
  title: "No such queue",
  cause: "No queue of this name ever had a job, and nobody has set it up.",
  cure: "Check the name against GET /v1/queues, or set it up with PUT /v1/queues/{name}.",
}) {}

export class QueueDrainingProblem extends Problem<QueueDrainingProblem>()("QueueDrainingProblem", {
  slug: "queue-draining",
  status: 409,
  title: "The queue takes no new jobs",
  cause: "An operator drains the queue: it works off the jobs it has and takes no others.",
  cure: "Submit to another queue, or wait until it is resumed with POST /v1/queues/{name}/resume.",
}) {}

export class JobNotFoundProblem extends Problem<JobNotFoundProblem>()("JobNotFoundProblem", {
  slug: "job-not-found",
  status: 404,
  title: "No such job",
  cause: "No job has this id, or it is not visible to the caller.",
  cure: "Check the id against GET /v1/jobs.",
}) {}

export class ScheduleNotFoundProblem extends Problem<ScheduleNotFoundProblem>()("ScheduleNotFoundProblem", {
  slug: "schedule-not-found",
  status: 404,
  title: "No such schedule",
  cause: "No schedule has this id, or it is not visible to the caller.",
  cure: "Check the id against GET /v1/schedules.",
}) {}

export class ConflictProblem extends Problem<ConflictProblem>()("ConflictProblem", {
  slug: "conflict",
  status: 409,
  title: "The request conflicts with the current state",
  cause: "Something else changed the resource at the same time, or its state does not allow this.",
  cure: "Fetch the resource and decide again.",
}) {}

export class DuplicateResourceProblem extends Problem<DuplicateResourceProblem>()(
  "DuplicateResourceProblem",
  {
    slug: "duplicate-resource",
    status: 409,
    title: "It exists already",
    cause: "Another resource has the same unique name or key.",
    cure: "Choose another name, or use the one that exists.",
  },
) {}

export class IdempotencyInProgressProblem extends Problem<IdempotencyInProgressProblem>()(
  "IdempotencyInProgressProblem",
  {
    slug: "idempotency-in-progress",
    status: 409,
    title: "The first request is still running",
    cause: "A request with the same Idempotency-Key has not finished yet.",
    cure: "Send the same request again after `retry_after` seconds.",
  },
  {
    retry_after: RetryAfterSeconds.pipe(
      Schema.withConstructorDefault(Effect.succeed(IN_PROGRESS_PAUSE_SECONDS)),
    ),
  },
) {}

export class RenderNotCancellableProblem extends Problem<RenderNotCancellableProblem>()(
  "RenderNotCancellableProblem",
  {
    slug: "render-not-cancellable",
    status: 409,
    title: "The render cannot be cancelled",
    cause: "The render has already ended.",
    cure: "Nothing is left to cancel; start a new render.",
  },
  currentStatus,
) {}

export class RenderNotCompleteProblem extends Problem<RenderNotCompleteProblem>()(
  "RenderNotCompleteProblem",
  {
    slug: "render-not-complete",
    status: 409,
    title: "The render has no output yet",
    cause: "Output exists only once the render has completed.",
    cure: "Follow its events, or ask again later.",
  },
  currentStatus,
) {}

export class JobNotCancellableProblem extends Problem<JobNotCancellableProblem>()(
  "JobNotCancellableProblem",
  {
    slug: "job-not-cancellable",
    status: 409,
    title: "The job cannot be cancelled",
    cause: "The job has already ended.",
    cure: "Nothing is left to cancel; a dead letter can be retried or left.",
  },
  currentStatus,
) {}

export class AssetInUseProblem extends Problem<AssetInUseProblem>()(
  "AssetInUseProblem",
  {
    slug: "asset-in-use",
    status: 409,
    title: "The asset is in use",
    cause: "A live render or an automation refers to the asset.",
    cure: "End or change what `references` lists, then delete it.",
  },
  { references: Schema.Array(Schema.String) },
) {}

export class StaleLeaseProblem extends Problem<StaleLeaseProblem>()("StaleLeaseProblem", {
  slug: "stale-lease",
  status: 409,
  title: "The lease is no longer held",
  cause: "The work was handed to someone else after the lease ran out; this answer came too late.",
  cure: "Drop the result: the newer attempt decides.",
}) {}

export class GoneProblem extends Problem<GoneProblem>()("GoneProblem", {
  slug: "gone",
  status: 410,
  title: "It is gone for good",
  cause: "The resource existed and was removed, or its link has expired.",
  cure: "Forget the link; fetch a new one from the resource that owned it.",
}) {}

export class UnprocessableEntityProblem extends Problem<UnprocessableEntityProblem>()(
  "UnprocessableEntityProblem",
  {
    slug: "unprocessable-entity",
    status: 422,
    title: "The request cannot be carried out",
    cause: "Every field is valid, but together they ask for something that is not possible.",
    cure: "Read `detail`.",
  },
) {}

export class IdempotencyKeyReusedProblem extends Problem<IdempotencyKeyReusedProblem>()(
  "IdempotencyKeyReusedProblem",
  {
    slug: "idempotency-key-reused",
    status: 422,
    title: "The idempotency key belongs to another request",
    cause: "The same Idempotency-Key came before with a different body, query or If-Match.",
    cure: "Use a new key for a new request.",
  },
) {}

export class InsufficientCreditsProblem extends Problem<InsufficientCreditsProblem>()(
  "InsufficientCreditsProblem",
  {
    slug: "insufficient-credits",
    status: 422,
    title: "Not enough credits",
    cause: "The account holds fewer credits than this costs.",
    cure: "Add credits, or ask for something smaller.",
  },
  { required: Schema.Finite, balance: Schema.Finite },
) {}
