import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
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

describe("every statement that people and queues wait for", () => {
  for (const [name, module] of Object.entries(modules)) {
    it.effect.each(statementsOf(module))(`${name}.%s seeks by an index, and sorts nothing`, ([, sql]) =>
      Effect.gen(function* () {
        const plan = yield* planOf(sql)
        expect(plan.filter((step) => step.startsWith("SCAN") && !isSmall(step))).toEqual([])
        expect(plan.filter((step) => step.includes("TEMP B-TREE") || step.includes("AUTOMATIC"))).toEqual([])
      }).pipe(Effect.provide(inMemory)),
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
    }).pipe(Effect.provide(inMemory)),
  )
})
