/**
 * The pool of render threads, seen from the main thread: a bounded number, reused between tasks, started when needed
 * and closed when idle.
 *
 * Interrupting a task cancels it within a frame; a thread that does not answer in time is ended. A thread that dies
 * fails its task with `WorkerDied` and is replaced.
 */
import { Context, Effect, Layer, Pool, Schema, type Scope } from "effect"
import { rm } from "node:fs/promises"
import { availableParallelism } from "node:os"
import { Worker } from "node:worker_threads"
import { Compositions } from "../Compositions.ts"
import { RenderError, RenderErrorReason, WorkerDied } from "../RenderError.ts"
import type { FromThread, ReasonData, RenderTask, TaskResults, ThreadSetup, ToThread } from "./RenderTask.ts"

const ENTRY = new URL("./RenderThread.ts", import.meta.url)
/** An unused thread is closed after this long; it holds about 100 MB. */
const IDLE_CLOSE = "1 minute"
/** How long a cancelled task may take to stop before its thread is ended (milliseconds). */
const CANCEL_GRACE_MS = 2_000
/** JavaScript heap of one thread; pixels are outside it. */
const HEAP_MB_MAX = 512

/** One thread. `death` is set once it has ended, with the cause when there is one. */
interface Thread {
  readonly worker: Worker
  death: string | undefined
}

const died = (detail: string): RenderError => new RenderError({ reason: new WorkerDied({ detail }) })

const decodeReason = Schema.decodeUnknownSync(RenderErrorReason)
const errorOf = (reason: ReasonData): RenderError => new RenderError({ reason: decodeReason(reason) })

const spawnThread = (setup: ThreadSetup): Effect.Effect<Thread, RenderError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Thread, RenderError>((resume) => {
      const worker = new Worker(ENTRY, {
        workerData: setup,
        execArgv: [],
        resourceLimits: { maxOldGenerationSizeMb: HEAP_MB_MAX },
      })
      const thread: Thread = { worker, death: undefined }
      worker.once("message", () => resume(Effect.succeed(thread)))
      worker.on("error", (error) => {
        thread.death = error instanceof Error ? error.message : String(error)
      })
      worker.once("exit", (code) => {
        thread.death ??= `it ended with code ${code}`
        resume(Effect.fail(died(thread.death)))
      })
      return Effect.promise(() => worker.terminate())
    }),
    (thread) => Effect.promise(() => thread.worker.terminate()),
  )

/** Runs a task in a thread. On interruption, answers only when the task has stopped or the thread is gone. */
const runIn = <K extends RenderTask["kind"]>(
  thread: Thread,
  task: Extract<RenderTask, { readonly kind: K }>,
  onFrames: (done: number) => void,
): Effect.Effect<TaskResults[K], RenderError> =>
  Effect.callback((resume) => {
    const { worker } = thread
    const send = (message: ToThread) => worker.postMessage(message, [])
    const stopped = Promise.withResolvers<void>()
    const settle = (effect: Effect.Effect<TaskResults[K], RenderError>): void => {
      worker.off("message", onMessage)
      worker.off("exit", onExit)
      stopped.resolve()
      resume(effect)
    }
    const onMessage = (message: FromThread): void => {
      switch (message.type) {
        case "frames":
          return onFrames(message.done)
        case "done":
          return settle(Effect.succeed(message.result as TaskResults[K]))
        case "failed":
          return settle(Effect.fail(errorOf(message.reason)))
        case "cancelled":
          return settle(Effect.interrupt)
      }
    }
    const onExit = (): void => settle(Effect.fail(died(thread.death ?? "it ended")))
    if (thread.death !== undefined) return onExit()
    worker.on("message", onMessage)
    worker.on("exit", onExit)
    send({ type: "run", task })
    return Effect.promise(async () => {
      const timer = setTimeout(() => void worker.terminate(), CANCEL_GRACE_MS)
      send({ type: "cancel" })
      await stopped.promise
      clearTimeout(timer)
    })
  })

/** Threads when no number is configured: one, or two where that leaves a core for HTTP. */
const defaultThreads = (): number => Math.max(1, Math.min(2, availableParallelism() - 1))

export class RenderThreads extends Context.Service<
  RenderThreads,
  {
    /** Runs one task in a thread of the pool, waiting for one if all are busy. `onFrames` hears of finished frames. */
    readonly run: <K extends RenderTask["kind"]>(
      task: Extract<RenderTask, { readonly kind: K }>,
      onFrames?: (done: number) => void,
    ) => Effect.Effect<TaskResults[K], RenderError>
  }
>()("renderowl/domain/renders/RenderThreads") {
  static readonly layer = (
    config: { readonly workers?: number } = {},
  ): Layer.Layer<RenderThreads, never, Compositions> =>
    Layer.effect(
      RenderThreads,
      Effect.gen(function* () {
        const { modules } = yield* Compositions
        const pool = yield* Pool.makeWithTTL({
          acquire: spawnThread({ modules }),
          min: 0,
          max: config.workers ?? defaultThreads(),
          timeToLive: IDLE_CLOSE,
        })
        const run = <K extends RenderTask["kind"]>(
          task: Extract<RenderTask, { readonly kind: K }>,
          onFrames: (done: number) => void = () => {},
        ): Effect.Effect<TaskResults[K], RenderError> =>
          Effect.gen(function* () {
            const thread = yield* Pool.get(pool)
            if (thread.death !== undefined) {
              // It died while nobody used it: nothing is lost, take another.
              yield* Pool.invalidate(pool, thread)
              return undefined
            }
            const exit = yield* runIn<K>(thread, task, onFrames).pipe(
              Effect.onExit(() =>
                thread.death === undefined
                  ? Effect.void
                  : // A thread that was ended could not remove its half-written file.
                    Effect.promise(() =>
                      "temporary" in task ? rm(task.temporary, { force: true }) : Promise.resolve(),
                    ).pipe(Effect.andThen(Pool.invalidate(pool, thread))),
              ),
              Effect.exit,
            )
            return exit
          }).pipe(
            Effect.scoped,
            Effect.flatMap((exit) => (exit === undefined ? run<K>(task, onFrames) : exit)),
          )
        return { run }
      }),
    )
}
