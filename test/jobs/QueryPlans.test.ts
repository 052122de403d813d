import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Analytics from "../../src/domain/analytics/Analytics.ts"
import * as AnalyticsProjection from "../../src/domain/analytics/AnalyticsProjection.ts"
import * as AnalyticsRetention from "../../src/domain/analytics/AnalyticsRetention.ts"
import * as AuditTrail from "../../src/domain/audit/AuditTrail.ts"
import * as ApiKeyList from "../../src/domain/keys/ApiKeyList.ts"
import * as KeyUses from "../../src/domain/keys/KeyUses.ts"
import * as ProjectList from "../../src/domain/projects/ProjectList.ts"
import * as JobList from "../../src/jobs/JobList.ts"
import * as JobStore from "../../src/jobs/JobStore.ts"
import * as KeyedRows from "../../src/jobs/KeyedRows.ts"
import * as QueueStats from "../../src/jobs/QueueStats.ts"
import * as EventRows from "../../src/journal/EventRows.ts"
import * as KeyedRequests from "../../src/journal/KeyedRequests.ts"
import { ANALYSE } from "../../src/ops/Optimise.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { inMemory } from "../support/TestDatabase.ts"

/** As many rows as there are queues, which are few, or as the statement was given. */
const isSmall = (step: string) =>
  step.startsWith("SCAN q ") || step.includes("VIRTUAL TABLE") || step === "SCAN CONSTANT ROW"

const statementsOf = (module: object) =>
  Object.entries(module).filter((entry): entry is [string, string] => typeof entry[1] === "string")

const planOf = (sql: string) =>
  Effect.map(SqliteClient, ({ writer }) =>
    writer
      .prepareUncached(`EXPLAIN QUERY PLAN ${sql}`)
      .all()
      .map((row) => row["detail"] as string),
  )

/** Many jobs that have ended and a few that wait, of two tenants: the planner knows so after `db optimize`. */
const MANY_JOBS = `
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
  INSERT INTO events (position, stream, version, type, revision, data, metadata, recorded_at)
    SELECT i, 'job_' || i, 1, 'JobEnqueued', 1, '{}', iif(i % 3 = 0, '{"principal":"key_1"}', NULL), i FROM n;
  INSERT INTO queue_names VALUES (1, 'default'), (2, 'mail');
  INSERT INTO job_types VALUES (1, 'a'), (2, 'b');
  INSERT INTO jobs (position, queue, type, priority, status, due_at, attempt, finished_at, concurrency_key, expires_at)
    SELECT position, 1 + position % 2, 1 + position % 2, 2,
      CASE WHEN position > 3900 THEN 0 WHEN position > 3800 THEN 6 WHEN position % 100 = 0 THEN 3 ELSE 2 END,
      position, 1, iif(position > 3800, NULL, position),
      iif(position % 4 = 0, 'tenant ' || position % 8, NULL), iif(position % 5 = 0, position, NULL)
    FROM events;
  INSERT INTO job_tags SELECT 'tag ' || position % 10, position FROM jobs;
  INSERT INTO job_keys SELECT queue, 'key ' || position, position FROM jobs;
  INSERT INTO job_dependencies SELECT position, position + 1, iif(position % 2, 2, NULL) FROM jobs WHERE position > 3850;
  INSERT INTO job_counts SELECT queue, type, priority, status, count(*) FROM jobs GROUP BY 1, 2, 3, 4;
  INSERT INTO projects SELECT position, position % 10 = 0 FROM jobs LIMIT 500;
  INSERT INTO renders SELECT position, 'proj_' || position % 20 FROM jobs LIMIT 1000;
  INSERT INTO issued_keys SELECT position, 'user_' || position % 5, NULL FROM jobs LIMIT 200`

const analysed = Layer.effectDiscard(
  Effect.flatMap(SqliteClient, ({ writer }) =>
    Effect.sync(() => {
      writer.exec(MANY_JOBS)
      writer.exec(ANALYSE)
    }),
  ),
).pipe(Layer.provideMerge(inMemory))

const modules = {
  JobStore,
  KeyedRows,
  JobList,
  QueueStats,
  EventRows,
  KeyedRequests,
  ProjectList,
  ApiKeyList,
  KeyUses,
  AuditTrail,
}

describe("every statement of the analytics", () => {
  /** Statements only: a module has other texts as well. */
  const statements = [Analytics, AnalyticsProjection, AnalyticsRetention]
    .flatMap(statementsOf)
    .filter(([, sql]) => /^(SELECT|DELETE) /.test(sql))

  it.effect.each(statements)("%s seeks by the primary key, for each hour or day or name", ([, sql]) =>
    Effect.gen(function* () {
      const plan = (yield* planOf(sql)).join("\n")
      expect(plan).not.toMatch(/^SCAN (?!\w+ VIRTUAL TABLE)/m)
      expect(plan).not.toContain("AUTOMATIC")
      expect(plan).toContain("USING PRIMARY KEY (start")
    }).pipe(Effect.provide(inMemory)),
  )

  it.effect("has none missing from this test", () =>
    Effect.sync(() =>
      expect(statements.map(([name]) => name).toSorted()).toEqual([
        "DELETE_DAYS",
        "DELETE_HOURS",
        "SELECT_DAYS",
        "SELECT_DAYS_OF",
        "SELECT_HOURS",
        "SELECT_HOURS_OF",
        "SELECT_TOP_OF_DAYS",
        "SELECT_TOP_OF_HOURS",
      ]),
    ),
  )
})

describe.each([
  ["a new database", inMemory],
  ["a database with many jobs whose figures the planner knows", analysed],
] as const)("in %s, every statement that people and queues wait for", (_, database) => {
  for (const [name, module] of Object.entries(modules)) {
    it.effect.each(statementsOf(module))(`${name}.%s seeks by an index, and sorts nothing`, ([, sql]) =>
      Effect.gen(function* () {
        const plan = yield* planOf(sql)
        expect(plan.filter((step) => step.startsWith("SCAN") && !isSmall(step))).toEqual([])
        expect(plan.filter((step) => step.includes("TEMP B-TREE") || step.includes("AUTOMATIC"))).toEqual([])
      }).pipe(Effect.provide(database)),
    )
  }

  it.effect.each([
    [
      "the ready jobs of a lane",
      JobStore.SELECT_READY,
      "INDEX jobs_waiting (queue=? AND type=? AND priority=? AND due_at>? AND due_at<?)",
    ],
    ["when a lane's next job is due", JobStore.SELECT_NEXT_DUE, "COVERING INDEX jobs_waiting"],
    ["who holds a lease", JobStore.SELECT_PROCESSING, "INDEX jobs_processing"],
    [
      "what one caller did",
      AuditTrail.SELECT_AUDITED_BY,
      "INDEX events_audited_by (<expr>=? AND recorded_at>? AND recorded_at<?)",
    ],
    [
      "what all callers did",
      AuditTrail.SELECT_AUDITED,
      "INDEX events_audited (recorded_at>? AND recorded_at<?)",
    ],
    ["the keys of an owner", ApiKeyList.SELECT_KEYS_OF_OWNER, "COVERING INDEX issued_keys_of_owner"],
    ["the job of a key", JobStore.SELECT_BY_KEY, "PRIMARY KEY (queue=? AND key=?)"],
    ["the scheduled jobs of a lane", QueueStats.SELECT_SCHEDULED, "COVERING INDEX jobs_waiting"],
    ["the oldest job of a lane", QueueStats.SELECT_OLDEST, "COVERING INDEX jobs_waiting"],
    [
      "the first job of a concurrency key",
      JobStore.SELECT_FIRST_OF_KEYS,
      "INDEX jobs_keyed (queue=? AND type=? AND priority=? AND concurrency_key=? AND status=?)",
    ],
    [
      "who stands behind",
      KeyedRows.SELECT_BEHIND,
      "INDEX jobs_keyed (queue=? AND type=? AND priority=? AND concurrency_key=? AND status=?)",
    ],
    ["expired jobs", JobStore.SELECT_EXPIRED, "INDEX jobs_expiring (queue=? AND expires_at<?)"],
    ["ended dependencies", JobStore.SELECT_ENDED_DEPENDENCIES, "INDEX job_dependencies_ended"],
    ["one stream", EventRows.SELECT_STREAM, "(stream=? AND version>?)"],
    ["the journal", EventRows.SELECT_ALL, "INTEGER PRIMARY KEY (rowid>?)"],
    ["all jobs", JobList.LIST_ALL, "j USING INTEGER PRIMARY KEY (rowid<?)"],
    ["jobs with a tag", JobList.LIST_TAGGED, "PRIMARY KEY (tag=? AND position<?)"],
    ["dead letters", JobList.LIST_DEAD, "INDEX jobs_dead (status=? AND rowid<?)"],
    ["projects", ProjectList.SELECT_PROJECTS, "COVERING INDEX projects_live"],
  ] as const)("%s: by the index that is meant for it", ([, sql, index]) =>
    Effect.gen(function* () {
      expect((yield* planOf(sql)).join("\n")).toContain(index)
    }).pipe(Effect.provide(database)),
  )
})
