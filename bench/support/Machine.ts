/**
 * Where the figures were taken. Printed with every table, because only ratios travel from one machine to another.
 */
import { cpus, totalmem } from "node:os"
import type { SqliteDatabase } from "../../src/sqlite/SqliteDatabase.ts"

const SYNCHRONOUS = ["OFF", "NORMAL", "FULL", "EXTRA"]
const GIBIBYTE = 1024 ** 3

/** One line on the processor and the runtime. */
export const describeMachine = (): string => {
  const cores = cpus()
  const memory = Math.round(totalmem() / GIBIBYTE)
  return `${cores.length} cores (${cores[0]?.model.trim() ?? "unknown"}), ${memory} GiB, Node ${process.versions.node}, SQLite ${process.versions["sqlite"]}`
}

/** One line on the settings of a connection, as SQLite answers them. */
export const describeDatabase = (db: SqliteDatabase): string => {
  const pragma = (name: string) => db.prepareUncached(`PRAGMA ${name}`).get()?.[name]
  return `journal_mode ${pragma("journal_mode")}, synchronous ${SYNCHRONOUS[pragma("synchronous") as number]}`
}
