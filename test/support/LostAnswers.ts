/** A server whose answers to requests with keys are lost, as if it had been killed each time before it could keep them. */
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { look } from "./ServerProcess.ts"

/** Events that requests with keys caused. */
export const keyedEvents = (dataDir: string) =>
  look(
    dataDir,
    (database) =>
      database
        .prepare("SELECT count(*) AS n FROM events WHERE metadata ->> '$.keyed_request' IS NOT NULL")
        .get()!["n"] as number,
  )

const KEEPING_ANSWERS = ["INSERT", "UPDATE"]

/** Refuses to keep answers: as if the process had been killed between the events of a request and its answer, each time. */
export const loseAnswers = (dataDir: string) =>
  KEEPING_ANSWERS.map(
    (change) => `CREATE TRIGGER lose_answers_on_${change} BEFORE ${change} ON keyed_requests
      WHEN NEW.answer IS NOT NULL BEGIN SELECT RAISE(ABORT, 'lost'); END`,
  ).forEach((sql) => run(dataDir, sql))

/** Ends that. */
export const keepAnswers = (dataDir: string) =>
  KEEPING_ANSWERS.forEach((change) => run(dataDir, `DROP TRIGGER lose_answers_on_${change}`))

/** Changes the database of a running server. */
export const run = (dataDir: string, sql: string) => {
  const database = new DatabaseSync(join(dataDir, "queue.db"), { timeout: 5_000 })
  database.exec(sql)
  database.close()
}
