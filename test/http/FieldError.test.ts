import { assert, describe, it } from "@effect/vitest"
import { Exit, Schema } from "effect"
import { FIELD_ERRORS_MAX, type FieldError, fieldErrors } from "../../src/http/FieldError.ts"

const errorsOf = <S extends Schema.Codec<unknown, unknown>>(
  schema: S,
  input: unknown,
  at?: ReadonlyArray<PropertyKey>,
): ReadonlyArray<FieldError> => {
  const exit = Schema.decodeUnknownExit(schema, { errors: "all", onExcessProperty: "error" })(input)
  const reason = Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
  return reason?._tag === "Fail" ? fieldErrors(reason.error.issue, at) : []
}

const one = (schema: Schema.Codec<unknown, unknown>, input: unknown) => {
  const [error] = errorsOf(schema, input)
  return `${error?.code}: ${error?.message}`
}

describe("field errors", () => {
  it("name the expectation, never the value", () => {
    assert.strictEqual(one(Schema.String, 1), "invalid_type: must be a string")
    assert.strictEqual(one(Schema.Boolean, "secret"), "invalid_type: must be true or false")
    assert.strictEqual(one(Schema.NullOr(Schema.String), 1), "invalid_type: must be a string or null")
    assert.strictEqual(one(Schema.Array(Schema.String), {}), "invalid_type: must be an array")
    assert.strictEqual(one(Schema.Int, 1.5), "invalid_type: must be an integer")
    assert.strictEqual(one(Schema.Literals(["a", 1]), "secret"), 'invalid_value: must be "a" or 1')
  })

  it("give each kind of check its code", () => {
    const text = (check: Parameters<typeof Schema.String.check>[0], input: string) =>
      one(Schema.String.check(check), input)
    assert.strictEqual(text(Schema.isPattern(/^a+$/), "b"), "invalid_format: does not have the right format")
    assert.strictEqual(
      text(Schema.isPattern(/^a+$/, { expected: "some a" }), "b"),
      "invalid_format: must be some a",
    )
    assert.match(text(Schema.isMaxLength(2), "abc"), /^invalid_length: /)
    assert.match(text(Schema.isNonEmpty(), ""), /^invalid_length: /)
    const own = Schema.makeFilter((value: string) => (value === "x" ? undefined : "must rhyme"))
    assert.strictEqual(text(own, "b"), "invalid_value: must rhyme")
    assert.match(one(Schema.Finite.check(Schema.isGreaterThan(3)), 3), /^out_of_range: /)
  })

  it("stay within bounds whatever is sent", () => {
    const Known = Schema.Struct({ known: Schema.optionalKey(Schema.String) })
    const wide = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`k${i}`, 1]))
    assert.lengthOf(errorsOf(Known, wide), FIELD_ERRORS_MAX)
    const [long] = errorsOf(Known, { ["x".repeat(10_000)]: 1 })
    assert.isBelow(long?.field.length ?? Infinity, 100)
  })

  it("are reported under the field that holds what was decoded on its own", () => {
    assert.deepStrictEqual(errorsOf(Schema.Struct({ ms: Schema.Int }), { ms: "1" }, ["payload"]), [
      { field: "payload.ms", code: "invalid_type", message: "must be a number" },
    ])
  })
})
