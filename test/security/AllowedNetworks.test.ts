import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { AllowedNetworks, canonical, contain } from "../../src/security/AllowedNetworks.ts"

describe("allowed networks", () => {
  it("have one spelling", () => {
    for (const [text, expected] of [
      ["192.0.2.1", "192.0.2.1/32"],
      ["192.0.2.0/24", "192.0.2.0/24"],
      ["0.0.0.0/0", "0.0.0.0/0"],
      ["2001:DB8:0:0::/32", "2001:db8::/32"],
      ["::1", "::1/128"],
    ] as const)
      assert.strictEqual(Result.getOrThrow(canonical(text)), expected)
  })

  it("that are none, or not written as what they are, are refused", () => {
    for (const text of [
      "",
      "example.com",
      "192.0.2.1/24",
      "192.0.2.0/33",
      "192.0.2.0/-1",
      "192.0.2.0/",
      "192.0.2/24",
      "010.0.0.1",
      "0x7f.1",
      "2130706433",
      "2001:db8::1/32",
      "fe80::1%eth0",
      "::ffff:192.0.2.1",
      "::ffff:0:0/96",
      "192.0.2.0/24 ",
      `192.0.2.0/24${" ".repeat(50)}`,
    ])
      assert.isTrue(Result.isFailure(canonical(text)), text)
  })

  it("admit who is in them, and nobody else", () => {
    const networks = new AllowedNetworks(["192.0.2.0/25", "2001:db8::/32"])
    for (const [address, admitted] of [
      ["192.0.2.0", true],
      ["192.0.2.127", true],
      ["192.0.2.128", false],
      ["192.0.2.127", true],
      ["::ffff:192.0.2.1", true],
      ["::ffff:c000:201", true],
      ["::ffff:192.0.2.200", false],
      ["2001:db8:ffff::1", true],
      ["2001:db9::1", false],
      ["::1", false],
      ["", false],
      ["unknown", false],
      [undefined, false],
    ] as const)
      assert.strictEqual(networks.admits(address), admitted, address)
  })

  it("contain others or do not", () => {
    assert.isTrue(contain(["10.0.0.0/8"], ["10.0.0.0/8", "10.1.2.3/32"]))
    assert.isTrue(contain(["10.0.0.0/8", "::/0"], ["2001:db8::/32"]))
    assert.isFalse(contain(["10.1.0.0/16"], ["10.0.0.0/8"]))
    assert.isFalse(contain(["0.0.0.0/0"], ["::/0"]))
    assert.isFalse(contain([], ["10.0.0.0/8"]))
  })
})
