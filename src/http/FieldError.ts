/**
 * What is wrong with one field of a request, and the translation of a failed schema decode into the list of all of them.
 * Messages are for people and name the expectation; they never repeat the value that was sent, nor schema internals.
 */
import { Schema, SchemaAST, type SchemaIssue } from "effect"

/** Stable codes, for programs. */
const FieldErrorCode = Schema.Literals([
  "missing",
  "unknown_field",
  "invalid_type",
  "invalid_value",
  "invalid_format",
  "out_of_range",
  "invalid_length",
])
type FieldErrorCode = typeof FieldErrorCode.Type

/** `field` is a path like `output_settings.fps` or `words.3.start`; empty for the body as a whole. */
export const FieldError = Schema.Struct({
  field: Schema.String,
  code: FieldErrorCode,
  message: Schema.String,
}).annotate({ identifier: "FieldError" })
export type FieldError = typeof FieldError.Type

export const FieldErrors = Schema.Array(FieldError)

/** How many errors one answer lists: a body of 10 MB can have a million. */
export const FIELD_ERRORS_MAX = 100
/** Characters of one path segment that an answer repeats: unknown keys are the caller's own, of any length. */
const SEGMENT_CHARACTERS_MAX = 64
/** Choices that a message spells out. */
const CHOICES_MAX = 20

/**
 * Every field error of an issue, at most {@link FIELD_ERRORS_MAX}. `at` is put before each path: a job's payload decoded
 * on its own is reported under `payload`.
 */
export const fieldErrors = (
  issue: SchemaIssue.Issue,
  at: ReadonlyArray<PropertyKey> = [],
): ReadonlyArray<FieldError> => {
  const errors: Array<FieldError> = []
  collect(issue, at, errors)
  return errors
}

const collect = (
  issue: SchemaIssue.Issue,
  path: ReadonlyArray<PropertyKey>,
  into: Array<FieldError>,
): void => {
  if (into.length >= FIELD_ERRORS_MAX) return
  const add = (code: FieldErrorCode, message: string, at = path) =>
    void into.push({ field: formatPath(at), code, message })
  switch (issue._tag) {
    case "Pointer":
      return collect(issue.issue, [...path, ...issue.path], into)
    case "Composite":
      for (const inner of issue.issues) collect(inner, path, into)
      return
    case "Encoding":
      return collect(issue.issue, path, into)
    case "MissingKey":
      return add("missing", "is required")
    case "UnexpectedKey":
      return add("unknown_field", "is not a known field")
    case "InvalidType":
      // As with several: of the right type or not, it is not what may stand here.
      return add(
        SchemaAST.isLiteral(issue.ast) ? "invalid_value" : "invalid_type",
        `must be ${describe(issue.ast)}`,
      )
    case "Filter":
      return collectFilter(issue, path, into)
    case "AnyOf": {
      if (issue.issues.length === 1) return collect(issue.issues[0]!, path, into)
      const choice = discriminator(issue.ast)
      if (choice === undefined) return add(codeOfUnion(issue.ast), `must be ${describe(issue.ast)}`)
      return add("invalid_value", `must be ${choice.expected}`, [...path, choice.key])
    }
    case "InvalidValue": {
      const { code, message } = fromAnnotations(issue.annotations)
      return add(code, message)
    }
    case "OneOf":
      return add("invalid_value", "fits more than one of the accepted forms")
    case "Forbidden":
      return add("invalid_value", "cannot be used here")
  }
}

/** A failed check: its own message, else the one its inner issue carries, else what the check expected. */
const collectFilter = (
  issue: SchemaIssue.Filter,
  path: ReadonlyArray<PropertyKey>,
  into: Array<FieldError>,
): void => {
  if (issue.issue._tag !== "InvalidValue") return collect(issue.issue, path, into)
  const id = checkId(issue.filter.annotations)
  // Numbers in a query or path arrive as text, and fail as text that is not one.
  if (id.endsWith("/isStringFinite")) {
    into.push({ field: formatPath(path), code: "invalid_type", message: "must be a number" })
    return
  }
  const own = fromAnnotations(issue.filter.annotations)
  const inner = fromAnnotations(issue.issue.annotations)
  const { message } = own.known ? own : inner
  into.push({ field: formatPath(path), code: codeOfCheck(id), message })
}

const fromAnnotations = (
  annotations: { readonly [key: string]: unknown } | undefined,
): { readonly code: FieldErrorCode; readonly message: string; readonly known: boolean } => {
  const message = annotations?.["message"]
  if (typeof message === "string") return { code: "invalid_value", message, known: true }
  const expected = annotations?.["expected"]
  if (typeof expected !== "string")
    return { code: "invalid_value", message: "has a value that cannot be used", known: false }
  // A default pattern check spells out its regular expression, which helps nobody.
  if (expected.includes("RegExp"))
    return { code: "invalid_format", message: "does not have the right format", known: true }
  return { code: "invalid_format", message: `must be ${expected}`, known: true }
}

/** The id of a built-in check, like `effect/schema/isBetween`; empty for one of our own. */
const checkId = (annotations: { readonly [key: string]: unknown } | undefined): string => {
  const representation = annotations?.["representation"] as { readonly id?: unknown } | undefined
  return typeof representation?.id === "string" ? representation.id : ""
}

const codeOfCheck = (id: string): FieldErrorCode => {
  if (/Length|Size|Properties|NonEmpty|Unique/.test(id)) return "invalid_length"
  if (/Greater|Less|Between|MultipleOf/.test(id)) return "out_of_range"
  if (/isInt$|isFinite$/.test(id)) return "invalid_type"
  return id === "" ? "invalid_value" : "invalid_format"
}

const codeOfUnion = (union: SchemaAST.Union): FieldErrorCode =>
  union.types.every((type) => SchemaAST.isLiteral(type)) ? "invalid_value" : "invalid_type"

/** The field that tells the members of a tagged union apart, and the values it may have. */
const discriminator = (
  union: SchemaAST.Union,
): { readonly key: PropertyKey; readonly expected: string } | undefined => {
  const [first] = union.types
  if (first === undefined || !union.types.every((type) => SchemaAST.isObjects(type))) return undefined
  if (!SchemaAST.isObjects(first)) return undefined
  for (const { name } of first.propertySignatures) {
    const types = union.types.map(
      (type) =>
        SchemaAST.isObjects(type) && type.propertySignatures.find((property) => property.name === name)?.type,
    )
    if (types.every((type) => type !== undefined && type !== false && SchemaAST.isLiteral(type))) {
      return { key: name, expected: oneOf(types.map((type) => describe(type as SchemaAST.AST))) }
    }
  }
  return undefined
}

/** The JSON form that is expected, in words. */
const describe = (ast: SchemaAST.AST): string => {
  switch (ast._tag) {
    case "String":
    case "TemplateLiteral":
      return "a string"
    case "Number":
      return "a number"
    case "Boolean":
      return "true or false"
    case "Null":
      return "null"
    case "Literal":
      return typeof ast.literal === "string" ? JSON.stringify(ast.literal) : String(ast.literal)
    case "Enum":
      return oneOf(ast.enums.map(([, value]) => JSON.stringify(value)))
    case "Arrays":
      return "an array"
    case "Objects":
    case "ObjectKeyword":
      return "an object"
    case "Union":
      return oneOf([...new Set(ast.types.map(describe))])
    case "Suspend":
      return describe(ast.thunk())
    case "Declaration": {
      const expected = ast.annotations?.["expected"]
      return typeof expected === "string" ? expected : "a valid value"
    }
    default:
      return "a valid value"
  }
}

const oneOf = (choices: ReadonlyArray<string>): string => {
  if (choices.length === 1) return choices[0]!
  const shown = choices.slice(0, CHOICES_MAX)
  if (shown.length < choices.length) return `one of ${shown.join(", ")}, …`
  return `${shown.slice(0, -1).join(", ")} or ${shown.at(-1)}`
}

const formatPath = (path: ReadonlyArray<PropertyKey>): string =>
  path
    .map((segment) => {
      const text = String(segment)
      return text.length > SEGMENT_CHARACTERS_MAX ? `${text.slice(0, SEGMENT_CHARACTERS_MAX)}…` : text
    })
    .join(".")
