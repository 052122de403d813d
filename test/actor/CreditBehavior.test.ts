import { AssertionError } from "node:assert/strict"
import { describe, expect, it } from "vitest"
import { given } from "../../src/actor/BehaviorSpec.ts"
import { added, CreditBehavior, deducted } from "./CreditAccount.ts"

describe("a credit account", () => {
  it("adds up", () => {
    given(CreditBehavior, added(10)).when("Add", { amount: 5 }).thenEvents(added(5)).thenAnswer(15)
  })

  it("spends what it has", () => {
    given(CreditBehavior, added(10))
      .when("Deduct", { amount: 10, reference: "r1" })
      .thenEvents(deducted(10, "r1"))
      .thenAnswer(0)
  })

  it("refuses to spend more, and nothing happens", () => {
    const { state, thenRefused } = given(CreditBehavior, added(10)).when("Deduct", {
      amount: 11,
      reference: "r1",
    })
    thenRefused("InsufficientCredits")
    expect(state.balance).toBe(10)
  })

  it("spends once for one reference", () => {
    given(CreditBehavior, added(10), deducted(4, "r1"))
      .when("Deduct", { amount: 4, reference: "r1" })
      .thenEvents()
      .thenAnswer(6)
  })
})

describe("the given/when/then kit", () => {
  const outcome = () => given(CreditBehavior, added(10)).when("Deduct", { amount: 4, reference: "r1" })

  it("fails on other events, another answer, or another outcome", () => {
    expect(() => outcome().thenEvents(deducted(5, "r1"))).toThrow(AssertionError)
    expect(() => outcome().thenEvents()).toThrow(AssertionError)
    expect(() => outcome().thenAnswer(7)).toThrow(AssertionError)
    expect(() => outcome().thenRefused("InsufficientCredits")).toThrow(AssertionError)
    const refused = given(CreditBehavior).when("Deduct", { amount: 4, reference: "r1" })
    expect(() => refused.thenEvents()).toThrow(AssertionError)
    expect(() => refused.thenRefused("AccountIsClosed")).toThrow(AssertionError)
  })

  it("records the history one millisecond apart, and decides after it", () => {
    const history = given(CreditBehavior, added(1), added(2))
    expect(history.state.changedAt).toBe(2)
    expect(history.when("Add", { amount: 3 }).state.changedAt).toBe(3)
    expect(history.when("Add", { amount: 3 }, { now: 99 }).state.changedAt).toBe(99)
  })
})
