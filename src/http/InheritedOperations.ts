/**
 * The OpenAPI document of a version that inherits routes of an older one: their operations under its own paths, with the
 * schemas they need. A schema that has a name which the newer version uses for another one gets a name of its own.
 */
import { isDeepStrictEqual } from "node:util"

/** What of an OpenAPI document is looked at here. */
export interface OpenApiDocument {
  readonly paths: { readonly [path: string]: { readonly [method: string]: unknown } }
  readonly components?: {
    readonly schemas?: { readonly [name: string]: unknown }
    readonly responses?: { readonly [name: string]: unknown }
  }
}

/** A version whose routes answer where a newer one has none. */
export interface Ancestor {
  readonly version: string
  readonly specification: () => OpenApiDocument
}

const SCHEMAS = "#/components/schemas/"

/** The document with what it has no operation for from an ancestor. It is in another form only where it has to be. */
export const withInherited = <Document extends object>(
  document: Document,
  version: string,
  ancestor: Ancestor,
): Document => {
  const own = document as unknown as OpenApiDocument
  const names = otherNames(own, ancestor)
  const old = renamed(ancestor.specification(), names)
  const paths: Record<string, Record<string, unknown>> = {}
  for (const [path, operations] of Object.entries(own.paths)) paths[path] = { ...operations }
  const ids = new Set(Object.values(own.paths).flatMap((path) => Object.values(path).map(operationId)))
  for (const [path, operations] of Object.entries(old.paths)) {
    // What has no version in its path is the same in all.
    const isVersioned = path.startsWith(`/${ancestor.version}/`)
    const target = isVersioned ? `/${version}${path.slice(ancestor.version.length + 1)}` : path
    const present = (paths[target] ??= {})
    for (const [method, operation] of Object.entries(operations)) {
      if (method in present) continue
      const id = operationId(operation)
      present[method] =
        id !== undefined && ids.has(id)
          ? { ...(operation as object), operationId: `${id}_${ancestor.version}` }
          : operation
    }
  }
  const schemas = { ...old.components?.schemas, ...own.components?.schemas }
  const responses = { ...old.components?.responses, ...own.components?.responses }
  return { ...document, paths, components: { ...own.components, schemas, responses } }
}

const operationId = (operation: unknown): string | undefined =>
  (operation as { readonly operationId?: string }).operationId

/** The schemas of the ancestor that mean something else here, and what they are called instead. */
const otherNames = (own: OpenApiDocument, ancestor: Ancestor): ReadonlyMap<string, string> => {
  const names = new Map<string, string>()
  const schemas = own.components?.schemas ?? {}
  for (const [name, schema] of Object.entries(ancestor.specification().components?.schemas ?? {})) {
    if (!Object.hasOwn(schemas, name) || isDeepStrictEqual(schemas[name], schema)) continue
    let other = `${name}_${ancestor.version}`
    while (Object.hasOwn(schemas, other)) other += "_"
    names.set(name, other)
  }
  return names
}

const renamed = (document: OpenApiDocument, names: ReadonlyMap<string, string>): OpenApiDocument => {
  if (names.size === 0) return document
  const copy = JSON.parse(JSON.stringify(document), (key, value: unknown) =>
    key === "$ref" && typeof value === "string" && value.startsWith(SCHEMAS)
      ? SCHEMAS + (names.get(value.slice(SCHEMAS.length)) ?? value.slice(SCHEMAS.length))
      : value,
  ) as OpenApiDocument
  const schemas = Object.fromEntries(
    Object.entries(copy.components?.schemas ?? {}).map(([name, schema]) => [names.get(name) ?? name, schema]),
  )
  return { ...copy, components: { ...copy.components, schemas } }
}
