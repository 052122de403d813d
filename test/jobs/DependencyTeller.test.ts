import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { DependencyTeller } from "../../src/jobs/DependencyTeller.ts"
import { JobStore } from "../../src/jobs/JobStore.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { settle } from "../support/Turns.ts"
import { enqueued } from "./JobHistories.ts"
import { START, store } from "./QueueFixture.ts"

it.effect("a job that ends while it is found out whether anybody waits is told of", () =>
  Effect.gen(function* () {
    const journal = yield* Journal
    const real = yield* JobStore
    const write = (stream: string, expectedVersion: number, event: { readonly _tag: string }) =>
      journal.append([{ stream, expectedVersion, events: [event] }], START)
    yield* write("job_1", 0, enqueued())
    yield* write("job_2", 0, { ...enqueued(), depends_on: ["job_1"] } as ReturnType<typeof enqueued>)
    let ends = 0
    const end = Effect.suspend(() =>
      ends++ === 0
        ? Effect.tap(write("job_1", 1, { _tag: "JobCancelled" }), () => Effect.sync(() => teller.ended()))
        : Effect.void,
    )
    const teller: DependencyTeller = new DependencyTeller({
      ...real,
      hasDependencies: Effect.andThen(end, real.hasDependencies),
    })
    const told: Array<string> = []
    yield* Effect.forkChild(
      teller.run(({ dependent, outcome }) =>
        Effect.sync(() => told.push(`${dependent} ${outcome}`)).pipe(
          Effect.andThen(write("job_2", 1, { _tag: "JobCancelled" })),
        ),
      ),
    )
    yield* settle
    expect(told).toEqual(["job_2 cancelled"])
  }).pipe(Effect.provide(store)),
)
