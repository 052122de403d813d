/**
 * Values for fields, from their schemas: valid ones, almost valid ones, and such as only somebody who means harm would send. A
 * {@link Known} stands for a text that the server gave out before, to be put in when the request is sent.
 */
import * as fc from "fast-check"
import type { Document, JsonSchema } from "./Document.ts"

/** A text from an earlier answer that this schema accepts, if there is one; else the given one. */
export class Known {
  readonly schema: JsonSchema
  readonly pick: number
  readonly otherwise: unknown

  constructor(schema: JsonSchema, pick: number, otherwise: unknown) {
    this.schema = schema
    this.pick = pick
    this.otherwise = otherwise
  }
}

const DEPTH_MAX = 4
const ITEMS_MAX = 4
const CHARACTERS_MAX = 40

/** Texts that have made trouble somewhere. */
const TEXTS = [
  "",
  " ",
  "null",
  "0",
  "-1",
  "1e999",
  "NaN",
  "true",
  "[object Object]",
  "__proto__",
  "constructor",
  "hasOwnProperty",
  "../../etc/passwd",
  "' OR 1=1 --",
  '"; DROP TABLE events; --',
  "<script>alert(1)</script>",
  "${7*7}{{7*7}}",
  "%00",
  "\u0000",
  "a\r\nX-Injected: yes",
  "\u202eright to left",
  "e\u0301\u0327\u20dd".repeat(8),
  "👩‍👩‍👧‍👦",
  "\ud800",
  "\ufeff",
  "ﷺ",
  "İıſK",
  "x".repeat(101),
  "é".repeat(300),
  "9".repeat(400),
  "2026-02-30T25:61:61Z",
  "+275760-09-13T00:00:00.001Z",
  "0000-01-01T00:00:00Z",
  "job_7zzzzzzzzzzzzzzzzzzzzzzzzz",
  "proj_00000000000000000000000000",
  "user:root",
] as const

const NUMBERS = [
  0,
  -0,
  1,
  -1,
  0.5,
  1e-7,
  255,
  256,
  2_147_483_648,
  4_294_967_296,
  Number.MAX_SAFE_INTEGER,
  2 ** 53 + 2,
  2 ** 63,
  1e21,
  Number.MAX_VALUE,
  Number.MIN_VALUE,
  -Number.MAX_VALUE,
] as const

const nested = (levels: number): unknown => JSON.parse("[".repeat(levels) + "]".repeat(levels))

/** Objects that do harm when they are merged, compared or asked for their names. `JSON.parse` makes `__proto__` a field. */
const OBJECTS = [
  {},
  JSON.parse('{"__proto__":{"admin":true,"toString":null}}'),
  { constructor: { prototype: { admin: true } } },
  JSON.parse('{"toString":"x","valueOf":1,"then":"x","length":-1}'),
  { toJSON: "x", "": "", "a.b": 1, "a[0]": 1 },
  Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`k${index}`, index])),
  nested(70),
  nested(1_500),
] as ReadonlyArray<unknown>

export const hostileText: fc.Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...TEXTS) },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: CHARACTERS_MAX }) },
  { weight: 1, arbitrary: fc.integer({ min: 200, max: 3_000 }).map((length) => "ab-".repeat(length / 3)) },
)

export const hostile: fc.Arbitrary<unknown> = fc.oneof(
  hostileText,
  fc.constantFrom(...NUMBERS),
  fc.constantFrom(null, true, false),
  fc.constantFrom(...OBJECTS),
  fc.array(fc.constantFrom(...NUMBERS, ...TEXTS), { maxLength: 30 }),
)

const anything: fc.Arbitrary<unknown> = fc.jsonValue({ maxDepth: 3 })

/** Values that a schema accepts. Most are one of its examples, alone or with more fields: those mean something to the server. */
export const valid = (document: Document, schema: JsonSchema, depth = 0): fc.Arbitrary<unknown> => {
  const target = flat(document.resolve(schema))
  const own = ofType(document, target, depth)
  const examples = target["examples"] as ReadonlyArray<unknown> | undefined
  if (examples === undefined || examples.length === 0) return own
  const example = fc.constantFrom(...examples)
  if (target["type"] !== "object") return fc.oneof(own, { weight: 3, arbitrary: example })
  const extended = fc.tuple(own, example).map(([more, each]) => Object.assign({}, more, each))
  return fc.oneof(own, extended, { weight: 4, arbitrary: example })
}

/** With what it says in `allOf` as its own: there each part adds a check to the same type. */
const flat = (schema: JsonSchema): JsonSchema =>
  Object.assign({}, schema, ...((schema["allOf"] ?? []) as ReadonlyArray<JsonSchema>)) as JsonSchema

const ofType = (document: Document, schema: JsonSchema, depth: number): fc.Arbitrary<unknown> => {
  const choices = (schema["anyOf"] ?? schema["oneOf"]) as ReadonlyArray<JsonSchema> | undefined
  if (choices !== undefined) return fc.oneof(...choices.map((each) => valid(document, each, depth)))
  if (Array.isArray(schema["enum"])) return fc.constantFrom(...(schema["enum"] as Array<unknown>))
  if ("const" in schema) return fc.constant(schema["const"])
  switch (schema["type"]) {
    case "string":
      return ofText(schema)
    case "integer":
      return fc.oneof(
        fc.maxSafeInteger().map((value) => within(schema, value)),
        fc.integer({ min: 0, max: 100 }).map((value) => within(schema, value)),
      )
    case "number":
      return fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => within(schema, value))
    case "boolean":
      return fc.boolean()
    case "null":
      return fc.constant(null)
    case "array":
      return ofItems(document, schema, depth)
    case "object":
      return ofFields(document, schema, depth)
    default:
      return depth > DEPTH_MAX ? fc.constant(null) : anything
  }
}

const within = (schema: JsonSchema, value: number): number =>
  Math.min(
    Math.max(value, (schema["minimum"] as number | undefined) ?? Number.MIN_SAFE_INTEGER),
    (schema["maximum"] as number | undefined) ?? Number.MAX_SAFE_INTEGER,
  )

const ofText = (schema: JsonSchema): fc.Arbitrary<unknown> => {
  const {
    format,
    maxLength,
    minLength = 0,
    pattern,
  } = schema as {
    readonly format?: string
    readonly maxLength?: number
    readonly minLength?: number
    readonly pattern?: string
  }
  const pick = fc.nat()
  if (format === "date-time") {
    const years = { min: new Date("1990-01-01"), max: new Date("2099-01-01"), noInvalidDate: true }
    return fc.date(years).map((date) => date.toISOString())
  }
  if (format === "uri") return fc.webUrl()
  if (pattern !== undefined) {
    return fc
      .tuple(fc.stringMatching(new RegExp(pattern, "u")), pick, fc.boolean())
      .map(([text, index, isNew]) => (isNew ? text : new Known(schema, index, text)))
  }
  const text = fc.string({
    minLength,
    maxLength: Math.min(maxLength ?? CHARACTERS_MAX, CHARACTERS_MAX + minLength),
  })
  return fc.oneof(
    text,
    fc.tuple(text, pick).map(([otherwise, index]) => new Known(schema, index, otherwise)),
  )
}

const ofItems = (document: Document, schema: JsonSchema, depth: number): fc.Arbitrary<unknown> => {
  const minLength = (schema["minItems"] as number | undefined) ?? 0
  const maxLength = Math.min((schema["maxItems"] as number | undefined) ?? ITEMS_MAX, ITEMS_MAX + minLength)
  if (depth > DEPTH_MAX) return fc.constant([])
  const item = valid(document, schema["items"] as JsonSchema, depth + 1)
  return schema["uniqueItems"] === true
    ? fc.uniqueArray(item, { minLength, maxLength, selector: (each) => JSON.stringify(each) })
    : fc.array(item, { minLength, maxLength })
}

const ofFields = (document: Document, schema: JsonSchema, depth: number): fc.Arbitrary<unknown> => {
  const properties = (schema["properties"] ?? {}) as Record<string, JsonSchema>
  const required = (schema["required"] ?? []) as ReadonlyArray<string>
  const fields = Object.entries(properties).map(([name, each]): [string, fc.Arbitrary<unknown>] => [
    name,
    valid(document, each, depth + 1),
  ])
  // Each field for itself a third of the time: with all of them, most bodies would contradict themselves.
  const chosen = fc.array(fc.nat({ max: 2 }), { minLength: fields.length, maxLength: fields.length })
  return fc
    .tuple(chosen, fc.record(Object.fromEntries(fields)))
    .map(([choices, record]) =>
      Object.fromEntries(
        fields.flatMap(([name], index) =>
          required.includes(name) || choices[index] === 0 ? [[name, record[name]]] : [],
        ),
      ),
    )
}

/** Valid but for one thing. */
export const nearlyValid = (document: Document, schema: JsonSchema): fc.Arbitrary<unknown> =>
  fc
    .tuple(valid(document, schema), fc.nat(), hostile, fc.constantFrom("replace", "add", "remove", "wrap"))
    .map(([value, pick, other, change]) => changed(value, pick, other, change as Change))

type Change = "replace" | "add" | "remove" | "wrap"

const changed = (value: unknown, pick: number, other: unknown, change: Change): unknown => {
  const isContainer = typeof value === "object" && value !== null && !(value instanceof Known)
  if (change === "wrap" && pick % 5 === 0) return [value]
  const keys = isContainer ? Object.keys(value) : []
  if (change === "add" && isContainer && !Array.isArray(value)) {
    return { ...value, [typeof other === "string" ? other : "unknown"]: other }
  }
  if (keys.length === 0) return other
  const key = keys[pick % keys.length]!
  const field = (value as Record<string, unknown>)[key]
  const isDeeper = typeof field === "object" && field !== null && !(field instanceof Known) && pick % 2 === 0
  const replaced = isDeeper ? changed(field, pick >>> 1, other, change) : change === "wrap" ? [field] : other
  if (Array.isArray(value)) return value.map((each, index) => (String(index) === key ? replaced : each))
  return Object.fromEntries(
    Object.entries(value as object).flatMap(([name, each]) =>
      name !== key ? [[name, each]] : change === "remove" && !isDeeper ? [] : [[name, replaced]],
    ),
  )
}

/** The value with every {@link Known} replaced by what it stands for. */
export const resolved = (value: unknown, find: (known: Known) => unknown): unknown => {
  if (value instanceof Known) return find(value)
  if (Array.isArray(value)) return value.map((each) => resolved(each, find))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, resolved(each, find)]))
}
