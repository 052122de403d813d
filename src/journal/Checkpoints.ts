/**
 * How far each async projection has come: first through the blocks of the archive, as it is when the projection is begun, then
 * through the journal. One that never ran on a database has no checkpoint there and holds nothing up.
 */
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"

export interface Checkpoint {
  /** The last block of the archive that was taken; more are looked for only at position 0. */
  readonly archiveBlock: number
  /** Everything in the journal up to here was taken. */
  readonly position: number
}

export const BEGINNING: Checkpoint = { archiveBlock: 0, position: 0 }

/** Index: the primary key. */
const SELECT = "SELECT archive_block, position FROM projection_checkpoints WHERE name = ?"
const BEGIN = `INSERT INTO projection_checkpoints (name, archive_block, position) VALUES (?, 0, 0)
  ON CONFLICT (name) DO NOTHING`
const MOVE = `UPDATE projection_checkpoints SET archive_block = ?, position = ?
  WHERE name = ? AND archive_block = ? AND position = ?`
const RESET = "UPDATE projection_checkpoints SET archive_block = 0, position = 0 WHERE name = ?"
/** As many rows as there are projections. */
const SELECT_SLOWEST = "SELECT min(position) AS position FROM projection_checkpoints"

/** Undefined when the projection has never run here. */
export const readCheckpoint = (db: SqliteDatabase, name: string): Checkpoint | undefined => {
  const row = db.prepare(SELECT).get(name)
  return row && { archiveBlock: row["archive_block"] as number, position: row["position"] as number }
}

/** Gives a projection that never ran its first checkpoint. */
export const beginCheckpoint = (db: SqliteDatabase, name: string): void => void db.prepare(BEGIN).run(name)

/** Moves a checkpoint; throws when it is not where it should be: somebody else has projected the same events. */
export const moveCheckpoint = (db: SqliteDatabase, name: string, from: Checkpoint, to: Checkpoint): void => {
  const { changes } = db
    .prepare(MOVE)
    .run(to.archiveBlock, to.position, name, from.archiveBlock, from.position)
  if (changes !== 1) throw new Error(`the checkpoint of ${name} is not where it was left`)
}

/** Back to the beginning, for a projection whose rows are gone. */
export const resetCheckpoint = (db: SqliteDatabase, name: string): void => void db.prepare(RESET).run(name)

/** What is above has not been taken by everybody yet, and must stay in the journal. */
export const takenByAll = (db: SqliteDatabase): number =>
  (db.prepare(SELECT_SLOWEST).get()!["position"] as number | null) ?? Number.POSITIVE_INFINITY
