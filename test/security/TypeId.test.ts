import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as TypeId from "../../src/security/TypeId.ts"

const zeros = () => new TypeId.TypeIdGenerator((bytes) => bytes.fill(0))
const randoms = () => new TypeId.TypeIdGenerator((bytes) => crypto.getRandomValues(bytes))
const LATEST = 0xffff_ffff_ffff

describe("a TypeID", () => {
  it("is the one of the specification's example for the same UUIDv7", () => {
    // https://github.com/jetify-com/typeid/blob/main/spec/valid.yml: 01890a5d-ac96-774b-bcce-b302099a8057
    const random = [0xbc, 0xce, 0xb3, 0x02, 0x09, 0x9a, 0x80, 0x57, 0x07, 0x4b]
    const generator = new TypeId.TypeIdGenerator((bytes) => bytes.set(random))
    expect(generator.next("prefix", 0x0189_0a5d_ac96)).toBe("prefix_01h455vb4pex5vsknk084sn02q")
  })

  it("has its prefix, and 26 characters of which the first is at most 7", () => {
    const generator = randoms()
    const isJobId = Schema.is(TypeId.schema("job"))
    for (const now of [0, 1, 1_700_000_000_000, LATEST]) {
      const id = generator.next("job", now)
      expect(id).toMatch(/^job_[0-7][0-9a-hjkmnp-tv-z]{25}$/)
      expect(isJobId(id)).toBe(true)
    }
  })

  it.each([
    "",
    "job_",
    "01h455vb4pex5vsknk084sn02q",
    "proj_01h455vb4pex5vsknk084sn02q",
    "job_81h455vb4pex5vsknk084sn02q",
    "job_01h455vb4pex5vsknk084sn02",
    "job_01h455vb4pex5vsknk084sn02qq",
    "job_01H455VB4PEX5VSKNK084SN02Q",
    "job_01h455vb4pex5vsknk084sn02u",
    " job_01h455vb4pex5vsknk084sn02q",
    "job_01h455vb4pex5vsknk084sn02q\n",
    "xjob_01h455vb4pex5vsknk084sn02q",
  ])("%j is not the id of a job", (text) => {
    expect(Schema.is(TypeId.schema("job"))(text)).toBe(false)
  })

  it("tells when it was made", () => {
    const moments = fc.integer({ min: 0, max: LATEST })
    fc.assert(fc.property(moments, (now) => TypeId.timestampOf(randoms().next("job", now)) === now))
  })

  it("is a UUIDv7: version 7, variant 2", () => {
    const generator = randoms()
    for (let i = 0; i < 100; i++) {
      const bits = Array.from(generator.next("x", Date.now()).slice(2))
        .map((char) => "0123456789abcdefghjkmnpqrstvwxyz".indexOf(char).toString(2).padStart(5, "0"))
        .join("")
        .slice(2)
      expect(bits.slice(48, 52)).toBe("0111")
      expect(bits.slice(64, 66)).toBe("10")
    }
  })

  it("sorts in the order of creation, also within a millisecond and when the clock is set back", () => {
    const clocks = fc.array(fc.integer({ min: -3, max: 2 }), { minLength: 2, maxLength: 300 })
    fc.assert(
      fc.property(clocks, fc.boolean(), (steps, constant) => {
        const generator = constant ? zeros() : randoms()
        let now = 1_700_000_000_000
        const ids = steps.map((step) => generator.next("job", (now += step)))
        expect(ids.toSorted()).toEqual(ids)
        expect(new Set(ids).size).toBe(ids.length)
      }),
    )
  })

  it("sorts ten thousand ids of one millisecond, and stays close to it", () => {
    const generator = zeros()
    const now = 1_700_000_000_000
    const ids = Array.from({ length: 10_000 }, () => generator.next("job", now))
    expect(ids.toSorted()).toEqual(ids)
    expect(new Set(ids).size).toBe(ids.length)
    expect(TypeId.timestampOf(ids.at(-1)!) - now).toBeLessThan(4)
  })

  it("keeps its identity under another prefix", () => {
    expect(TypeId.withPrefix("job_01h455vb4pex5vsknk084sn02q", "rnd")).toBe("rnd_01h455vb4pex5vsknk084sn02q")
    expect(TypeId.withPrefix("a_long_prefix_01h455vb4pex5vsknk084sn02q", "rnd")).toBe(
      "rnd_01h455vb4pex5vsknk084sn02q",
    )
  })

  it.effect("is stamped by the clock", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_800_000_000_000)
      expect(TypeId.timestampOf(yield* TypeId.make("key"))).toBe(1_800_000_000_000)
    }).pipe(Effect.provideService(TypeId.Generator, randoms())),
  )
})
