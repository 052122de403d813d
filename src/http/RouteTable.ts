/**
 * Which methods a path takes. The router itself answers only yes or no for one method, so every route that is added to it
 * is noted here as well; the table is read only after no route matched, to tell a 405 from a 404.
 */
import { FindMyWay, HttpRouter } from "effect/http"
import type { ApiVersions } from "./ApiVersion.ts"
import { URL_CHARACTERS_MAX } from "./Limits.ts"

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "QUERY"] as const

/**
 * How paths are compared, here and by the router. To the letter (RFC 3986 §6.2.2.1): in lower case some characters have another
 * length, and a route would not be found because of what its id is. What is too long for an id is refused as one.
 */
export const ROUTING = { caseSensitive: true, maxParamLength: URL_CHARACTERS_MAX } as const

/** The declared routes, by path and method. */
export class RouteTable {
  readonly #routes = FindMyWay.make<true>(ROUTING)
  readonly #versions: ApiVersions

  constructor(versions: ApiVersions) {
    this.#versions = versions
  }

  /** The methods of the path of `url`, empty when no route has it. `HEAD` comes with `GET`, `OPTIONS` with any. */
  methods(url: string): ReadonlyArray<string> {
    const found: Array<string> = METHODS.filter((method) => this.#routes.find(method, url) !== undefined)
    if (found.includes("GET") && !found.includes("HEAD")) found.splice(1, 0, "HEAD")
    if (found.length > 0) found.push("OPTIONS")
    return found
  }

  /** A router that adds to `router` and to this table. */
  recording(router: HttpRouter.HttpRouter, prefix = ""): HttpRouter.HttpRouter {
    const addAll: HttpRouter.HttpRouter["addAll"] = (routes) => {
      for (const route of routes) this.#note(prefix === "" ? route : HttpRouter.prefixRoute(route, prefix))
      return router.addAll(routes)
    }
    return {
      ...router,
      addAll,
      add: (method, path, handler, options) => addAll([HttpRouter.route(method, path, handler, options)]),
      prefixed: (inner) =>
        this.recording(router.prefixed(inner), prefix === "" ? inner : HttpRouter.prefixPath(inner, prefix)),
    }
  }

  #note({ method, path }: HttpRouter.Route<unknown, unknown>): void {
    if (!this.#versions.allowsPath(path))
      throw new Error(`${method} ${path} belongs to no registered API version`)
    const paths = path.endsWith("/*") ? [path, path.slice(0, -2) as HttpRouter.PathInput] : [path]
    for (const each of paths) {
      if (method === "*") this.#routes.all(each, true)
      else this.#routes.on(method, each, true)
    }
  }
}
