/**
 * Compares the rows of a table with those that it should have, both ways, without holding either in memory: each row is
 * looked up in the other by its primary key. Which tables there are is the projections' business, so this is the one place
 * where SQL is made from a table's columns.
 */
import type { SQLOutputValue } from "node:sqlite"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { EXAMPLES_MAX, type Findings } from "./Findings.ts"

/** How the rows that are kept differ from those that the journal makes. */
export interface TableDifference {
  readonly table: string
  /** Rows that are kept. */
  readonly rows: number
  /** Kept, although no event made them. */
  readonly extra: number
  /** Made by events, and not kept. */
  readonly missing: number
  /** Kept with other values than events gave them. */
  readonly changed: number
}

/** Whether the rows are the fold of the journal. */
export const isSame = ({ changed, extra, missing }: TableDifference): boolean =>
  changed + extra + missing === 0

type Row = Record<string, SQLOutputValue>

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

/**
 * Compares `table` of the schema `kept` with that of the schema `made`, on one connection that has both. Each look-up is one
 * seek of the primary key; a table without one cannot be compared.
 */
export const compareTable = (
  db: SqliteDatabase,
  table: string,
  { kept, made }: { readonly kept: string; readonly made: string },
  findings: Findings,
): TableDifference => {
  const columns = db
    .prepareUncached("SELECT name, pk FROM pragma_table_info(?, ?) ORDER BY cid")
    .all(table, made)
    .map((row) => ({ name: row["name"] as string, isKey: row["pk"] !== 0 }))
  const keys = columns.filter(({ isKey }) => isKey).map(({ name }) => name)
  const values = columns.filter(({ isKey }) => !isKey).map(({ name }) => name)
  if (keys.length === 0) throw new Error(`the table ${table} has no primary key to compare its rows by`)

  const [here, there] = [`${kept}.${quoted(table)}`, `${made}.${quoted(table)}`]
  const sameKey = keys.map((name) => `k.${quoted(name)} = m.${quoted(name)}`).join(" AND ")
  const list = columns.map(({ name }) => quoted(name)).join(", ")
  const orderBy = keys.map(quoted).join(", ")
  const count = (from: string) =>
    db.prepareUncached(`SELECT count(*) AS rows ${from}`).get()!["rows"] as number
  const some = (select: string): ReadonlyArray<Row> =>
    db.prepareUncached(`${select} LIMIT ${EXAMPLES_MAX}`).all()

  const tell = (rows: number, examples: () => ReadonlyArray<string>) => {
    if (rows === 0) return
    const [first, ...others] = examples()
    findings.add("table", table, first!, rows - others.length)
    for (const example of others) findings.add("table", table, example)
  }

  const ofExtra = `FROM ${here} k WHERE NOT EXISTS (SELECT 1 FROM ${there} m WHERE ${sameKey})`
  const extra = count(ofExtra)
  tell(extra, () =>
    some(`SELECT ${list} ${ofExtra} ORDER BY ${orderBy}`).map((row) => `no event made ${inWords(row)}`),
  )

  const ofMissing = `FROM ${there} m WHERE NOT EXISTS (SELECT 1 FROM ${here} k WHERE ${sameKey})`
  const missing = count(ofMissing)
  tell(missing, () =>
    some(`SELECT ${list} ${ofMissing} ORDER BY ${orderBy}`).map((row) => `lacks ${inWords(row)}`),
  )

  const differs = values.map((name) => `k.${quoted(name)} IS NOT m.${quoted(name)}`).join(" OR ")
  const ofChanged = `FROM ${here} k CROSS JOIN ${there} m ON ${sameKey} WHERE ${differs}`
  const changed = values.length === 0 ? 0 : count(ofChanged)
  const sides = columns
    .map(({ name }, i) => `k.${quoted(name)} AS k${i}, m.${quoted(name)} AS m${i}`)
    .join(", ")
  tell(changed, () =>
    some(`SELECT ${sides} ${ofChanged}`).map((row) => {
      const pairs = columns.map(({ isKey, name }, i) => ({
        isKey,
        name,
        is: row[`k${i}`]!,
        should: row[`m${i}`]!,
      }))
      const key = Object.fromEntries(pairs.filter(({ isKey }) => isKey).map(({ is, name }) => [name, is]))
      const wrong = pairs.filter(({ is, isKey, should }) => !isKey && is !== should)
      return `${inWords(key)}: ${wrong
        .map(({ is, name, should }) => `${name} is ${valueInWords(is)} instead of ${valueInWords(should)}`)
        .join(", ")}`
    }),
  )
  return { table, rows: count(`FROM ${here}`), extra, missing, changed }
}

const inWords = (row: Row): string =>
  Object.entries(row)
    .map(([name, value]) => `${name} ${valueInWords(value)}`)
    .join(", ")

const valueInWords = (value: SQLOutputValue): string => {
  if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString("hex")}'`
  return typeof value === "bigint" ? String(value) : JSON.stringify(value)
}
