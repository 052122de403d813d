import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Health, type HealthCheck } from "../../src/telemetry/Health.ts"
import {
  databaseCheck,
  diskCheck,
  journalCheck,
  memoryCheck,
  migrationsCheck,
  projectionsCheck,
  queueCheck,
  readersCheck,
} from "../../src/api/system/HealthChecks.ts"
import type { QueueActivity } from "../../src/jobs/QueueActor.ts"
import { QueueBehavior } from "../../src/jobs/QueueBehavior.ts"
import { Migrations } from "../../src/sqlite/Migrations.ts"
import { PoolError, PoolSaturated } from "../../src/sqlite/PoolError.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { Observer } from "../../src/telemetry/Observer.ts"
import { onFile } from "../support/TestDatabase.ts"

/** What the health of one check is, after as much time as it may take. */
const reportOf = (...checks: ReadonlyArray<HealthCheck>) =>
  Effect.gen(function* () {
    const report = yield* Effect.forkChild(Effect.flatMap(Health, (health) => health.report))
    yield* TestClock.adjust("2 seconds")
    return yield* Fiber.join(report)
  }).pipe(Effect.provide(Health.layer(Effect.succeed(checks))))

const failing = Effect.fnUntraced(function* (check: HealthCheck, status: string, detail: RegExp) {
  const report = yield* reportOf(check)
  assert.strictEqual(report.status, status)
  assert.deepInclude(report.checks[0], { name: check.name, critical: check.critical, status: "fail" })
  assert.match(report.checks[0]!.detail, detail)
  return report.checks[0]!
})

const level = (oldestPendingMs: number) => ({
  name: "videos",
  jobs: { waiting: 1, blocked: 0, processing: 0, completed: 0, dead_letter: 0, cancelled: 0 },
  oldestPendingMs,
})

describe("health", () => {
  it.effect("is looked at every 30 seconds, and the answer says how long ago", () =>
    Effect.gen(function* () {
      let looks = 0
      const check = Effect.sync(() => ({ ok: ++looks < 2, detail: String(looks) }))
      yield* Effect.gen(function* () {
        const { report } = yield* Health
        assert.deepInclude((yield* report).checks[0], { status: "pass", age_ms: 0 })
        yield* TestClock.adjust("29 seconds")
        assert.deepInclude((yield* report).checks[0], { status: "pass", age_ms: 29_000 })
        yield* TestClock.adjust("1 second")
        const { checks, status } = yield* report
        assert.deepInclude(checks[0], { status: "fail", age_ms: 0 })
        assert.strictEqual(status, "unhealthy")
      }).pipe(Effect.provide(Health.layer(Effect.succeed([{ name: "some", critical: true, check }]))))
    }),
  )

  it.effect(
    "is bad when the file of the database cannot be written in time; otherwise it really is written",
    () =>
      Effect.gen(function* () {
        const client = yield* SqliteClient
        const changes = () => client.reader.prepare("PRAGMA data_version").get()!["data_version"]
        const before = changes()
        assert.strictEqual((yield* reportOf(databaseCheck(client))).status, "healthy")
        assert.notStrictEqual(changes(), before)
        yield* client.writeLock.take(1)
        const { duration_ms } = yield* failing(databaseCheck(client), "unhealthy", /no answer within 2s/)
        assert.strictEqual(duration_ms, 2_000)
      }).pipe(Effect.provide(onFile)),
  )

  it.effect("is bad when a migration was taken back", () =>
    Effect.gen(function* () {
      const client = yield* SqliteClient
      const migrations = yield* Migrations.load(Migrations.defaultFolder)
      assert.strictEqual((yield* reportOf(migrationsCheck(client, migrations))).status, "healthy")
      yield* Migrations.rollback(client.writer, migrations, 1)
      yield* failing(migrationsCheck(client, migrations), "unhealthy", /^\d+ is pending$/)
    }).pipe(Effect.provide(onFile)),
  )

  it.effect("suffers from a commit that has failed, until the next look", () =>
    Effect.gen(function* () {
      const observer = new Observer()
      const check = yield* journalCheck(observer)
      observer.tell("database", {
        name: "COMMIT",
        ok: false,
        cause: new Error("the disk is gone"),
        startedAt: 0,
        durationMs: 1,
        sql: undefined,
        rows: undefined,
        events: 0,
        traces: [],
        parent: undefined,
      })
      yield* failing(check, "degraded", /^1 commits failed/)
      assert.strictEqual((yield* reportOf(check)).status, "healthy")
    }),
  )

  it.effect("suffers when no reader process answers", () => {
    const error = new PoolError({ reason: new PoolSaturated({ waiting: 1 }) })
    const stats = Effect.succeed({ size: 0, busy: 0, waiting: 1, min: 0, max: 0 })
    return failing(readersCheck({ query: () => Effect.fail(error), stats }), "degraded", /the check failed/)
  })

  it.effect("suffers when a projection fails again and again, or is far behind", () =>
    Effect.gen(function* () {
      const status = { name: "analytics", position: 1, lag: 0, failures: 0 }
      const check = (what: object) => projectionsCheck(Effect.succeed([{ ...status, ...what }]))
      assert.strictEqual((yield* reportOf(check({ failures: 2 }))).status, "healthy")
      yield* failing(check({ failures: 3 }), "degraded", /analytics 0 behind, 3 failures/)
      yield* failing(check({ lag: 100_001 }), "degraded", /analytics 100001 behind/)
    }),
  )

  it.effect("suffers from a queue with due jobs in which nothing moves", () =>
    Effect.gen(function* () {
      const { initial } = QueueBehavior
      const queue = (
        running: number,
        quietMs: number,
        settings: Partial<QueueActivity["settings"]> = {},
      ) => ({
        settings: { ...initial, ...settings },
        running: new Map([["render", running]]),
        lastMinute: { completedPerMinute: 0, failedPerMinute: 0, waitMsAverage: 0, processingMsAverage: 0 },
        quietMs,
        waiting: 0,
      })
      const limits = { ...initial.limits, rate_limit: { starts: 1, per_ms: 3_600_000 } }
      const check = (oldest: number, activity: QueueActivity) =>
        queueCheck(Effect.succeed([level(oldest)]), Effect.succeed(new Map([["videos", activity]])))
      yield* failing(check(60_000, queue(0, 60_000)), "degraded", /1 stuck, such as videos/)
      yield* failing(check(60_000, queue(1, 120_000)), "degraded", /1 stuck, such as videos/)
      for (const well of [
        check(59_999, queue(0, 120_000)),
        check(60_000, queue(0, 59_999)),
        check(60_000, queue(1, 119_999)),
        check(60_000, queue(0, 120_000, { paused: true })),
        check(60_000, queue(0, 120_000, { limits })),
      ])
        assert.strictEqual((yield* reportOf(well)).status, "healthy")
    }),
  )

  it.effect("suffers from a full disk and from a full memory", () =>
    Effect.gen(function* () {
      yield* failing(
        memoryCheck(() => 1),
        "degraded",
        /MB of 0 MB/,
      )
      const found = yield* Effect.forkChild(diskCheck({ data: "." }, Number.MAX_SAFE_INTEGER).check)
      assert.deepInclude(yield* Fiber.join(found), { ok: false })
    }),
  )
})
