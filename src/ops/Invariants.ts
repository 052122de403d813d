/**
 * What must be true of the rows of any database, as far as SQL can tell it without folding the journal: that nothing of the
 * log is missing, that every row stands for an event that is there, and that sums are sums. `db verify` proves more, and
 * takes longer.
 */
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { EXAMPLES_MAX, type Findings } from "./Findings.ts"
import { checkVersions } from "./JournalDensity.ts"

/** A rule, and the query for the rows that break it: what is wrong with each, in words, as `fault`. */
interface Invariant {
  /** The table that is wrong when the rule is broken. */
  readonly subject: string
  readonly rule: string
  readonly sql: string
}

/** Rows of a table that are named by the position of an event which is not of this type. Indexes: two primary keys, merged. */
const withoutEvent = (table: string, type: string): Invariant => ({
  subject: table,
  rule: `every row has its ${type}`,
  sql: `SELECT 'position ' || t.position || ' is of no ${type}' AS fault FROM ${table} t
    WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.position = t.position AND e.type = '${type}')`,
})

/** Rows of a table that belong to a job which has none. Index: the primary key of jobs. */
const withoutJob = (table: string, column: string): Invariant => ({
  subject: table,
  rule: "every row is of a job",
  sql: `SELECT '${column} ' || t.${column} || ' is of no job' AS fault FROM ${table} t
    WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.position = t.${column})`,
})

const INVARIANTS: ReadonlyArray<Invariant> = [
  {
    subject: "events",
    rule: "positions are 1, 2, 3 … but for those that were archived",
    sql: `SELECT 'of ' || head || ' positions ' || events || ' are there and ' || gone || ' were archived' AS fault
      FROM (SELECT (SELECT count(*) FROM events) AS events, a.events AS gone,
                   max(a.last_position, coalesce((SELECT max(position) FROM events), 0)) AS head
              FROM archived a WHERE a.id = 1)
      WHERE events + gone <> head`,
  },
  {
    subject: "archiving",
    rule: "no permit to remove events is left",
    sql: "SELECT stream || ' may be removed' AS fault FROM archiving",
  },
  withoutEvent("jobs", "JobEnqueued"),
  withoutEvent("renders", "JobEnqueued"),
  withoutEvent("projects", "ProjectCreated"),
  withoutEvent("schedules", "ScheduleCreated"),
  withoutEvent("issued_keys", "ApiKeyCreated"),
  {
    subject: "api_keys",
    rule: "every hash is of a key",
    sql: `SELECT stream || ' is no key' AS fault FROM api_keys k
      WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.stream = k.stream AND e.version = 1)`,
  },
  {
    subject: "job_keys",
    rule: "every key is that of its job",
    sql: `SELECT 'key ' || json_quote(k.key) || ' is not that of position ' || k.position AS fault
      FROM job_keys k LEFT JOIN events e ON e.position = k.position
      WHERE e.data ->> '$.idempotency_key' IS NOT k.key`,
  },
  withoutJob("job_tags", "position"),
  withoutJob("job_dependencies", "dependent"),
  {
    subject: "jobs",
    rule: "queue and type have names",
    sql: `SELECT 'position ' || position || ' has queue ' || queue || ' and type ' || type AS fault FROM jobs
      WHERE queue NOT IN (SELECT id FROM queue_names) OR type NOT IN (SELECT id FROM job_types)`,
  },
  {
    subject: "jobs",
    rule: "exactly the jobs that have ended have a time of their end",
    sql: `SELECT 'position ' || position || ' has status ' || status || ' and '
        || iif(finished_at IS NULL, 'no end', 'an end') AS fault FROM jobs
      WHERE (finished_at IS NOT NULL) <> (status IN (2, 3, 4))`,
  },
  {
    subject: "job_counts",
    rule: "counts are those of the jobs",
    sql: `SELECT 'queue ' || queue || ', type ' || type || ', priority ' || priority || ', status ' || status
        || ' has ' || sum(counted) || ' jobs and not ' || sum(kept) AS fault
      FROM (SELECT queue, type, priority, status, count(*) AS counted, 0 AS kept FROM jobs GROUP BY 1, 2, 3, 4
            UNION ALL SELECT queue, type, priority, status, 0, jobs FROM job_counts)
      GROUP BY queue, type, priority, status HAVING sum(counted) <> sum(kept)`,
  },
  {
    subject: "snapshots",
    rule: "none is ahead of its stream",
    sql: `SELECT s.stream || ' has a snapshot of version ' || s.version AS fault FROM snapshots s
      WHERE s.version > (SELECT coalesce(max(version), 0) FROM events e WHERE e.stream = s.stream)`,
  },
]

/** The rules, one step each. */
export const invariantSteps = (
  db: SqliteDatabase,
  findings: Findings,
): ReadonlyArray<{ readonly name: string; readonly check: () => void }> => [
  {
    name: "events: versions are 1, 2, 3 … in every stream",
    check: () => void checkVersions(db, findings),
  },
  ...INVARIANTS.map(({ rule, sql, subject }) => ({
    name: `${subject}: ${rule}`,
    check: () => {
      const { faults } = db.prepareUncached(`SELECT count(*) AS faults FROM (${sql})`).get()!
      if (faults === 0) return
      const examples = db.prepareUncached(`${sql} LIMIT ${EXAMPLES_MAX}`).all()
      examples.forEach(({ fault }, i) =>
        findings.add(
          "invariant",
          subject,
          String(fault),
          i === 0 ? (faults as number) - examples.length + 1 : 1,
        ),
      )
    },
  })),
]
