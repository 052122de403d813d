/**
 * What RenderOwl needs to do all of its work: its database and journal, its queues and projections, room on the disk and in
 * memory. Critical is what no request can do without, which are the database and its migrations: a stuck queue, for one, is
 * no reason to send requests to nobody.
 */
import { totalmem } from "node:os"
import { Effect } from "effect"
import { Queue } from "../../jobs/Queue.ts"
import { type QueueLevel, QueueStats } from "../../jobs/QueueStats.ts"
import { stuckQueues } from "../../jobs/StuckQueues.ts"
import { AsyncProjector, type ProjectionStatus } from "../../journal/AsyncProjector.ts"
import { Migrations } from "../../sqlite/Migrations.ts"
import type { Migration } from "../../sqlite/Migration.ts"
import { ReaderPool } from "../../sqlite/ReaderPool.ts"
import { SqliteClient } from "../../sqlite/SqliteClient.ts"
import { disksOf, type Folders } from "../../telemetry/DiskSpace.ts"
import type { HealthCheck } from "../../telemetry/Health.ts"
import { CurrentObserver, type Observer } from "../../telemetry/Observer.ts"

/** Below this there is no room for the write-ahead log of a busy hour. */
const FREE_DISK_BYTES_MIN = 256 * 1024 * 1024
/** Of the memory that the process may use. */
const MEMORY_SHARE_MAX = 0.95
/** Failures in a row of a projection, the waits between them doubling: about 7 seconds. */
const PROJECTION_FAILURES_MAX = 3
/** Events that a projection may be behind: some seconds of catching up. */
const PROJECTION_LAG_MAX = 100_000

const megabytes = (bytes: number) => `${Math.round(bytes / 1024 / 1024)} MB`

/** Writes a page of the journal's file and waits for the disk, as a commit does; the journal is as before. */
export const databaseCheck = ({ reader, writeLock, writer }: SqliteClient["Service"]): HealthCheck => ({
  name: "database",
  critical: true,
  check: writeLock.withPermit(
    Effect.try(() => {
      reader.prepare("SELECT max(position) FROM events").get()
      writer.rewrite()
      return { ok: true, detail: "readable and writable" }
    }),
  ),
})

/** Whether the database is what this program expects: somebody may have rolled back behind its back. */
export const migrationsCheck = (
  { reader }: SqliteClient["Service"],
  migrations: ReadonlyArray<Migration>,
): HealthCheck => ({
  name: "migrations",
  critical: true,
  check: Effect.map(Migrations.status(reader, migrations), (all) => {
    const wrong = all.filter(({ state }) => state !== "applied")
    return wrong.length === 0
      ? { ok: true, detail: `${all.length} applied` }
      : { ok: false, detail: wrong.map(({ id, state }) => `${id} is ${state}`).join(", ") }
  }),
})

/** Commits that have failed since the last check. */
export const journalCheck = (observer: Observer) =>
  Effect.gen(function* () {
    let failures = 0
    yield* observer.on("database", ({ name, ok }) => {
      if (name === "COMMIT" && !ok) failures++
    })
    const check = Effect.sync(() => {
      observer.deliver()
      const found = failures
      failures = 0
      return { ok: found === 0, detail: `${found} commits failed since the last check` }
    })
    return { name: "journal", critical: false, check } satisfies HealthCheck
  })

/** Whether the collector took the spans that it was sent last; well where nobody sends any. */
export const tracesCheck = (observer: Observer) =>
  Effect.gen(function* () {
    let lost = 0
    yield* observer.on("spans", ({ ok, spans }) => {
      lost = ok ? 0 : lost + spans
    })
    const check = Effect.sync(() => {
      observer.deliver()
      return {
        ok: lost === 0,
        detail: lost === 0 ? "the collector takes them, or there is none" : `${lost} spans lost in a row`,
      }
    })
    return { name: "traces", critical: false, check } satisfies HealthCheck
  })

/** Whether a reader process answers. */
export const readersCheck = (pool: ReaderPool["Service"]): HealthCheck => ({
  name: "readers",
  critical: false,
  check: Effect.as(pool.query("SELECT 1"), { ok: true, detail: "answering" }),
})

/** Whether what follows the journal keeps up with it. */
export const projectionsCheck = (status: Effect.Effect<ReadonlyArray<ProjectionStatus>>): HealthCheck => ({
  name: "projections",
  critical: false,
  check: Effect.map(status, (all) => ({
    ok: all.every(({ failures, lag }) => failures < PROJECTION_FAILURES_MAX && lag <= PROJECTION_LAG_MAX),
    detail: all.map(({ failures, lag, name }) => `${name} ${lag} behind, ${failures} failures`).join("; "),
  })),
})

/** Queues that do not move although jobs are due. */
export const queueCheck = (
  levels: Effect.Effect<ReadonlyArray<QueueLevel>, unknown>,
  activity: Queue["Service"]["activity"],
): HealthCheck => ({
  name: "queue",
  critical: false,
  check: Effect.map(Effect.all([levels, activity]), ([levels, activity]) => {
    const stuck = stuckQueues(levels, activity)
    return stuck.length === 0
      ? { ok: true, detail: `${levels.length} queues` }
      : { ok: false, detail: `${stuck.length} stuck, such as ${stuck[0]!.name}` }
  }),
})

export const diskCheck = (folders: Folders, freeBytesMin = FREE_DISK_BYTES_MIN): HealthCheck => ({
  name: "disk",
  critical: false,
  check: Effect.map(disksOf(folders), ({ disks, unknown }) => ({
    ok: unknown.length === 0 && disks.every(({ freeBytes }) => freeBytes >= freeBytesMin),
    detail: [
      ...disks.map(({ freeBytes, name }) => `${name}: ${megabytes(freeBytes)} free`),
      ...unknown.map(({ name }) => `${name}: cannot be asked`),
    ].join(", "),
  })),
})

/** `constrainedMemory` is the limit of the container, by cgroup v1 or v2. */
const memoryLimit = () => Math.min(process.constrainedMemory() || Number.POSITIVE_INFINITY, totalmem())

export const memoryCheck = (limitOf: () => number = memoryLimit): HealthCheck => ({
  name: "memory",
  critical: false,
  check: Effect.sync(() => {
    const used = process.memoryUsage.rss()
    const limit = limitOf()
    return { ok: used < limit * MEMORY_SHARE_MAX, detail: `${megabytes(used)} of ${megabytes(limit)}` }
  }),
})

/** The checks behind `/health`; of the disks that these folders are on. */
export const healthChecks = (folders: Folders) =>
  Effect.gen(function* () {
    const client = yield* SqliteClient
    const migrations = yield* Effect.orDie(Migrations.load(Migrations.defaultFolder))
    const checks: ReadonlyArray<HealthCheck> = [
      databaseCheck(client),
      migrationsCheck(client, migrations),
      yield* journalCheck(yield* CurrentObserver),
      yield* tracesCheck(yield* CurrentObserver),
      readersCheck(yield* ReaderPool),
      projectionsCheck((yield* AsyncProjector).status),
      queueCheck((yield* QueueStats).levels, (yield* Queue).activity),
      diskCheck(folders),
      memoryCheck(),
    ]
    return checks
  })
