import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Metric } from "effect"
import { TestClock } from "effect/testing"
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { FILE_RETRY_MS, WRITE_INTERVAL_MS } from "../../src/cache/TaggedCache.ts"
import { temporaryFolder } from "../sqlite/TemporaryFolder.ts"
import { settle } from "../support/Turns.ts"
import { keep, kept, open, openClosable, texts } from "./CacheFixture.ts"

const cacheFile = Effect.map(temporaryFolder, (folder) => join(folder, "cache.db"))

/** Lets everything that is to be written be written. */
const written = TestClock.adjust(WRITE_INTERVAL_MS)

describe("the tagged cache", () => {
  it.effect("keeps an answer for its time, counted from when it was asked for", () =>
    Effect.gen(function* () {
      const cache = yield* open({ filename: yield* cacheFile })
      const slow = Effect.as(Effect.sleep(400), "slow")
      const fiber = yield* Effect.forkChild(cache.share({ key: "a", tags: [], ttlMs: 1_000 }, slow, texts))
      yield* TestClock.adjust(400)
      yield* Fiber.join(fiber)
      assert.strictEqual(kept(cache, "a", 999), "slow")
      assert.strictEqual(kept(cache, "a", 1_000), undefined)
      assert.strictEqual(cache.stats().entries, 0)
    }),
  )

  it.effect("100 who ask for the same at once cause one computation", () =>
    Effect.gen(function* () {
      const cache = yield* open({ filename: yield* cacheFile })
      for (const ttlMs of [1_000, 0]) {
        let computations = 0
        const gate = yield* Deferred.make<void>()
        const compute = Effect.suspend(() => {
          computations++
          return Effect.as(Deferred.await(gate), "value")
        })
        const all = yield* Effect.forkChild(
          Effect.forEach(
            Array.from({ length: 100 }),
            () => cache.share({ key: `ttl ${ttlMs}`, tags: [], ttlMs }, compute, texts),
            { concurrency: "unbounded" },
          ),
        )
        yield* settle
        yield* Deferred.succeed(gate, undefined)
        assert.deepStrictEqual(new Set(yield* Fiber.join(all)), new Set(["value"]))
        assert.strictEqual(computations, 1)
      }
      assert.strictEqual(cache.stats().shared, 2 * 99)
      assert.strictEqual(cache.stats().entries, 1)
    }),
  )

  it.effect("a failure is shared by those who wait for it, and not kept", () =>
    Effect.gen(function* () {
      const cache = yield* open({ filename: yield* cacheFile })
      const gate = yield* Deferred.make<never, string>()
      const share = cache.share({ key: "a", tags: [], ttlMs: 1_000 }, Deferred.await(gate), texts)
      const fibers = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(Effect.exit(share)))
      yield* settle
      yield* Deferred.fail(gate, "broken")
      for (const fiber of fibers) assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.fail("broken"))
      assert.strictEqual(kept(cache, "a"), undefined)
      assert.strictEqual(yield* keep(cache, "a", "well"), "well")
      assert.strictEqual(kept(cache, "a"), "well")
    }),
  )

  it.effect("when the one who computes goes away, another one of those who wait begins anew", () =>
    Effect.gen(function* () {
      const cache = yield* open({ filename: yield* cacheFile })
      let computations = 0
      const gate = yield* Deferred.make<void>()
      const compute = Effect.suspend(() => {
        computations++
        return Effect.as(Deferred.await(gate), "value")
      })
      const share = cache.share({ key: "a", tags: [], ttlMs: 1_000 }, compute, texts)
      const [first, ...others] = yield* Effect.forEach([1, 2, 3, 4], () => Effect.forkChild(share))
      yield* settle
      yield* Fiber.interrupt(first!)
      yield* settle
      yield* Deferred.succeed(gate, undefined)
      for (const fiber of others) assert.strictEqual(yield* Fiber.join(fiber), "value")
      assert.strictEqual(computations, 2)
    }),
  )

  it.effect("what was being computed when its tag was invalidated is given to nobody who asks later", () =>
    Effect.gen(function* () {
      const cache = yield* open({ filename: yield* cacheFile })
      const gate = yield* Deferred.make<void>()
      const request = { key: "a", tags: ["t"], ttlMs: 1_000 }
      const before = yield* Effect.forkChild(
        cache.share(request, Effect.as(Deferred.await(gate), "before"), texts),
      )
      yield* settle
      cache.invalidate(["t"])
      assert.strictEqual(yield* cache.share(request, Effect.succeed("after"), texts), "after")
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual(yield* Fiber.join(before), "before")
      assert.strictEqual(kept(cache, "a"), "after")
    }),
  )

  it.effect("the answers used least recently make room, by number and by bytes", () =>
    Effect.gen(function* () {
      const filename = yield* cacheFile
      const few = yield* openClosable({ filename, entriesMax: 3 })
      for (const key of ["a", "b", "c"]) yield* keep(few.cache, key, key)
      assert.strictEqual(kept(few.cache, "a"), "a")
      yield* keep(few.cache, "d", "d")
      assert.deepStrictEqual(
        ["a", "b", "c", "d"].map((key) => kept(few.cache, key)),
        ["a", undefined, "c", "d"],
      )
      assert.deepInclude(few.cache.stats(), { entries: 3, evictions: 1 })
      yield* few.close

      const small = yield* open({ filename, generation: "2", bytesMax: 10_000 })
      for (let i = 0; i < 20; i++) yield* keep(small, `key ${i}`, "x".repeat(2_000))
      const { bytes, entries, evictions } = small.stats()
      assert.isAtMost(bytes, 10_000)
      assert.strictEqual(entries + evictions, 20)
      assert.strictEqual(kept(small, "key 19"), "x".repeat(2_000))
      yield* keep(small, "too large", "x".repeat(5_000_000))
      assert.strictEqual(kept(small, "too large"), undefined)
    }),
  )

  it.effect("what memory has no room for is read from the file", () =>
    Effect.gen(function* () {
      const cache = yield* open({ filename: yield* cacheFile, frontBytesMax: 5_000 })
      const texts = Array.from({ length: 30 }, (_, i) => `${i} `.repeat(500))
      for (const [i, text] of texts.entries()) {
        yield* keep(cache, `key ${i}`, text)
        yield* written
      }
      assert.isAtMost(cache.stats().memory.bytes, 5_000)
      assert.strictEqual(cache.stats().entries, 30)
      for (const [i, text] of texts.entries()) assert.strictEqual(kept(cache, `key ${i}`), text)
    }),
  )

  it.effect(
    "answers outlive a restart, without those that were invalidated; another program begins empty",
    () =>
      Effect.gen(function* () {
        const filename = yield* cacheFile
        const first = yield* openClosable({ filename })
        yield* keep(first.cache, "a", "A", { tags: ["t"] })
        yield* keep(first.cache, "b", "B", { tags: ["u"] })
        yield* written
        first.cache.invalidate(["t"], { position: 7, of: "seven" })
        yield* keep(first.cache, "c", "C", { ttlMs: 10_000 })
        yield* first.close

        const second = yield* openClosable({ filename })
        assert.deepStrictEqual(
          ["a", "b", "c"].map((key) => kept(second.cache, key)),
          [undefined, "B", "C"],
        )
        assert.deepStrictEqual(second.cache.mark(), { position: 7, of: "seven" })
        assert.strictEqual(second.cache.invalidate(["u"]), 1)
        yield* second.close
        yield* TestClock.adjust(10_000)
        const third = yield* openClosable({ filename })
        assert.strictEqual(third.cache.stats().entries, 0)
        yield* keep(third.cache, "d", "D")
        yield* third.close
        const other = yield* open({ filename, generation: "2" })
        assert.strictEqual(kept(other, "d"), undefined)
        assert.deepStrictEqual(other.mark(), { position: 0, of: "" })
      }),
  )

  it.effect(
    "a warm-up brings the newest answers into memory and runs every hook, also after one that fails",
    () =>
      Effect.gen(function* () {
        const filename = yield* cacheFile
        const first = yield* openClosable({ filename })
        for (let i = 0; i < 100; i++) yield* keep(first.cache, `key ${i}`, `${i} `.repeat(100))
        yield* first.close
        const cache = yield* open({ filename, frontBytesMax: 30_000 })
        assert.strictEqual(cache.stats().memory.entries, 0)
        const ran: Array<string> = []
        yield* cache.onWarmUp(
          "fails",
          Effect.andThen(
            Effect.sync(() => void ran.push("fails")),
            Effect.fail("no"),
          ),
        )
        yield* cache.onWarmUp("asks", Effect.asVoid(keep(cache, "asked", "first")))
        yield* cache.warmUp
        const { bytes, entries } = cache.stats().memory
        assert.isAbove(entries, 20)
        assert.isAtMost(bytes, 30_000)
        assert.deepStrictEqual(ran, ["fails"])
        assert.strictEqual(kept(cache, "asked"), "first")
        assert.strictEqual(kept(cache, "key 0"), "0 ".repeat(100))
      }),
  )

  it.effect("hits, misses, evictions and invalidations are metrics", () =>
    Effect.gen(function* () {
      const cache = yield* open({ filename: yield* cacheFile, entriesMax: 1 })
      cache.missed()
      yield* keep(cache, "a", "A")
      yield* keep(cache, "b", "B", { tags: ["t"] })
      kept(cache, "b")
      kept(cache, "b")
      cache.invalidate(["t"])
      yield* written
      const found = new Map(
        (yield* Metric.snapshot).map(({ attributes, id, state }) => [
          `${id} ${attributes?.["outcome"] ?? ""}`.trim(),
          (state as { readonly count?: number; readonly value?: number }).count ??
            (state as { readonly value?: number }).value,
        ]),
      )
      assert.strictEqual(found.get("renderowl_cache_requests_total hit"), 2)
      assert.strictEqual(found.get("renderowl_cache_requests_total miss"), 1)
      assert.strictEqual(found.get("renderowl_cache_evictions_total"), 1)
      assert.strictEqual(found.get("renderowl_cache_invalidations_total"), 1)
      assert.strictEqual(found.get("renderowl_cache_entries"), 0)
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())),
  )
})

describe("a cache whose file is no good", () => {
  const works = Effect.fnUntraced(function* (cache: Parameters<typeof keep>[0]) {
    yield* keep(cache, "key", "value", { tags: ["t"] })
    yield* written
    assert.strictEqual(kept(cache, "key"), "value")
    assert.strictEqual(cache.invalidate(["t"]), 1)
    yield* keep(cache, "key", "new")
    yield* written
    assert.strictEqual(kept(cache, "key"), "new")
  })

  it.effect("sets a damaged one aside and begins another", () =>
    Effect.gen(function* () {
      const filename = yield* cacheFile
      writeFileSync(filename, "not a database at all, but long enough to be taken for one".repeat(100))
      const { cache, close } = yield* openClosable({ filename })
      yield* works(cache)
      assert.isTrue(cache.stats().isFileInUse)
      assert.match(readFileSync(`${filename}.damaged`, "utf8"), /^not a database/)
      yield* close
      assert.strictEqual(kept(yield* open({ filename }), "key"), "new")
    }),
  )

  it.effect("notices bytes that changed in the file, and gives nobody what is not what was stored", () =>
    Effect.gen(function* () {
      const filename = yield* cacheFile
      const { cache, close } = yield* openClosable({ filename })
      yield* keep(cache, "key", "the quick brown owl ".repeat(20))
      yield* close
      const bytes = readFileSync(filename)
      const at = bytes.indexOf("brown")
      assert.isAbove(at, 0)
      writeFileSync(
        filename,
        Buffer.concat([bytes.subarray(0, at), Buffer.from("BROWN"), bytes.subarray(at + 5)]),
      )
      const again = yield* open({ filename })
      assert.strictEqual(again.stats().entries, 1)
      assert.strictEqual(kept(again, "key"), undefined)
      assert.isTrue(existsSync(`${filename}.damaged`))
      yield* works(again)
      assert.isTrue(again.stats().isFileInUse)
    }),
  )

  it.effect("survives one that is cut short while it is open", () =>
    Effect.gen(function* () {
      const filename = yield* cacheFile
      const { cache, close } = yield* openClosable({ filename })
      for (let i = 0; i < 50; i++) yield* keep(cache, `key ${i}`, `${i} `.repeat(1_000))
      yield* close
      const again = yield* open({ filename, frontBytesMax: 5_000 })
      truncateSync(filename, 8_192)
      for (let i = 0; i < 50; i++) {
        const found = kept(again, `key ${i}`)
        if (found !== undefined) assert.strictEqual(found, `${i} `.repeat(1_000))
      }
      yield* works(again)
      yield* TestClock.adjust(FILE_RETRY_MS)
      assert.isTrue(again.stats().isFileInUse)
    }),
  )

  it.effect("does without a locked one, and takes it up once it is free", () =>
    Effect.gen(function* () {
      const filename = yield* cacheFile
      const first = yield* openClosable({ filename })
      yield* keep(first.cache, "old", "old")
      yield* first.close
      const holder = new DatabaseSync(filename)
      holder.exec("BEGIN EXCLUSIVE")
      const cache = yield* open({ filename })
      assert.isFalse(cache.stats().isFileInUse)
      yield* works(cache)
      assert.isFalse(cache.stats().isFileInUse)
      holder.exec("ROLLBACK")
      holder.close()
      yield* TestClock.adjust(FILE_RETRY_MS)
      assert.isTrue(cache.stats().isFileInUse)
      // Nobody knows any more whether it is up to date.
      assert.strictEqual(kept(cache, "old"), undefined)
      assert.strictEqual(kept(cache, "key"), "new")
    }),
  )

  it.effect("holds its file alone: a second cache on it does without", () =>
    Effect.gen(function* () {
      const filename = yield* cacheFile
      const first = yield* openClosable({ filename })
      yield* keep(first.cache, "first", "first")
      yield* written
      const second = yield* open({ filename })
      assert.isFalse(second.stats().isFileInUse)
      yield* works(second)
      assert.strictEqual(kept(first.cache, "first"), "first")
      yield* first.close
      yield* TestClock.adjust(FILE_RETRY_MS)
      assert.isTrue(second.stats().isFileInUse)
    }),
  )

  it.effect("touches no file of another program, and no folder", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const theirs = join(folder, "theirs.db")
      const database = new DatabaseSync(theirs)
      database.exec("CREATE TABLE events (text TEXT); INSERT INTO events VALUES ('precious')")
      database.close()
      mkdirSync(join(folder, "a folder"))
      for (const filename of [theirs, join(folder, "a folder"), join(theirs, "below a file")]) {
        const cache = yield* open({ filename })
        assert.isFalse(cache.stats().isFileInUse)
        yield* works(cache)
        yield* TestClock.adjust(FILE_RETRY_MS)
        yield* works(cache)
      }
      const again = new DatabaseSync(theirs)
      assert.deepStrictEqual({ ...again.prepare("SELECT * FROM events").get() }, { text: "precious" })
      assert.isUndefined(again.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'entries'").get())
      again.close()
    }),
  )
})
