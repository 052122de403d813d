/**
 * The media types that an endpoint answers with. They are read from its OpenAPI description, which costs about a millisecond
 * and so waits for the first who asks.
 */
import { HttpApi, type HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"

const known = new WeakMap<HttpApiEndpoint.Top, ReadonlyArray<string>>()

/** The media types of the endpoint's successes, lower-case and without parameters; none when they have no body. */
export const producedTypes = (endpoint: HttpApiEndpoint.Top): ReadonlyArray<string> => {
  let types = known.get(endpoint)
  if (types === undefined) {
    types = describedTypes(endpoint)
    known.set(endpoint, types)
  }
  return types
}

const describedTypes = (endpoint: HttpApiEndpoint.Top): ReadonlyArray<string> => {
  const { paths } = OpenApi.fromApi(
    HttpApi.make("negotiation").add(HttpApiGroup.make("negotiation").add(endpoint)),
  )
  const method = endpoint.method.toLowerCase() as Lowercase<typeof endpoint.method>
  const operation = method === "query" ? undefined : Object.values(paths)[0]?.[method]
  return Object.entries(operation?.responses ?? {}).flatMap(([status, { content }]) =>
    status.startsWith("2") ? Object.keys(content ?? {}).map(withoutParameters) : [],
  )
}

const withoutParameters = (mediaType: string): string => mediaType.split(";")[0]!.trim().toLowerCase()
