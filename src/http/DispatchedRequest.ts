/**
 * The mark of a request that another request of this server has had made, see `Dispatcher`. It is on the source of the request,
 * which no client can reach, and stays with it whatever is changed on the way.
 */
import type { HttpServerRequest } from "effect/http"

const dispatched = Symbol("renderowl/http/DispatchedRequest")

export const markDispatched = (source: object): void =>
  void ((source as { [dispatched]?: true })[dispatched] = true)

/** Whether a request was made by another one. */
export const isDispatched = ({ source }: Pick<HttpServerRequest.HttpServerRequest, "source">): boolean =>
  (source as { readonly [dispatched]?: true })[dispatched] === true
