/**
 * Path and query parameters in OpenAPI as what they mean. They travel as text, so the generated document calls a number
 * "a string with this pattern" and loses its bounds; readers and client generators want `integer, 1 to 100`.
 */
import { Schema } from "effect"
import type { HttpApiEndpoint } from "effect/http-api"
import type { JsonSchema, Parameter } from "./OpenApiTypes.ts"

/** Describes the numbers and booleans (and lists of them) among an operation's parameters by their types. */
export const describeParameters = (
  endpoint: HttpApiEndpoint.Top,
  parameters: ReadonlyArray<Parameter>,
): void => {
  const types = { path: propertyTypes(endpoint.params), query: propertyTypes(endpoint.query) }
  for (const parameter of parameters) {
    if (parameter.in !== "path" && parameter.in !== "query") continue
    const type = types[parameter.in][parameter.name]
    if (type !== undefined && isTextForm(parameter.schema) && !JSON.stringify(type).includes('"$ref"')) {
      parameter.schema = type
    }
  }
}

const propertyTypes = (schema: Schema.Top | undefined): { readonly [name: string]: JsonSchema } =>
  schema === undefined
    ? {}
    : ((Schema.toJsonSchemaDocument(Schema.toType(schema)).schema["properties"] ?? {}) as {
        [name: string]: JsonSchema
      })

/** The pattern that numbers have as text, asked of the library rather than repeated here. */
const NUMBER_PATTERN = Schema.toJsonSchemaDocument(Schema.toCodecStringTree(Schema.Finite)).schema["pattern"]

const isTextForm = (schema: JsonSchema): boolean => {
  if (schema["type"] === "array") return isTextForm((schema["items"] ?? {}) as JsonSchema)
  return schema["pattern"] === NUMBER_PATTERN || JSON.stringify(schema["enum"]) === '["true","false"]'
}
