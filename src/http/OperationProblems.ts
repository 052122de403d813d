/**
 * Which problems an operation can have, in OpenAPI. The contract declares those of the edge and of the protocol for every route;
 * of them, an operation keeps only what can happen to it. Schemas of problems get the members that are put on every one.
 */
import { SchemaAST } from "effect"
import type { HttpApiEndpoint } from "effect/http-api"
import { Idempotency } from "./Idempotency.ts"
import {
  type Answer,
  type Components,
  type JsonSchema,
  type Operation,
  type Reference,
  SCHEMAS,
} from "./OpenApiTypes.ts"
import { DEFAULT_PROBLEM_BASE, type ProblemPage } from "./Problem.ts"
import { problemPage } from "./ProblemRegistry.ts"
import { PROTOCOL_PROBLEMS } from "./ProtocolErrors.ts"
import {
  InvalidIdProblem,
  MalformedJsonProblem,
  NotAcceptableProblem,
  PayloadTooLargeProblem,
  UnsupportedVersionProblem,
  ValidationFailedProblem,
} from "./RequestProblems.ts"
import { ConflictProblem } from "./ResourceProblems.ts"
import { ResponseTooLargeProblem } from "./ServiceProblems.ts"

const PROBLEM_JSON = "application/problem+json"

/** What decides which of the common problems an operation can have. */
interface Subject {
  readonly endpoint: HttpApiEndpoint.Top
  readonly path: string
  readonly produces: boolean
  /** The problems that the endpoint declares itself, by name. */
  readonly declared: ReadonlySet<string | undefined>
}

const takesBody = ({ endpoint }: Subject): boolean => endpoint.payload.size > 0

/** The problems that need something which not every route has that declares them. */
const CONDITIONS: ReadonlyMap<string, (subject: Subject) => boolean> = new Map([
  [InvalidIdProblem.page.slug, ({ endpoint }) => endpoint.params !== undefined],
  [MalformedJsonProblem.page.slug, takesBody],
  [PayloadTooLargeProblem.page.slug, takesBody],
  [NotAcceptableProblem.page.slug, ({ produces }) => produces],
  [ResponseTooLargeProblem.page.slug, ({ produces }) => produces],
  // A path that names its version leaves nothing to choose.
  [UnsupportedVersionProblem.page.slug, ({ path }) => !/^\/v\d+\//.test(path)],
  [
    ValidationFailedProblem.page.slug,
    (subject) =>
      takesBody(subject) ||
      subject.endpoint.query !== undefined ||
      subject.endpoint.headers !== undefined ||
      subject.endpoint.middlewares.has(Idempotency) ||
      subject.declared.has("ValidationFailedProblem"),
  ],
  // Every route that goes through the journal declares it; what changes nothing conflicts with nothing.
  [ConflictProblem.page.slug, ({ endpoint }) => endpoint.method !== "GET"],
])

/** Takes out of an operation what it cannot answer, and says in words what it can. */
export const describeProblems = (
  path: string,
  operation: Operation,
  endpoint: HttpApiEndpoint.Top,
  schemas: Components["schemas"],
): void => {
  const declared = new Set([...endpoint.error].map(({ ast }) => SchemaAST.resolveIdentifier(ast)))
  const subject: Subject = { endpoint, path, produces: produces(operation), declared }
  for (const [status, answer] of Object.entries(operation.responses)) {
    const media = answer.content?.[PROBLEM_JSON]
    if (media === undefined) continue
    const kept = alternatives(media.schema).filter(({ $ref }) => {
      const page = pageOf(schemas[$ref.slice(SCHEMAS.length)])
      return page === undefined || (CONDITIONS.get(page.slug)?.(subject) ?? true)
    })
    if (kept.length === 0) {
      withoutProblems(operation, status, answer)
      continue
    }
    media.schema = kept.length === 1 ? { ...kept[0]! } : { anyOf: kept }
    answer.description = kept
      .flatMap(({ $ref }) => pageOf(schemas[$ref.slice(SCHEMAS.length)]) ?? [])
      .map(({ slug, title }) => `\`${slug}\`: ${title}.`)
      .join("\n\n")
  }
}

const produces = ({ responses }: Operation): boolean =>
  Object.entries(responses).some(([status, { content }]) => status < "300" && content !== undefined)

const withoutProblems = (operation: Operation, status: string, answer: Answer): void => {
  delete answer.content![PROBLEM_JSON]
  if (Object.keys(answer.content!).length === 0) delete operation.responses[status]
}

const alternatives = (schema: JsonSchema): ReadonlyArray<Reference> =>
  (schema["anyOf"] as ReadonlyArray<Reference> | undefined) ?? [schema as unknown as Reference]

/**
 * An answer that can be but one problem is the same wherever it is given: it is written once, among the components, and
 * operations refer to it. After everything else, since it takes the answers away.
 */
export const shareProblems = (operation: Operation, components: Components): void => {
  for (const [status, answer] of Object.entries(operation.responses)) {
    const types = Object.entries("$ref" in answer ? {} : (answer.content ?? {}))
    const reference =
      types.length === 1 && types[0]![0] === PROBLEM_JSON ? types[0]![1].schema["$ref"] : undefined
    if (typeof reference !== "string") continue
    const name = reference.slice(SCHEMAS.length).replace(/Problem(Encoded)?$/, "")
    components.responses = { ...components.responses, [name]: answer }
    operation.responses[status] = { $ref: `#/components/responses/${name}` } as unknown as Answer
  }
}

/** What is put on every problem, but for the path of what never became a request. */
export const describeProblemSchemas = (schemas: Components["schemas"]): void => {
  for (const [name, schema] of Object.entries(schemas)) {
    const page = pageOf(schema)
    if (page === undefined) continue
    const own = (schema["required"] ?? []) as ReadonlyArray<string>
    const instance = PROTOCOL_PROBLEMS.has(page.slug) ? [] : ["instance"]
    schemas[name] = {
      ...schema,
      description: `${page.title}. ${page.cause} ${page.cure}`,
      required: [...new Set(["type", "title", "status", ...instance, "trace_id", ...own])],
    }
  }
}

/** The registered problem that a schema is of. */
const pageOf = (schema: JsonSchema | undefined): ProblemPage | undefined => {
  const properties = schema?.["properties"] as Record<string, JsonSchema> | undefined
  const [type] = (properties?.["type"]?.["enum"] ?? []) as ReadonlyArray<unknown>
  return typeof type === "string" && type.startsWith(DEFAULT_PROBLEM_BASE)
    ? problemPage(type.slice(DEFAULT_PROBLEM_BASE.length))
    : undefined
}
