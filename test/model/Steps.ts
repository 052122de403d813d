/** Steps of a workload, as they are taken in a {@link World}, and what the reference expects of each. */
import { isDeepStrictEqual } from "node:util"
import { Cause, Effect, Exit, Fiber } from "effect"
import type { Queue } from "../../src/jobs/Queue.ts"
import { JournalError } from "../../src/journal/Journal.ts"
import type { Submission } from "../../src/jobs/Submission.ts"
import type { Reference } from "./Reference.ts"
import type { Plan, Step } from "./Workload.ts"
import type { World } from "./World.ts"

/** A step that asks the queues for something. */
export type Request = Exclude<Step, { readonly do: "wait" | "restart" | "kill" | "fill disk" | "free disk" }>

/** `ok`, or the tag of the error; a refusal of the store by its reason. */
export type Answer = string

const submission = (
  world: World,
  { dependsOn, idempotencyKey, queue, repeats, script, ...plan }: Plan,
  refs: ReadonlyArray<string> = [],
): Submission => {
  const { now } = world.simulation
  const known = [...world.acknowledged, ...refs]
  const twin = repeats ? world.reference.keys.get(`${queue} ${idempotencyKey}`) : undefined
  const names =
    known.length === 0 ? [] : dependsOn.map((of) => known[known.length - 1 - (of % known.length)]!)
  return {
    queue,
    idempotencyKey,
    type: twin?.type ?? plan.type,
    payload: twin?.payload ?? { ...script },
    priority: plan.priority,
    maxAttempts: plan.maxAttempts,
    concurrencyKey: plan.concurrencyKey,
    dueAt: plan.delay === undefined ? undefined : now + plan.delay,
    expiresAt: plan.expiresIn === undefined ? undefined : now + plan.expiresIn,
    dependsOn: names.length === 0 ? undefined : names,
    onDependencyFailure: plan.policy,
  }
}

/** The job that a step is about; undefined while there is none. */
const jobOf = (world: World, of: number) => world.acknowledged.at(-1 - (of % world.acknowledged.length))

/** What is asked for, with everything filled in. */
export type Order =
  | { readonly do: "submit"; readonly submissions: ReadonlyArray<Submission>; readonly isBatch: boolean }
  | {
      readonly do: "command"
      readonly id: string
      readonly step: Extract<Request, { readonly of: number }>
    }
  | { readonly do: "govern"; readonly step: Extract<Request, { readonly queue: string }> }

export const orderOf = (world: World, step: Request): Order | undefined => {
  if (step.do === "enqueue")
    return { do: "submit", submissions: [submission(world, step.plan)], isBatch: false }
  if (step.do === "batch") {
    const submissions = step.plans.map((plan, i) => ({
      ...submission(
        world,
        plan,
        step.plans.slice(0, i).map((_, earlier) => `#${earlier}`),
      ),
      ref: `#${i}`,
    }))
    // Also with those that others depend on last.
    return {
      do: "submit",
      submissions: step.plans.length % 2 === 0 ? submissions : submissions.toReversed(),
      isBatch: true,
    }
  }
  if (!("of" in step)) return { do: "govern", step }
  const id = jobOf(world, step.of)
  return id === undefined ? undefined : { do: "command", id, step }
}

const answerOf = (exit: Exit.Exit<unknown, { readonly _tag: string }>): Answer => {
  if (Exit.isSuccess(exit)) return "ok"
  const error = exit.cause.reasons.find(Cause.isFailReason)?.error
  if (error === undefined)
    return Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : Cause.pretty(exit.cause)
  return error instanceof JournalError ? error.reason._tag : error._tag
}

/** Asks for it. What is acknowledged is looked up at once. */
export const send = (world: World, order: Order): Effect.Effect<Answer> =>
  Effect.suspend(() => {
    const { process } = world
    const sent = Effect.flatMap(process.queue, (queue) => sendTo(world, queue, order))
    // With the process the request is gone, whether or not it could be interrupted.
    return Effect.flatMap(Effect.forkDetach(Effect.exit(sent)), (request) =>
      Effect.raceFirst(Effect.map(Fiber.join(request), answerOf), Effect.as(process.death, "no answer")),
    )
  })

const sendTo = (
  world: World,
  queue: Queue["Service"],
  order: Order,
): Effect.Effect<unknown, { readonly _tag: string }> => {
  const { simulation } = world
  if (order.do === "submit") {
    const [first] = order.submissions
    const enqueued = order.isBatch
      ? queue.submitBatch(order.submissions)
      : Effect.map(queue.submit(first!), (one) => [one])
    return Effect.map(enqueued, (all) => {
      for (const [i, { deduplicated, id }] of all.entries()) {
        world.acknowledge(id)
        const { idempotencyKey, queue: name } = order.submissions[i]!
        if (idempotencyKey !== undefined && world.reference.keys.get(`${name} ${idempotencyKey}`)?.id !== id)
          world.break(`${id} is not whose key ${idempotencyKey} is`)
        if (deduplicated && idempotencyKey === undefined) world.break(`${id} repeats nothing`)
      }
    })
  }
  if (order.do === "govern") {
    const { step } = order
    return step.do === "limit" ? queue.limit(step.queue, step.limits) : queue[step.do](step.queue)
  }
  const { id, step } = order
  switch (step.do) {
    case "cancel":
      return queue.cancel(id)
    case "retry":
      return queue.retry(id)
    case "reschedule":
      return queue.reschedule(id, simulation.now + step.in)
    case "prioritize":
      return queue.prioritize(id, step.priority)
    default:
      return step satisfies never
  }
}

/** What the answer must be as things stand, and the event with which the stream of the job or the queue must go on. */
export interface Expectation {
  readonly answers: ReadonlyArray<Answer>
  readonly stream?: string
  readonly event?: string | undefined
}

export const expectationOf = (reference: Reference, order: Order, now: number): Expectation => {
  if (order.do === "submit") return { answers: submitted(reference, order.submissions, now) }
  if (order.do === "govern") {
    const { step } = order
    const stream = `queue/${step.queue}`
    const { draining, isKnown, limits, paused } = reference.queue(step.queue)
    if (step.do === "limit") {
      const isSame = isDeepStrictEqual(limits, step.limits)
      return { answers: ["ok"], stream, event: isSame ? undefined : "QueueLimitsChanged" }
    }
    // One that somebody only asked for may be known to this process, and has nothing to pause.
    if (!isKnown) return { answers: ["QueueNotFound", "ok"] }
    if (step.do === "pause") return { answers: ["ok"], stream, event: paused ? undefined : "QueuePaused" }
    if (step.do === "drain")
      return { answers: ["ok"], stream, event: draining ? undefined : "QueueDrainStarted" }
    return { answers: ["ok"], stream, event: paused || draining ? "QueueResumed" : undefined }
  }
  const { id: stream, step } = order
  const { due_at, priority, status } = reference.jobs.get(stream)!
  const conflict = { answers: ["JobConflict"], stream }
  const isUnstarted = status === "waiting" || status === "blocked"
  switch (step.do) {
    case "cancel":
      if (status === "completed" || status === "dead_letter") return conflict
      return { answers: ["ok"], stream, event: status === "cancelled" ? undefined : "JobCancelled" }
    case "retry":
      if (status === "dead_letter" || status === "cancelled")
        return { answers: ["ok"], stream, event: "JobRedriven" }
      if (status !== "waiting") return conflict
      return { answers: ["ok"], stream, event: due_at > now ? "JobRescheduled" : undefined }
    case "reschedule":
      if (!isUnstarted) return conflict
      return { answers: ["ok"], stream, event: due_at === now + step.in ? undefined : "JobRescheduled" }
    case "prioritize":
      if (!isUnstarted) return conflict
      return { answers: ["ok"], stream, event: priority === step.priority ? undefined : "JobReprioritized" }
    default:
      return step satisfies never
  }
}

/** All are taken, or none. Where several things are wrong, any of them may be told. */
const submitted = (
  reference: Reference,
  all: ReadonlyArray<Submission>,
  now: number,
): ReadonlyArray<Answer> => {
  const isLate = ({ dueAt = now, expiresAt = Infinity }: Submission) => expiresAt <= dueAt
  if (all.some((one) => one.idempotencyKey === undefined && isLate(one))) return ["AlreadyExpired"]
  const requests = new Map(
    [...reference.keys].map(([key, { payload, type }]) => [key, JSON.stringify([type, payload])]),
  )
  const faults = new Set<Answer>()
  const own = new Set<string>()
  let drains = false
  for (const one of all) {
    const key = `${one.queue} ${one.idempotencyKey}`
    const request = JSON.stringify([one.type, one.payload])
    const known = one.idempotencyKey === undefined ? undefined : requests.get(key)
    if (known !== undefined && known !== request) faults.add("IdempotencyKeyReused")
    // Of two requests with one key the one that others depend on comes first, and is the new one.
    if (own.has(key) && all.some(isLate))
      return ["ok", "QueueDraining", "AlreadyExpired", "IdempotencyKeyReused"]
    if (known !== undefined) continue
    if (isLate(one)) faults.add("AlreadyExpired")
    if (reference.queue(one.queue!).draining) drains = true
    if (one.idempotencyKey === undefined) continue
    requests.set(key, request)
    own.add(key)
  }
  if (faults.size > 0) return [...faults]
  return [drains ? "QueueDraining" : "ok"]
}
