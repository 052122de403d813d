import { describe, expect, it } from "@effect/vitest"
import { DatabaseSync } from "node:sqlite"
import { StatementCache } from "../../src/sqlite/StatementCache.ts"

const cacheOf = (capacity: number): StatementCache => {
  const database = new DatabaseSync(":memory:")
  return new StatementCache((sql) => database.prepare(sql), capacity)
}

describe("StatementCache", () => {
  it("hands out the same statement for the same SQL", () => {
    const cache = cacheOf(2)
    expect(cache.get("SELECT 1")).toBe(cache.get("SELECT 1"))
    expect(cache.stats).toEqual({ size: 1, capacity: 2, hits: 1, misses: 1, evictions: 0 })
  })

  it("drops the statement unused for longest when it is full", () => {
    const cache = cacheOf(2)
    const first = cache.get("SELECT 1")
    const second = cache.get("SELECT 2")
    cache.get("SELECT 1")
    cache.get("SELECT 3")
    expect(cache.get("SELECT 1")).toBe(first)
    expect(cache.get("SELECT 2")).not.toBe(second)
    expect(cache.stats).toEqual({ size: 2, capacity: 2, hits: 2, misses: 4, evictions: 2 })
  })

  it("never holds more than its capacity", () => {
    const cache = cacheOf(10)
    for (let n = 0; n < 1_000; n++) cache.get(`SELECT ${n}`)
    expect(cache.stats).toMatchObject({ size: 10, misses: 1_000, evictions: 990 })
  })

  it("keeps nothing for SQL that does not compile", () => {
    const cache = cacheOf(2)
    expect(() => cache.get("SELEC 1")).toThrow(/syntax error/)
    expect(cache.stats).toMatchObject({ size: 0, misses: 1 })
  })

  it("keeps an evicted statement usable for whoever still holds it", () => {
    const cache = cacheOf(1)
    const evicted = cache.get("SELECT 1 AS one")
    cache.get("SELECT 2")
    expect(evicted.get()).toEqual({ one: 1 })
  })

  it("refuses a capacity below one", () => {
    expect(() => cacheOf(0)).toThrow(RangeError)
  })
})
