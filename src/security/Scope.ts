/**
 * What a caller may do. A scope is one right, named `<resource>:<verb>`; `admin` holds all of them.
 */
import { Schema } from "effect"

/** All scopes. The order is the one shown to people. */
export const Scope = Schema.Literals([
  "jobs:read",
  "jobs:write",
  "projects:read",
  "projects:write",
  "assets:read",
  "assets:write",
  "renders:read",
  "renders:write",
  "automations:read",
  "automations:write",
  "webhooks:write",
  "analytics:read",
  "keys:write",
  "admin",
]).annotate({ identifier: "Scope" })
export type Scope = typeof Scope.Type

/** True when the held scopes cover every required one. Nothing required is covered by anyone. */
export const covers = (held: ReadonlyArray<Scope>, required: ReadonlyArray<Scope>): boolean =>
  required.length === 0 || held.includes("admin") || required.every((scope) => held.includes(scope))
