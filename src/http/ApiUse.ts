/**
 * Where the edge says who uses the API: once for each request of a recognised caller, and in no more time than it takes to count.
 * What becomes of it is somebody else's business; unless somebody takes it, nothing does.
 */
import { Context } from "effect"

export interface ApiUse {
  /** A caller (the id of its principal) has asked something of a group of routes, at `now` in milliseconds. */
  readonly record: (principal: string, route: string, now: number) => void
}

export const ApiUse = Context.Reference<ApiUse>("renderowl/http/ApiUse", {
  defaultValue: () => ({ record: () => {} }),
})
