/**
 * Where a request goes once its version is known. A path that names its version goes to that version's route, or to the
 * one that it inherits; one that names none (`/jobs`) goes to the same under the version that was asked for otherwise. Paths
 * without any version (`/health`) are served as they are.
 */
import {
  type ApiVersion,
  type ApiVersions,
  type ChosenVersion,
  versionedPath,
  withoutVersion,
} from "./ApiVersion.ts"
import type { RouteTable } from "./RouteTable.ts"

/** The target of a request. */
export interface VersionRoute {
  readonly version: ApiVersion
  /** What the router is asked for. */
  readonly url: string
  /** The version whose route answers instead, when it is another. */
  readonly inheritedFrom: string | undefined
  /** Whether other headers would have led elsewhere. */
  readonly isNegotiated: boolean
}

interface Registered {
  readonly versions: ApiVersions
  readonly table: RouteTable
}

/** Finds it. A path that nobody has stays as it is, and is not found. */
export const find = (choice: ChosenVersion, method: string, registered: Registered): VersionRoute => {
  const { source, url, version } = choice
  const own: VersionRoute = { version, url, inheritedFrom: undefined, isNegotiated: false }
  if (source === "path") {
    // What inherits nothing needs no second look: that is every request of an API with one version.
    if (registered.versions.lineage(version).length === 1) return own
    return inLineage(version, withoutVersion(url), method, registered) ?? own
  }
  const isPlain = () => registered.table.methods(url).length > 0
  // A version that was asked for goes before the plain path: it has its own /openapi.json.
  if (source === "default" && isPlain()) return own
  const negotiated = inLineage(version, url, method, registered)
  return negotiated === undefined ? own : { ...negotiated, isNegotiated: true }
}

/** The nearest version that has the path for the method, else the nearest that has the path. */
const inLineage = (
  version: ApiVersion,
  path: string,
  method: string,
  { table, versions }: Registered,
): VersionRoute | undefined => {
  let other: VersionRoute | undefined
  for (const name of versions.lineage(version)) {
    const url = versionedPath(name, path)
    const found = table.methods(url)
    if (found.length === 0) continue
    const inheritedFrom = name === version.name ? undefined : name
    const route: VersionRoute = { version, url, inheritedFrom, isNegotiated: false }
    if (found.includes(method)) return route
    other ??= route
  }
  return other
}

/** The methods of a path over everything that its version inherits. */
export const methods = (route: VersionRoute, { table, versions }: Registered): ReadonlyArray<string> => {
  const names = versions.lineage(route.version)
  const rest = withoutVersion(route.url)
  if (names.length === 1 || rest === route.url) return table.methods(route.url)
  return [...new Set(names.flatMap((name) => table.methods(versionedPath(name, rest))))]
}

/** The targets that an inherited route names, as those of the version that was asked for. */
export const readdressed = (
  headers: Readonly<Record<string, string>>,
  { inheritedFrom, version }: VersionRoute,
): Readonly<Record<string, string>> => {
  const result: Record<string, string> = {}
  if (inheritedFrom === undefined) return result
  for (const name of ["location", "content-location"]) {
    const target = headers[name]
    if (target?.startsWith(`/${inheritedFrom}/`) === true) {
      result[name] = versionedPath(version.name, withoutVersion(target))
    }
  }
  const link = headers["link"]
  if (link !== undefined) result["link"] = link.replaceAll(`</${inheritedFrom}/`, `</${version.name}/`)
  return result
}
