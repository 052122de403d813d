/**
 * How RenderOwl declares a problem (RFC 9457): one class per problem type that is at once the error a handler fails with,
 * the schema that OpenAPI and the typed client show, and the page served at `/errors/<slug>`. It does not write
 * responses: `ProblemResponse` adds what only the request knows (`instance`, `trace_id`, the base of `type`).
 */
import { Context, Schema } from "effect"
import { HttpApiError } from "effect/http-api"

/** The base of every problem `type` in the contract, and the default of {@link ProblemBase}. */
export const DEFAULT_PROBLEM_BASE = "https://api.renderowl.com/errors/"

/**
 * The base that answers really carry, a setting; ends with `/`. The contract keeps {@link DEFAULT_PROBLEM_BASE}, because
 * a `type` is a literal there; it is exchanged when the answer is written and in the OpenAPI document that is served.
 */
export const ProblemBase = Context.Reference<string>("renderowl/http/ProblemBase", {
  defaultValue: () => DEFAULT_PROBLEM_BASE,
})

/** What is fixed about a problem type, for programs (`slug`, `status`) and for people (the rest). */
export interface ProblemPage<Slug extends string = string, Status extends number = number> {
  readonly slug: Slug
  readonly status: Status
  /** A short summary, the same for every occurrence. */
  readonly title: string
  /** Why a caller meets it. */
  readonly cause: string
  /** What the caller can do about it. */
  readonly cure: string
}

/** Members that every problem may carry beyond those of RFC 9457. */
type CommonFields = { readonly trace_id: Schema.optionalKey<Schema.String> }

/** The class of one problem type; `page` is its registry entry. */
export type ProblemClass<
  Self,
  Tag extends string,
  Slug extends string,
  Status extends number,
  Fields extends Schema.Struct.Fields,
> = HttpApiError.ProblemClass<
  Self,
  Tag,
  `${typeof DEFAULT_PROBLEM_BASE}${Slug}`,
  Status,
  Fields & CommonFields,
  {}
> & { readonly page: ProblemPage<Slug, Status> }

/** Any problem, as a value. */
export type AnyProblem = InstanceType<ProblemClass<unknown, string, string, number, {}>>

/**
 * Declares a problem type. `fields` are its extension members; `detail` says what happened this time.
 *
 * @example
 * class OutOfPaperProblem extends Problem<OutOfPaperProblem>()("OutOfPaperProblem", {
 *   slug: "out-of-paper", status: 409, title: "Out of paper", cause: "The tray is empty.", cure: "Fill it."
 * }, { tray: Schema.String }) {}
 */
export const Problem =
  <Self>() =>
  <
    const Tag extends string,
    const Slug extends string,
    const Status extends number,
    const Fields extends HttpApiError.ProblemExtensionFields = {},
  >(
    tag: Tag,
    page: ProblemPage<Slug, Status>,
    fields?: Fields,
  ): ProblemClass<Self, Tag, Slug, Status, Fields> => {
    const Base = HttpApiError.Problem<AnyProblem>()(
      tag,
      { type: `${DEFAULT_PROBLEM_BASE}${page.slug}`, status: page.status, title: page.title },
      { ...fields, trace_id: Schema.optionalKey(Schema.String) },
      { description: `${page.title}. ${page.cause}` },
    )
    return Object.assign(Base, { page }) as unknown as ProblemClass<Self, Tag, Slug, Status, Fields>
  }

/** The member behind `Retry-After`: whole seconds, 1 unless the raiser knows better. */
export const RetryAfterSeconds = Schema.Int.pipe(
  Schema.check(Schema.isGreaterThanOrEqualTo(0)),
  Schema.annotate({ description: "Seconds to wait before trying again; also sent as Retry-After" }),
)
