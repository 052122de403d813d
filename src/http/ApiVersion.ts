/**
 * The versions of an API: which there are, what each can do, and when an old one ends; and which of them a request asks for.
 * A version registers its routes under `/<name>/`; where it has none for a path it may inherit those of an older one, so
 * that a new version declares only what differs.
 *
 * @source RFC 9745 (Deprecation), RFC 8594 (Sunset)
 */
import { Context, Effect } from "effect"
import type { Headers } from "effect/http"

/** One version, as it is declared. */
export interface ApiVersion {
  /** `v` and a number, as in `/v1/jobs`. */
  readonly name: string
  /** What this version has and others may not; handlers ask with {@link hasFeature}. */
  readonly features?: ReadonlyArray<string>
  /** The version whose routes answer where this one has none of its own. */
  readonly inherits?: string
  readonly deprecation?: {
    readonly since: Date
    /** When it may stop to be served; not before `since`. */
    readonly sunset?: Date
    /** A page that says what to do instead. */
    readonly documentation: string
  }
}

const NAME = /^v[1-9]\d{0,3}$/
/** The first segment of a path when it looks like a version, registered or not. */
const PATH_VERSION = /^\/+(v\d+)(?=[/?#;]|$)/i
/** The parameter of a media range, as in `application/json;version=v1`. */
const ACCEPT_VERSION = /;\s*version\s*=\s*"?([^\s",;]*)"?/i
const ACCEPT_QUALITY = /;\s*q\s*=\s*([\d.]+)/i
/** Types whose `version` is that of their own format. Prometheus asks for both. */
const VERSIONED_TYPES = /^\s*(?:text\/plain|application\/openmetrics-text)\s*;/i
/** Ranges that one header is read for, as in `Accept.ts`. */
const RANGES_MAX = 32
const QUERY_NAME = "api_version"

/** How a request named its version. */
export type VersionSource = "path" | "accept" | "header" | "query" | "default"

/** What a request asks for; `url` is its own without `api_version`, which no route knows. */
export interface ChosenVersion {
  readonly version: ApiVersion
  readonly source: VersionSource
  readonly url: string
}

/** The registered versions. */
export class ApiVersions {
  readonly current: ApiVersion
  readonly #byName: ReadonlyMap<string, ApiVersion>
  readonly #headers: ReadonlyMap<ApiVersion, Readonly<Record<string, string>>>
  readonly #lineages: ReadonlyMap<ApiVersion, ReadonlyArray<string>>

  private constructor(current: ApiVersion, byName: ReadonlyMap<string, ApiVersion>) {
    this.current = current
    this.#byName = byName
    const versions = [...byName.values()]
    this.#headers = new Map(versions.map((version) => [version, headersOf(version)]))
    this.#lineages = new Map(versions.map((version) => [version, lineageOf(version, byName)]))
  }

  /** A registry; what is wrong with it stops the start. */
  static make(options: {
    readonly current: string
    readonly versions: ReadonlyArray<ApiVersion>
  }): ApiVersions {
    const byName = new Map<string, ApiVersion>()
    for (const version of options.versions) {
      check(version)
      if (byName.has(version.name)) throw new Error(`API version ${version.name} is registered twice`)
      byName.set(version.name, version)
    }
    const current = byName.get(options.current)
    if (current === undefined) throw new Error(`The current API version ${options.current} is not registered`)
    if (current.deprecation !== undefined) throw new Error(`The current API version is deprecated`)
    return new ApiVersions(current, byName)
  }

  /** The names, in the order of their registration. */
  get supported(): ReadonlyArray<string> {
    return [...this.#byName.keys()]
  }

  /** The name and those that it inherits from, nearest first. */
  lineage(version: ApiVersion): ReadonlyArray<string> {
    return this.#lineages.get(version) ?? [version.name]
  }

  /** The headers that every answer of a version has; `link` is to be added to others. */
  headers(version: ApiVersion): Readonly<Record<string, string>> {
    return this.#headers.get(version)!
  }

  /** Whether routes may be registered under the first segment of this path. */
  allowsPath(path: string): boolean {
    const name = PATH_VERSION.exec(path)?.[1]?.toLowerCase()
    return name === undefined || this.#byName.has(name)
  }

  /**
   * The version of a request: what its path says, else `Accept: …;version=`, `API-Version`, `?api_version=`, and else the
   * current one. The first that says anything decides and the rest is not looked at; `undefined` when it says one that is
   * not registered.
   */
  choose(url: string, headers: Headers.Headers): ChosenVersion | undefined {
    const inPath = PATH_VERSION.exec(url)
    const target = url.includes(QUERY_NAME) ? withoutQuery(url) : { url, value: undefined }
    if (inPath !== null) return this.#named(inPath[1]!, "path", target.url)
    const accept = headers["accept"]
    const accepted = accept !== undefined && /version/i.test(accept) ? this.#acceptable(accept) : undefined
    if (accepted !== undefined) return this.#named(accepted, "accept", target.url)
    const header = headers["api-version"]
    if (header !== undefined && header.trim() !== "") return this.#named(header, "header", target.url)
    if (target.value !== undefined) return this.#named(target.value, "query", target.url)
    return { version: this.current, source: "default", url: target.url }
  }

  #named(name: string, source: VersionSource, url: string): ChosenVersion | undefined {
    const version = this.#byName.get(name.trim().toLowerCase())
    return version === undefined ? undefined : { version, source, url }
  }

  /** The version of the range with the highest quality, first of equals; a supported one before any other. */
  #acceptable(accept: string): string | undefined {
    const ranges = accept.split(",", RANGES_MAX).flatMap((range) => {
      const name = ACCEPT_VERSION.exec(range)?.[1]
      const quality = Number(ACCEPT_QUALITY.exec(range)?.[1] ?? 1)
      return name === undefined || quality === 0 || VERSIONED_TYPES.test(range) ? [] : [{ name, quality }]
    })
    ranges.sort((a, b) => b.quality - a.quality)
    return (ranges.find(({ name }) => this.#byName.has(name.toLowerCase())) ?? ranges[0])?.name
  }
}

/** The version that the current request is served in; `undefined` outside of one. */
export const CurrentApiVersion = Context.Reference<ApiVersion | undefined>(
  "renderowl/http/CurrentApiVersion",
  { defaultValue: () => undefined },
)

/** Whether the version that the request is served in has a feature. */
export const hasFeature = (feature: string): Effect.Effect<boolean> =>
  Effect.map(CurrentApiVersion, (version) => version?.features?.includes(feature) === true)

/** `path` under a version, as the routes have it. */
export const versionedPath = (name: string, path: string): string => `/${name}${path}`

/** What is left of a path after its version. */
export const withoutVersion = (path: string): string => path.replace(PATH_VERSION, "")

const check = ({ deprecation, inherits, name }: ApiVersion): void => {
  if (!NAME.test(name)) throw new Error(`An API version is called v1, v2, …: ${name}`)
  if (inherits === name) throw new Error(`API version ${name} inherits from itself`)
  if (deprecation === undefined) return
  const { documentation, since, sunset } = deprecation
  // RFC 9745 §4.
  if (sunset !== undefined && sunset < since)
    throw new Error(`API version ${name} ends before it is deprecated`)
  if (/[<>"\s]/.test(documentation)) throw new Error(`API version ${name}: ${documentation} is no URL`)
}

const lineageOf = (version: ApiVersion, byName: ReadonlyMap<string, ApiVersion>): ReadonlyArray<string> => {
  const lineage: Array<string> = []
  for (let each: ApiVersion | undefined = version; each !== undefined;) {
    if (lineage.includes(each.name)) throw new Error(`API version ${each.name} inherits from itself`)
    lineage.push(each.name)
    if (each.inherits === undefined) break
    const parent = byName.get(each.inherits)
    if (parent === undefined) throw new Error(`API version ${each.inherits} is not registered`)
    each = parent
  }
  return lineage
}

const headersOf = ({ deprecation, name }: ApiVersion): Readonly<Record<string, string>> => {
  const headers: Record<string, string> = { "api-version": name }
  if (deprecation === undefined) return headers
  const { documentation, since, sunset } = deprecation
  headers["deprecation"] = `@${Math.floor(since.getTime() / 1000)}`
  headers["link"] = `<${documentation}>; rel="deprecation"; type="text/html"`
  if (sunset !== undefined) headers["sunset"] = sunset.toUTCString()
  return headers
}

/** The URL without `api_version`, whichever way it is encoded, and the first value that it had. */
const withoutQuery = (url: string): { readonly url: string; readonly value: string | undefined } => {
  const start = url.indexOf("?")
  if (start === -1) return { url, value: undefined }
  let value: string | undefined
  const rest = url
    .slice(start + 1)
    .split("&")
    .filter((pair) => {
      if (!pair.startsWith(QUERY_NAME)) return true
      const [name, ...text] = pair.split("=")
      if (name !== QUERY_NAME) return true
      value ??= decode(text.join("="))
      return false
    })
  return { url: url.slice(0, start) + (rest.length === 0 ? "" : `?${rest.join("&")}`), value }
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The API of a server that registers nothing else. */
export const ONLY_V1 = ApiVersions.make({ current: "v1", versions: [{ name: "v1" }] })
