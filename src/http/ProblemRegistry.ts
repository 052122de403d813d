/**
 * Every problem type that RenderOwl can answer with, by slug: what `/errors` lists and what turns a bare status into a
 * problem. A problem class that is not exported by one of the four families does not exist for callers.
 */
import * as Access from "./AccessProblems.ts"
import type { ProblemPage } from "./Problem.ts"
import * as Request from "./RequestProblems.ts"
import * as Resource from "./ResourceProblems.ts"
import * as Service from "./ServiceProblems.ts"

/** All registered problem types, in the order of their families. */
export const problemPages: ReadonlyArray<ProblemPage> = [
  ...Object.values(Request),
  ...Object.values(Access),
  ...Object.values(Resource),
  ...Object.values(Service),
].map(({ page }): ProblemPage => page)

const bySlug: ReadonlyMap<string, ProblemPage> = new Map(problemPages.map((page) => [page.slug, page]))

/** The page of a slug, if it is registered. */
export const problemPage = (slug: string): ProblemPage | undefined => bySlug.get(slug)

/** The general problem of each status, for answers that come without one of their own. */
const generalSlugs: ReadonlyArray<string> = [
  "invalid-request",
  "unauthorized",
  "forbidden",
  "not-found",
  "method-not-allowed",
  "not-acceptable",
  "request-timeout",
  "conflict",
  "gone",
  "precondition-failed",
  "payload-too-large",
  "uri-too-long",
  "unsupported-media-type",
  "expectation-failed",
  "unprocessable-entity",
  "precondition-required",
  "rate-limit-exceeded",
  "headers-too-large",
  "internal-error",
  "bad-gateway",
  "service-unavailable",
  "gateway-timeout",
]

const byStatus: ReadonlyMap<number, ProblemPage> = new Map(
  generalSlugs.flatMap((slug) => {
    const page = bySlug.get(slug)
    return page === undefined ? [] : [[page.status, page] as const]
  }),
)

/** The general problem of a status; statuses without one fall back on that of their class. */
export const problemOfStatus = (status: number): ProblemPage =>
  byStatus.get(status) ?? byStatus.get(status < 500 ? 400 : 500)!
