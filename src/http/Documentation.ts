/**
 * The contract for readers: `/openapi.json` (OpenAPI 3.1) for programs and `/docs` for people, with nothing loaded from
 * elsewhere. What the contract alone cannot say is added: the scopes of each operation and the configured problem base.
 */
import { createHash } from "node:crypto"
import { isDeepStrictEqual } from "node:util"
import { Context, Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { HttpApi, type HttpApiEndpoint, type HttpApiGroup, HttpApiScalar, OpenApi } from "effect/http-api"
import type { ApiVersion } from "./ApiVersion.ts"
import { requiredScopes } from "./Authorization.ts"
import { type Ancestor, type OpenApiDocument, withInherited } from "./InheritedOperations.ts"
import { type Components, type Operation, type Parameter, SCHEMAS } from "./OpenApiTypes.ts"
import { describeHeaderComponents, describeHeaders } from "./OperationHeaders.ts"
import { describeProblems, describeProblemSchemas, shareProblems } from "./OperationProblems.ts"
import { describeParameters } from "./ParameterTypes.ts"
import { DEFAULT_PROBLEM_BASE, ProblemBase } from "./Problem.ts"

/**
 * `GET /openapi.json` and `GET /docs` for an API, of one version when it is named: then they are under `/<version>/`, and
 * whoever names none gets those of the version that the edge finds for them. `ancestors`, nearest first, are the versions that it
 * inherits routes from.
 */
export const layer = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
  version?: ApiVersion,
  ancestors: ReadonlyArray<Ancestor> = [],
) =>
  Layer.unwrap(
    Effect.map(ProblemBase, (base) => {
      const documented = withAdditions(api, (spec) => {
        const complete =
          version === undefined
            ? spec
            : ancestors.reduce((each, ancestor) => withInherited(each, version.name, ancestor), spec)
        return rebase(version?.deprecation === undefined ? complete : deprecated(complete), base)
      })
      const path = (name: "/openapi.json" | "/docs"): `/${string}` =>
        version === undefined ? name : `/${version.name}${name}`
      return Layer.mergeAll(openapi(documented, path("/openapi.json")), docs(documented, path("/docs")))
    }),
  )

/** The version of an API that another one inherits routes from, for its documentation. */
export const inherited = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
  version: ApiVersion,
): Ancestor => ({
  version: version.name,
  specification: () => OpenApi.fromApi(withAdditions(api, (spec) => spec)) as unknown as OpenApiDocument,
})

const openapi = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
  path: `/${string}`,
) => {
  // Made when first asked for: it takes some milliseconds that a start should not wait for.
  const response = lazy(() => HttpServerResponse.jsonUnsafe(OpenApi.fromApi(api), { headers: cacheable }))
  return HttpRouter.add("GET", path, Effect.sync(response))
}

const docs = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
  path: `/${string}`,
) => {
  let policy: string | undefined
  return HttpApiScalar.layer(api, { path, scalar: { withDefaultFonts: false } }).pipe(
    Layer.provide(
      HttpRouter.middleware((route) =>
        Effect.map(route, (page) => {
          policy ??= contentSecurityPolicy(textOf(page))
          return HttpServerResponse.setHeaders(page, { ...cacheable, "content-security-policy": policy })
        }),
      ).layer,
    ),
  )
}

const cacheable = { "cache-control": "public, max-age=300" }

/** Exactly the scripts of the page may run, and they may call only this server; styles are made at run time. */
const contentSecurityPolicy = (html: string): string => {
  const hashes = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(
    ([, script = ""]) => `'sha256-${createHash("sha256").update(script).digest("base64")}'`,
  )
  return [
    "default-src 'none'",
    `script-src ${hashes.join(" ")}`,
    "style-src 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ")
}

const textOf = ({ body }: HttpServerResponse.HttpServerResponse): string =>
  body._tag === "Uint8Array" ? (body.text ?? Buffer.from(body.body).toString()) : ""

/** The API with the transformation that adds what OpenAPI cannot know; one that it has already runs first. */
const withAdditions = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
  complete: (spec: Specification) => Specification,
): HttpApi.HttpApi<Id, Groups> => {
  const first = Context.getOrUndefined(api.annotations, OpenApi.Transform)
  const operations = endpointsByOperation(api)
  return api.annotate(OpenApi.Transform, (spec) =>
    complete(describeOperations(first?.(spec) ?? spec, operations)),
  )
}

type Specification = ReturnType<OpenApi.Transform["Service"]>

interface Described {
  readonly endpoint: HttpApiEndpoint.Top
  readonly scopes: ReadonlyArray<string> | undefined
}

const endpointsByOperation = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
): ReadonlyMap<string, Described> => {
  const operations = new Map<string, Described>()
  HttpApi.reflect(api, {
    onGroup: () => {},
    onEndpoint: ({ endpoint, group }) => {
      const id = group.topLevel ? endpoint.identifier : `${group.identifier}.${endpoint.identifier}`
      operations.set(
        Context.getOrElse(endpoint.annotations, OpenApi.Identifier, () => id),
        { endpoint, scopes: requiredScopes(group, endpoint) },
      )
    },
  })
  return operations
}

const describeOperations = (
  spec: Specification,
  operations: ReadonlyMap<string, Described>,
): Specification => {
  const components = spec["components"] as Components
  for (const [path, methods] of Object.entries(pathsOf(spec))) {
    for (const operation of Object.values(methods)) {
      const described = operations.get(operation.operationId ?? "")
      if (described === undefined) continue
      describeParameters(described.endpoint, (operation.parameters ?? []) as ReadonlyArray<Parameter>)
      describeProblems(path, operation, described.endpoint, components.schemas)
      describeHeaders(operation, described.endpoint)
      shareProblems(operation, components)
      if (described.scopes !== undefined) describeScopes(operation, described.scopes)
    }
  }
  describeProblemSchemas(components.schemas)
  describeHeaderComponents(components)
  return withPlainNames(spec)
}

const pathsOf = (spec: Specification) => spec["paths"] as Record<string, Record<string, Operation>>

/**
 * A document shows nothing but the wire: there a schema needs no suffix to say so, and one that travels under two media types is
 * still one.
 */
const withPlainNames = (spec: Specification): Specification => {
  const { schemas } = spec["components"] as Components
  const plain = (name: string): string => {
    const wanted = name.replace(/Encoded$|_1$/, "")
    return wanted in schemas && !isDeepStrictEqual(schemas[wanted], schemas[name]) ? name : wanted
  }
  const renamed = JSON.parse(JSON.stringify(spec), (key, value: unknown) =>
    key === "$ref" && typeof value === "string" && value.startsWith(SCHEMAS)
      ? SCHEMAS + plain(value.slice(SCHEMAS.length))
      : value,
  ) as Specification
  const components = renamed["components"] as Components
  components.schemas = Object.fromEntries(
    Object.entries(components.schemas).map(([name, schema]) => [plain(name), schema]),
  )
  return renamed
}

/** All operations of a version that ends. */
const deprecated = (spec: Specification): Specification => {
  for (const path of Object.values(pathsOf(spec))) {
    for (const operation of Object.values(path)) operation.deprecated = true
  }
  return spec
}

/** OpenAPI 3.1 lets any security requirement list role names; tools that show only text get a sentence as well. */
const describeScopes = (operation: Operation, scopes: ReadonlyArray<string>): void => {
  operation.security = (operation.security ?? []).map((requirement) =>
    Object.fromEntries(Object.keys(requirement).map((name) => [name, [...scopes]])),
  )
  const sentence =
    scopes.length === 0
      ? "Any recognised caller."
      : `Requires ${scopes.map((scope) => `\`${scope}\``).join(" and ")}.`
  operation.description =
    operation.description === undefined ? sentence : `${operation.description}\n\n${sentence}`
}

const rebase = (spec: Specification, base: string): Specification =>
  base === DEFAULT_PROBLEM_BASE
    ? spec
    : (JSON.parse(
        JSON.stringify(spec).replaceAll(DEFAULT_PROBLEM_BASE, JSON.stringify(base).slice(1, -1)),
      ) as Specification)

const lazy = <A>(make: () => A): (() => A) => {
  let value: { readonly of: A } | undefined
  return () => (value ??= { of: make() }).of
}
