/**
 * Problems on RenderOwl's side. They say that something failed and when to come back, never what: the cause is in the log
 * under the same `trace_id`.
 */
import { Effect, Schema } from "effect"
import { Problem, RetryAfterSeconds } from "./Problem.ts"

/** Seconds. A full mailbox or a failed commit is usually over well before. */
const BRIEF_PAUSE_SECONDS = 1
/** Seconds. A restart takes a few. */
const RESTART_PAUSE_SECONDS = 5
/** Seconds. Maintenance is planned, and longer. */
const MAINTENANCE_PAUSE_SECONDS = 300

const retryAfter = (seconds: number) => ({
  retry_after: RetryAfterSeconds.pipe(Schema.withConstructorDefault(Effect.succeed(seconds))),
})

export class InternalErrorProblem extends Problem<InternalErrorProblem>()("InternalErrorProblem", {
  slug: "internal-error",
  status: 500,
  title: "Something went wrong on our side",
  cause: "RenderOwl met a fault that it did not expect.",
  cure: "Try again; if it lasts, report `trace_id`.",
}) {}

export class ResponseTooLargeProblem extends Problem<ResponseTooLargeProblem>()(
  "ResponseTooLargeProblem",
  {
    slug: "response-too-large",
    status: 500,
    title: "The answer is too large",
    cause:
      "The answer has more bytes than one answer may. What the request was to change may have been changed.",
    cure: "Ask for less at a time, for instance with a smaller `limit`.",
  },
  { limit_bytes: Schema.Int },
) {}

export class DatabaseErrorProblem extends Problem<DatabaseErrorProblem>()("DatabaseErrorProblem", {
  slug: "database-error",
  status: 500,
  title: "The database failed",
  cause: "A query failed in a way that trying again does not help.",
  cure: "Report `trace_id` to the operator.",
}) {}

export class QueueErrorProblem extends Problem<QueueErrorProblem>()("QueueErrorProblem", {
  slug: "queue-error",
  status: 500,
  title: "The queue failed",
  cause: "The queue could not carry out the command.",
  cure: "Report `trace_id` to the operator.",
}) {}

export class BadGatewayProblem extends Problem<BadGatewayProblem>()("BadGatewayProblem", {
  slug: "bad-gateway",
  status: 502,
  title: "Another server did not answer as it should",
  cause: "RenderOwl asked another server for something and got no connection, or no answer that can be used.",
  cure: "Check the URL and the server behind it, and try again.",
}) {}

export class ServiceUnavailableProblem extends Problem<ServiceUnavailableProblem>()(
  "ServiceUnavailableProblem",
  {
    slug: "service-unavailable",
    status: 503,
    title: "The service is not available right now",
    cause:
      "RenderOwl is starting, stopping, has more requests than it takes at a time, or cannot write to its store. Nothing of the request was kept.",
    cure: "Try again after `retry_after` seconds.",
  },
  retryAfter(RESTART_PAUSE_SECONDS),
) {}

export class MaintenanceModeProblem extends Problem<MaintenanceModeProblem>()(
  "MaintenanceModeProblem",
  {
    slug: "maintenance-mode",
    status: 503,
    title: "Closed for maintenance",
    cause: "The operator has closed RenderOwl for a while.",
    cure: "Try again after `retry_after` seconds.",
  },
  retryAfter(MAINTENANCE_PAUSE_SECONDS),
) {}

export class MailboxFullProblem extends Problem<MailboxFullProblem>()(
  "MailboxFullProblem",
  {
    slug: "mailbox-full",
    status: 503,
    title: "Too much at once",
    cause:
      "The actor behind this resource has as many waiting commands as it takes. Nothing of the request was kept.",
    cure: "Try again after `retry_after` seconds.",
  },
  retryAfter(BRIEF_PAUSE_SECONDS),
) {}

export class GatewayTimeoutProblem extends Problem<GatewayTimeoutProblem>()("GatewayTimeoutProblem", {
  slug: "gateway-timeout",
  status: 504,
  title: "No answer in time",
  cause: "Something that RenderOwl depends on did not answer in time; the request may still take effect.",
  cure: "Ask for the state of the resource before trying again, or use an Idempotency-Key.",
}) {}
