import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import {
  look,
  OTHERS,
  SUBJECTS_MAX,
  type Watched,
  type Watches,
} from "../../../src/telemetry/alerts/AlertRule.ts"

const LOOK_MS = 15_000
const rule = { forMs: 30_000, coolDownMs: 60_000 }

const sign = (subject: string, detail = "wrong") => ({ subject, detail })

/** What looks at these signs, one after the other, have fired and resolved. */
const history = (looks: ReadonlyArray<ReadonlyArray<string>>, { coolDownMs, forMs } = rule) => {
  let watches: Watches = new Map()
  return looks.map((subjects, i) => {
    const after = look(
      watches,
      subjects.map((subject) => sign(subject)),
      { coolDownMs, forMs },
      i * LOOK_MS,
    )
    watches = after.watches
    const names = (list: ReadonlyArray<Watched>) => list.map(({ subject }) => subject).join()
    return `${names(after.fired)}/${names(after.resolved)}`
  })
}

describe("an alert rule", () => {
  it("fires once a sign has been seen for long enough, and not if it was gone in between", () => {
    assert.deepStrictEqual(history([["a"], ["a"], ["a"], ["a"]]), ["/", "/", "a/", "/"])
    assert.deepStrictEqual(history([["a"], ["a"], [], ["a"], ["a"], ["a"]]), ["/", "/", "/", "/", "/", "a/"])
  })

  it("fires at once where it need not wait", () => {
    assert.deepStrictEqual(history([["a"]], { forMs: 0, coolDownMs: 0 }), ["a/"])
  })

  it("is over once the sign has been gone for long enough; what comes back before is the same alert", () => {
    const on = [["a"], ["a"], ["a"]]
    assert.deepStrictEqual(history([...on, [], [], [], []]).slice(3), ["/", "/", "/", "/a"])
    assert.deepStrictEqual(history([...on, [], [], ["a"], [], [], [], []]).slice(3), [
      "/",
      "/",
      "/",
      "/",
      "/",
      "/",
      "/a",
    ])
  })

  it("keeps what is wrong with one thing apart from what is wrong with another", () => {
    assert.deepStrictEqual(history([["a"], ["b"], ["b"], ["b", "a"]]), ["/", "/", "/", "b/"])
  })

  it("says what was seen last", () => {
    const { watches } = look(new Map(), [sign("a", "one")], rule, 0)
    const after = look(watches, [sign("a", "two")], rule, LOOK_MS)
    assert.deepStrictEqual(after.watches.get("a"), {
      subject: "a",
      detail: "two",
      since: 0,
      seenAt: LOOK_MS,
      firedAt: undefined,
    })
  })

  it("watches a bounded number of subjects, first those that it knows", () => {
    const { watches } = look(new Map(), [sign("last")], rule, 0)
    const many = [...Array.from({ length: SUBJECTS_MAX + 9 }, (_, i) => sign(`s${i}`)), sign("last")]
    const after = look(watches, many, rule, LOOK_MS).watches
    assert.strictEqual(after.size, SUBJECTS_MAX)
    assert.strictEqual(after.get("last")?.since, 0)
    assert.strictEqual(after.get(OTHERS)?.detail, "11 more")
  })

  it("whatever is seen, firing and being over take turns, and no sooner than the rule says", () => {
    const subjects = fc.array(fc.subarray(["a", "b"]), { maxLength: 60 })
    const wait = fc.nat(6).map((looks) => looks * LOOK_MS)
    fc.assert(
      fc.property(subjects, wait, wait, (looks, forMs, coolDownMs) => {
        const told = history(looks, { forMs, coolDownMs })
        for (const subject of ["a", "b"]) {
          let isFiring = false
          let changedAt = Number.NEGATIVE_INFINITY
          told.forEach((entry, i) => {
            const [fired, resolved] = entry.split("/").map((names) => names!.split(",").includes(subject))
            assert.isFalse(fired && resolved)
            assert.isFalse(isFiring ? fired : resolved)
            if (fired) {
              const seen = looks.slice(i - forMs / LOOK_MS, i + 1)
              assert.isTrue(seen.every((subjects) => subjects.includes(subject)))
              isFiring = true
            }
            if (resolved) {
              const seen = looks.slice(Math.max(0, i - Math.max(coolDownMs / LOOK_MS - 1, 0)), i + 1)
              assert.isFalse(seen.some((subjects) => subjects.includes(subject)))
              assert.isAtLeast(i * LOOK_MS - changedAt, coolDownMs)
              isFiring = false
            }
            if (fired || resolved) changedAt = i * LOOK_MS
          })
        }
      }),
    )
  })
})
