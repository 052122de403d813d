/**
 * The OpenAPI document of a running server as its tests read it: operations with their references followed, and validators for
 * whatever it says about bodies, headers and parameters.
 */
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js"
import { Effect } from "effect"
import type { Client } from "../support/Client.ts"

export interface JsonSchema {
  readonly [keyword: string]: unknown
}

export interface Parameter {
  readonly name: string
  readonly in: "path" | "query" | "header"
  readonly required: boolean
  readonly schema: JsonSchema
}

/** What an operation may answer with one status: media types, and headers by their names in lower case. */
export interface Declared {
  readonly content: ReadonlyMap<string, JsonSchema>
  readonly headers: ReadonlyMap<string, { readonly required: boolean; readonly schema: JsonSchema }>
}

export interface Operation {
  /** `GET /v1/jobs/{id}`. */
  readonly name: string
  readonly method: string
  readonly path: string
  readonly parameters: ReadonlyArray<Parameter>
  /** The schema of the JSON body that it takes. */
  readonly body: JsonSchema | undefined
  /** The scopes of each way to authenticate; none when anybody may call. */
  readonly security: ReadonlyArray<ReadonlyArray<string>>
  /** Only for those who sign. */
  readonly isSigned: boolean
  readonly answers: ReadonlyMap<number, Declared>
}

/** RFC 3339 §5.6. */
const DATE_TIME = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/
const ROOT = "openapi"

export class Document {
  /** As it was served. */
  readonly source: string
  readonly operations: ReadonlyArray<Operation>
  readonly #root: JsonSchema
  readonly #ajv: Ajv2020
  readonly #validators = new WeakMap<JsonSchema, ValidateFunction>()

  constructor(source: string) {
    this.source = source
    this.#root = JSON.parse(source) as JsonSchema
    // Not strict: the document is more than a schema, and formats are there for people first.
    this.#ajv = new Ajv2020({
      strict: false,
      formats: { "date-time": DATE_TIME, uri: URL.canParse, binary: true },
    })
    this.#ajv.addSchema(this.#root, ROOT)
    const paths = this.#root["paths"] as Record<string, Record<string, JsonSchema>>
    this.operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) =>
        this.#operation(path, method.toUpperCase(), operation),
      ),
    )
  }

  /** Follows a reference within the document; anything else stays as it is. */
  resolve(node: JsonSchema): JsonSchema {
    const reference = node["$ref"]
    if (typeof reference !== "string") return node
    const target = reference
      .slice(2)
      .split("/")
      .map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"))
      .reduce((at: unknown, token) => (at as Record<string, unknown>)[token], this.#root)
    return this.resolve(target as JsonSchema)
  }

  accepts(schema: JsonSchema, value: unknown): boolean {
    return this.faultOf(schema, value) === undefined
  }

  /** Why a value is not what the schema says. */
  faultOf(schema: JsonSchema, value: unknown): string | undefined {
    let validate = this.#validators.get(schema)
    if (validate === undefined) {
      validate = this.#ajv.compile(absolute(schema))
      this.#validators.set(schema, validate)
    }
    return validate(value) ? undefined : this.#ajv.errorsText(validate.errors)
  }

  /** The operations whose paths cover this one, by method: an operation of another path may answer instead. */
  methodsOf(path: string): ReadonlySet<string> {
    const segments = path.split("/")
    const covers = (template: string) => {
      const parts = template.split("/")
      return (
        parts.length === segments.length &&
        parts.every((part, index) => part.startsWith("{") || part === segments[index])
      )
    }
    return new Set(this.operations.filter((each) => covers(each.path)).map(({ method }) => method))
  }

  #operation(path: string, method: string, operation: JsonSchema): Operation {
    const parameters = (operation["parameters"] ?? []) as ReadonlyArray<JsonSchema>
    const content = (operation["requestBody"] as JsonSchema | undefined)?.["content"] as
      | Record<string, { readonly schema: JsonSchema }>
      | undefined
    const security = (operation["security"] ?? []) as ReadonlyArray<Record<string, ReadonlyArray<string>>>
    const responses = operation["responses"] as Record<string, JsonSchema>
    return {
      name: `${method} ${path}`,
      method,
      path,
      parameters: parameters.map((each) => this.resolve(each) as unknown as Parameter),
      body: content?.["application/json"]?.schema,
      security: security.map((requirement) => Object.values(requirement).flat()),
      isSigned: security.length === 1 && "signature" in security[0]!,
      answers: new Map(
        Object.entries(responses).map(([status, answer]) => [
          Number(status),
          this.#declared(this.resolve(answer)),
        ]),
      ),
    }
  }

  #declared(answer: JsonSchema): Declared {
    const content = (answer["content"] ?? {}) as Record<string, { readonly schema: JsonSchema }>
    const headers = (answer["headers"] ?? {}) as Record<string, JsonSchema>
    return {
      content: new Map(Object.entries(content).map(([type, { schema }]) => [type, schema])),
      headers: new Map(
        Object.entries(headers).map(([name, header]) => {
          const { required, schema } = this.resolve(header)
          return [name.toLowerCase(), { required: required === true, schema: schema as JsonSchema }]
        }),
      ),
    }
  }
}

/** The schema with references that lead into the document from wherever it stands. */
const absolute = (schema: JsonSchema): JsonSchema =>
  JSON.parse(JSON.stringify(schema), (key, value: unknown) =>
    key === "$ref" && typeof value === "string" ? `${ROOT}${value}` : value,
  ) as JsonSchema

export const documentOf = (client: Client): Effect.Effect<Document> =>
  Effect.map(client.get("/openapi.json"), ({ text }) => new Document(text))
