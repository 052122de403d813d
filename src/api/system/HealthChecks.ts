/**
 * What must work for RenderOwl to be of use: its database, its queue, room on the disk and in memory.
 */
import { statfs } from "node:fs/promises"
import { totalmem } from "node:os"
import { Effect } from "effect"
import { Queue } from "../../jobs/Queue.ts"
import { SqliteClient } from "../../sqlite/SqliteClient.ts"
import type { HealthCheck } from "../../telemetry/Health.ts"

/** Below this there is no room for the write-ahead log of a busy hour. */
const FREE_DISK_BYTES_MIN = 256 * 1024 * 1024
/** Of the memory that the process may use. */
const MEMORY_SHARE_MAX = 0.95

const megabytes = (bytes: number) => `${Math.round(bytes / 1024 / 1024)} MB`

/** The checks behind `/health`. */
export const healthChecks = (dataDir: string) =>
  Effect.gen(function* () {
    const { reader, writer, writeLock } = yield* SqliteClient
    const queue = yield* Queue
    const checks: ReadonlyArray<HealthCheck> = [
      {
        name: "database",
        critical: true,
        check: writeLock.withPermit(
          Effect.try(() => {
            reader.prepare("SELECT max(position) FROM events").get()
            // Takes the file's write lock and writes nothing: it fails where the file cannot be opened for writing.
            writer.transaction(() => {})
            return { ok: true, detail: "readable and writable" }
          }),
        ),
      },
      {
        name: "queue",
        critical: true,
        check: Effect.map(queue.activity, (queues) => ({ ok: true, detail: `${queues.size} queues` })),
      },
      {
        name: "disk",
        critical: false,
        check: Effect.tryPromise(async () => {
          const { bavail, bsize } = await statfs(dataDir)
          return { ok: bavail * bsize >= FREE_DISK_BYTES_MIN, detail: `${megabytes(bavail * bsize)} free` }
        }),
      },
      {
        name: "memory",
        critical: false,
        check: Effect.sync(() => {
          const used = process.memoryUsage.rss()
          const limit = Math.min(process.constrainedMemory() || Number.POSITIVE_INFINITY, totalmem())
          return { ok: used < limit * MEMORY_SHARE_MAX, detail: `${megabytes(used)} of ${megabytes(limit)}` }
        }),
      },
    ]
    return checks
  })
