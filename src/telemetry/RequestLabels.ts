/**
 * What requests are counted by: a method and the template of a route. Callers choose neither: methods that nobody knows are one,
 * and so is all that was found on no route, which leaves as many labels as the program has.
 */

const METHODS: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
  "OPTIONS",
  "QUERY",
])
/** As OpenTelemetry calls methods that nobody knows. */
const UNKNOWN_METHOD = "_OTHER"
const UNMATCHED = "unmatched"

export const methodLabel = (method: string): string => (METHODS.has(method) ? method : UNKNOWN_METHOD)

export const routeLabel = (route: string | undefined): string => route ?? UNMATCHED
