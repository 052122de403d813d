import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric } from "effect"
import { RateLimiter } from "effect/persistence"
import { TestClock } from "effect/testing"
import { copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { FILE_RETRY_MS, WRITE_INTERVAL_MS } from "../../../src/http/rate-limits/LimitsStore.ts"
import { VIOLATION_AGE_MS, VIOLATIONS_MAX } from "../../../src/http/rate-limits/Violations.ts"
import { temporaryFolder } from "../../sqlite/TemporaryFolder.ts"
import { admitted, caller, open, openClosable, ROUTE } from "./LimitsFixture.ts"

const HERE = "192.0.2.7"
const filename = Effect.map(temporaryFolder, (folder) => join(folder, "limits.db"))

const bucketRows = (file: string): number => {
  const database = new DatabaseSync(file, { readOnly: true })
  try {
    return database.prepare("SELECT count(*) AS n FROM buckets").get()!["n"] as number
  } finally {
    database.close()
  }
}

describe("what callers have used", () => {
  it.effect("is still used up after a restart, but for what has refilled meanwhile", () =>
    Effect.gen(function* () {
      const file = yield* filename
      const before = yield* openClosable({ filename: file })
      yield* admitted(before.limits.admit(caller("key_1"), ROUTE), 200)
      yield* admitted(before.limits.admitAddress(HERE, ROUTE), 4)
      yield* before.close
      yield* TestClock.adjust("6 seconds")
      const { limits } = yield* open({ filename: file })
      assert.strictEqual(yield* admitted(limits.admit(caller("key_1"), ROUTE), 200), 10)
      assert.strictEqual(yield* admitted(limits.admitAddress(HERE, ROUTE), 200), 7)
      assert.strictEqual(yield* admitted(limits.admit(caller("key_2"), ROUTE), 200), 110)
    }),
  )

  it.effect("is in the file a moment later: a killed process forgets no more than that", () =>
    Effect.gen(function* () {
      const file = yield* filename
      const { limits } = yield* openClosable({ filename: file })
      yield* admitted(limits.admit(caller("key_1"), ROUTE), 110)
      yield* TestClock.adjust(WRITE_INTERVAL_MS)
      // What a process leaves behind that is killed now.
      const copy = `${file}.copy`
      copyFileSync(file, copy)
      copyFileSync(`${file}-wal`, `${copy}-wal`)
      const after = yield* open({ filename: copy })
      const left = yield* admitted(after.limits.admit(caller("key_1"), ROUTE), 200)
      assert.strictEqual(left, Math.floor(WRITE_INTERVAL_MS / 600))
    }),
  )

  it.effect("is not written once it has refilled, and goes from the file when it does", () =>
    Effect.gen(function* () {
      const file = yield* filename
      const { close, limits, store } = yield* openClosable({ filename: file })
      const pro = limits.admit(caller("key_pro", "api_key", "pro"), ROUTE)
      yield* pro
      yield* admitted(limits.admitAddress(HERE, ROUTE), 10)
      yield* TestClock.adjust(WRITE_INTERVAL_MS)
      assert.deepInclude(store.stats(), { callers: 0, addresses: 1 })
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(store.stats().addresses, 0)
      yield* close
      assert.strictEqual(bucketRows(file), 0)
    }),
  )

  it.effect(
    "takes bounded memory: who was not seen for longest makes room, and addresses only for addresses",
    () =>
      Effect.gen(function* () {
        const { limits, store } = yield* open({ filename: yield* filename, callersMax: 3, addressesMax: 100 })
        yield* admitted(limits.admit(caller("key_1"), ROUTE), 200)
        for (let n = 0; n < 1_000; n++) yield* limits.admitAddress(`10.0.${n >> 8}.${n & 255}`, ROUTE)
        assert.deepInclude(store.stats(), { callers: 1, addresses: 100, evictions: 900 })
        assert.isDefined(yield* limits.admit(caller("key_1"), ROUTE))
        for (const id of ["key_2", "key_3", "key_4"]) {
          yield* limits.admit(caller(id), ROUTE)
          yield* limits.admit(caller("key_2"), ROUTE)
        }
        assert.strictEqual(store.stats().callers, 3)
        // key_1 had to go, key_2 was used again and again.
        assert.isUndefined(yield* limits.admit(caller("key_1"), ROUTE))
        assert.strictEqual(yield* admitted(limits.admit(caller("key_2"), ROUTE), 200), 106)
      }),
  )

  it.effect("is what Effect's own RateLimiter goes by", () =>
    Effect.gen(function* () {
      const { store } = yield* open({ filename: yield* filename })
      const limiter = yield* RateLimiter.make.pipe(
        Effect.provideService(RateLimiter.RateLimiterStore, store.store),
      )
      const consume = limiter.consume({
        algorithm: "token-bucket",
        onExceeded: "delay",
        window: "1 minute",
        limit: 2,
        key: "webhooks",
      })
      assert.strictEqual((yield* consume).remaining, 1)
      assert.strictEqual((yield* consume).remaining, 0)
      // Debt is kept: the third waits for one refill, the fourth for two.
      const delays = [(yield* consume).delay, (yield* consume).delay].map(String)
      assert.deepStrictEqual(delays, ["30000 millis", "60000 millis"])
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* consume).remaining, -1)
    }),
  )

  it.effect("is shown by metrics", () =>
    Effect.gen(function* () {
      const { limits } = yield* open({ filename: yield* filename })
      const counted = Effect.map(Metric.snapshot, (metrics) =>
        Object.fromEntries(
          metrics
            .filter(({ id }) => id === "renderowl_rate_limit_requests_total")
            .map((metric) => [
              metric.attributes?.["outcome"],
              Number((metric.state as { readonly count: number | bigint }).count),
            ]),
        ),
      )
      const before = yield* counted
      yield* admitted(limits.admitAddress(HERE, ROUTE), 20)
      yield* TestClock.adjust("5 seconds")
      const after = yield* counted
      assert.strictEqual(after["allowed"]! - (before["allowed"] ?? 0), 10)
      assert.strictEqual(after["refused"]! - (before["refused"] ?? 0), 1)
    }),
  )
})

describe("the file of rate limits", () => {
  const worksWithout = Effect.fnUntraced(function* (file: string) {
    const { close, limits, store } = yield* openClosable({ filename: file })
    assert.strictEqual(yield* admitted(limits.admitAddress(HERE, ROUTE), 20), 10)
    yield* TestClock.adjust(WRITE_INTERVAL_MS)
    assert.isDefined(yield* limits.admitAddress(HERE, ROUTE))
    const isFileInUse = store.stats().isFileInUse
    yield* close
    return isFileInUse
  })

  it.effect("that is damaged is set aside, and another begun", () =>
    Effect.gen(function* () {
      const file = yield* filename
      writeFileSync(file, "not a database".repeat(1_000))
      assert.isTrue(yield* worksWithout(file))
      assert.match(readFileSync(`${file}.damaged`, "utf8"), /^not a database/)
      assert.strictEqual(bucketRows(file), 1)
    }),
  )

  it.effect("that becomes damaged while it is open costs nobody a request", () =>
    Effect.gen(function* () {
      const file = yield* filename
      const { close, limits } = yield* openClosable({ filename: file })
      yield* admitted(limits.admitAddress(HERE, ROUTE), 10)
      yield* TestClock.adjust(WRITE_INTERVAL_MS)
      for (const each of [file, `${file}-wal`]) truncateSync(each, 100)
      for (let n = 0; n < 4; n++) {
        yield* TestClock.adjust(WRITE_INTERVAL_MS)
        assert.isUndefined(yield* limits.admit(caller("key_1"), ROUTE))
        // Ten at once, and then one each six seconds.
        const answered = yield* admitted(limits.admitAddress("192.0.2.8", ROUTE), 20)
        assert.strictEqual(answered, [10, 0, 0, 1][n])
      }
      yield* close
      // Counts may be lost with the file; the next start is none the worse for it otherwise.
      const after = yield* open({ filename: file })
      assert.isTrue(after.store.stats().isFileInUse)
      assert.isAtMost(yield* admitted(after.limits.admitAddress("192.0.2.8", ROUTE), 20), 10)
    }),
  )

  it.effect("that somebody else holds is done without, and taken up when it is free", () =>
    Effect.gen(function* () {
      const file = yield* filename
      const holder = yield* openClosable({ filename: file })
      const { close, limits, store } = yield* openClosable({ filename: file })
      assert.isFalse(store.stats().isFileInUse)
      assert.strictEqual(yield* admitted(limits.admitAddress(HERE, ROUTE), 20), 10)
      yield* holder.close
      yield* TestClock.adjust(FILE_RETRY_MS + WRITE_INTERVAL_MS)
      assert.isTrue(store.stats().isFileInUse)
      yield* close
      assert.strictEqual(bucketRows(file), 1)
    }),
  )

  it.effect("that cannot be made, or is another program's, is left alone", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      mkdirSync(join(folder, "folder.db"))
      assert.isFalse(yield* worksWithout(join(folder, "folder.db")))
      const foreign = join(folder, "foreign.db")
      const database = new DatabaseSync(foreign)
      database.exec("CREATE TABLE theirs (x)")
      database.close()
      const bytes = readFileSync(foreign)
      assert.isFalse(yield* worksWithout(foreign))
      // WAL mode is set before anybody can know whose it is; nothing else is touched.
      const again = new DatabaseSync(foreign)
      assert.deepStrictEqual(
        again
          .prepare("SELECT name FROM sqlite_schema")
          .all()
          .map(({ name }) => name),
        ["theirs"],
      )
      again.close()
      assert.strictEqual(readFileSync(foreign).length, bytes.length)
    }),
  )
})

describe("the record of violations", () => {
  it.effect("outlives a restart, and goes on counting", () =>
    Effect.gen(function* () {
      const file = yield* filename
      const before = yield* openClosable({ filename: file })
      yield* admitted(before.limits.admitAddress(HERE, ROUTE), 11)
      yield* before.close
      yield* TestClock.adjust("1 second")
      const { limits } = yield* open({ filename: file })
      yield* limits.admitAddress(HERE, ROUTE)
      assert.deepInclude(limits.violations()[0], { caller: HERE, count: 2, firstAt: 0, lastAt: 1_000 })
    }),
  )

  it.effect("is forgotten a week after the last one", () =>
    Effect.gen(function* () {
      const file = yield* filename
      const before = yield* openClosable({ filename: file })
      yield* admitted(before.limits.admitAddress(HERE, ROUTE), 11)
      yield* TestClock.adjust("10 seconds")
      yield* admitted(before.limits.admitAddress("192.0.2.8", ROUTE), 11)
      yield* before.close
      yield* TestClock.adjust(VIOLATION_AGE_MS - 5_000)
      const { limits } = yield* open({ filename: file })
      const callers = () => limits.violations().map(({ caller }) => caller)
      assert.deepStrictEqual(callers(), ["192.0.2.8"])
      yield* TestClock.adjust("2 minutes")
      assert.isEmpty(callers())
    }),
  )

  it.effect("is bounded, in memory and in the file: the oldest make room", () =>
    Effect.gen(function* () {
      const file = yield* filename
      const { close, store } = yield* openClosable({ filename: file })
      const refuse = (n: number) =>
        store.refused({ caller: `10.0.0.${n}`, kind: "address", policy: "anonymous", route: "GET /" }, n)
      for (let n = 0; n < VIOLATIONS_MAX; n++) refuse(n)
      yield* TestClock.adjust(WRITE_INTERVAL_MS)
      for (let n = VIOLATIONS_MAX; n < VIOLATIONS_MAX * 3; n++) refuse(n)
      assert.lengthOf(store.violations(), VIOLATIONS_MAX)
      yield* close
      const database = new DatabaseSync(file, { readOnly: true })
      const [row] = database.prepare("SELECT count(*) AS n, min(first_at) AS oldest FROM violations").all()
      database.close()
      assert.deepStrictEqual({ ...row }, { n: VIOLATIONS_MAX, oldest: VIOLATIONS_MAX * 2 })
    }),
  )
})
