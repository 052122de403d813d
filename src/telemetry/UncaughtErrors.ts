/**
 * Errors that nobody has caught, and promises whose failure nobody has looked at: the first is logged and ends the program in
 * good order, with exit code 1. What the process holds in memory cannot be trusted after one, and the journal makes up for
 * it at the next start.
 */
import { Deferred, Effect, Schema, type Scope } from "effect"

/** Nobody had foreseen this; the log has all of it. */
export class UncaughtError extends Schema.TaggedError<UncaughtError>()("UncaughtError", {
  kind: Schema.Literals(["exception", "rejection"]),
  cause: Schema.Defect(),
}) {
  override get message() {
    const cause = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return `an ${this.kind === "exception" ? "uncaught error" : "unhandled rejection"}: ${cause}`
  }
}

/** Fails with the first; those that follow while the program stops are logged as well. Listens while the scope is open. */
export const first: Effect.Effect<never, UncaughtError, Scope.Scope> = Effect.gen(function* () {
  const found = yield* Deferred.make<never, UncaughtError>()
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const onFound = (kind: UncaughtError["kind"]) => (cause: unknown) => {
    const error = new UncaughtError({ kind, cause })
    fork(
      Effect.logFatal(
        kind === "exception" ? "uncaught error" : "unhandled rejection",
        { kind },
        asError(cause),
      ),
    )
    Deferred.doneUnsafe(found, Effect.fail(error))
  }
  const onException = onFound("exception")
  const onRejection = onFound("rejection")
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("uncaughtException", onException).on("unhandledRejection", onRejection)),
    () =>
      Effect.sync(() => process.off("uncaughtException", onException).off("unhandledRejection", onRejection)),
  )
  return yield* Deferred.await(found)
})

const asError = (cause: unknown): Error =>
  cause instanceof Error ? cause : new Error("something that is no error was thrown", { cause })
