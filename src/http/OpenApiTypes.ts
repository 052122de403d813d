/**
 * The parts of an OpenAPI 3.1 document that are read and completed before it is served, as types.
 */

/** A JSON Schema object. */
export interface JsonSchema {
  readonly [keyword: string]: unknown
}

export interface Reference {
  readonly $ref: string
}

/** A parameter of an operation. */
export interface Parameter {
  readonly name: string
  readonly in: string
  schema: JsonSchema
}

/** A header of an answer. */
export interface ApiHeader {
  readonly description: string
  readonly required: boolean
  readonly schema: JsonSchema
}

/** A header of a request. */
export interface HeaderParameter extends ApiHeader {
  readonly name: string
  readonly in: "header"
}

/** What an operation answers with one status. */
export interface Answer {
  description: string
  content?: Record<string, { schema: JsonSchema }>
  headers?: Record<string, JsonSchema | Reference>
}

export interface Operation {
  readonly operationId?: string
  parameters?: Array<Parameter | Reference>
  responses: Record<string, Answer>
  description?: string
  deprecated?: boolean
  security?: ReadonlyArray<Record<string, unknown>>
}

export interface Components {
  schemas: Record<string, JsonSchema>
  headers?: Record<string, ApiHeader>
  parameters?: Record<string, HeaderParameter>
  responses?: Record<string, Answer>
}

/** Where schemas are, by name. */
export const SCHEMAS = "#/components/schemas/"
