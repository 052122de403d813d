/**
 * What the contestants on PostgreSQL share: a schema of their own that is dropped afterwards, and both answers to whether a
 * commit waits for the disk. With `synchronous_commit=off` the last fraction of a second of acknowledged jobs is lost with
 * the power, or with the database's process.
 */
import { Effect, type Scope } from "effect"
import { load } from "./rivals/Load.ts"

interface Client {
  readonly connect: () => Promise<void>
  readonly query: (sql: string) => Promise<unknown>
  readonly end: () => Promise<void>
}

interface PgModule {
  readonly default: { readonly Client: new (options: { readonly connectionString: string }) => Client }
}

/** Whether a commit waits for the disk. */
export const SYNCHRONOUS_COMMITS = ["on", "off"] as const
export type SynchronousCommit = (typeof SYNCHRONOUS_COMMITS)[number]

/** The address with the setting for each of its sessions. */
export const withCommit = (url: string, setting: SynchronousCommit): string => {
  const address = new URL(url)
  address.searchParams.set("options", `-c synchronous_commit=${setting}`)
  return address.href
}

/** The name of a schema that is dropped when the scope closes. */
export const ownSchema = (url: string, suffix: string): Effect.Effect<string, never, Scope.Scope> => {
  const schema = `renderowl_bench_${process.pid}_${suffix}`
  const drop = async () => {
    const pg = await load<PgModule>("pg")
    const client = new pg!.default.Client({ connectionString: url })
    await client.connect()
    await client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`)
    await client.end()
  }
  return Effect.acquireRelease(Effect.succeed(schema), () => Effect.promise(drop))
}
