/**
 * Lists in pages: the query they take, the envelope they answer with, and the Link header (RFC 8288) that leads through
 * them. Pages go by position and not by number, so they stay right while rows come and go, and cost the same everywhere.
 */
import { Effect, Schema } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpApiSchema } from "effect/http-api"
import { CURSOR_CHARACTERS_MAX, type Cursor, type CursorSecret } from "./Cursor.ts"

/** Rows on a page unless the caller says. */
const PAGE_ROWS_DEFAULT = 20
/** Rows on a page at most. */
const PAGE_ROWS_MAX = 100

/** The query fields of every list: `query: { ...pageQuery, status: … }`. */
export const pageQuery = {
  limit: Schema.Int.pipe(
    Schema.check(Schema.isBetween({ minimum: 1, maximum: PAGE_ROWS_MAX })),
    Schema.annotate({ description: `Rows on the page, ${PAGE_ROWS_DEFAULT} by default` }),
    Schema.withDecodingDefaultKey(Effect.succeed(PAGE_ROWS_DEFAULT)),
  ),
  cursor: Schema.optionalKey(
    Schema.String.pipe(
      Schema.check(Schema.isNonEmpty(), Schema.isMaxLength(CURSOR_CHARACTERS_MAX)),
      Schema.annotate({ description: "Where to go on: `next_cursor` of the page before" }),
    ),
  ),
}

/** The success schema of a list of `item`, with its Link header. */
export const Page = <Item extends Schema.Top>(item: Item) =>
  HttpApiSchema.WithHeaders(
    Schema.Struct({
      data: Schema.Array(item),
      pagination: Schema.Struct({
        next_cursor: Schema.NullOr(Schema.String),
        has_more: Schema.Boolean,
      }),
    }),
    { link: Schema.optionalKey(Schema.String) },
  )

/**
 * Builds the page from rows that were fetched with `limit + 1`: the extra one tells that there are more, and is dropped.
 *
 * @example
 * const after = yield* JobsCursor.decode(query.cursor)
 * const rows = yield* jobs.list({ after, limit: query.limit + 1 })
 * return yield* page({ request, rows, limit: query.limit, cursor: JobsCursor, positionOf: (row) => row.position })
 */
export const page = Effect.fnUntraced(function* <Row, Position>(options: {
  readonly request: HttpServerRequest.HttpServerRequest
  readonly rows: ReadonlyArray<Row>
  readonly limit: number
  readonly cursor: Cursor<Position>
  readonly positionOf: (row: Row) => Position
}): Effect.fn.Return<PageOf<Row>, never, CursorSecret> {
  const { cursor, limit, positionOf, request, rows } = options
  const data = rows.slice(0, limit)
  const last = data.at(-1)
  const next = rows.length > limit && last !== undefined ? yield* cursor.encode(positionOf(last)) : null
  return HttpApiSchema.withHeaders({
    body: { data, pagination: { next_cursor: next, has_more: next !== null } },
    headers: { link: linkHeader(request.url, next) },
  })
})

/** What {@link page} returns and {@link Page} encodes. */
export type PageOf<Row> = HttpApiSchema.withHeaders<
  {
    readonly data: ReadonlyArray<Row>
    readonly pagination: { readonly next_cursor: string | null; readonly has_more: boolean }
  },
  { readonly link: string }
>

/** `first` always, `next` while there is more; targets are relative references, so they hold behind any proxy. */
export const linkHeader = (url: string, next: string | null): string => {
  const start = url.indexOf("?")
  const path = (start === -1 ? url : url.slice(0, start)).replaceAll(
    /[<>"\s\u0080-\uFFFF]/g,
    encodeURIComponent,
  )
  const link = (rel: string, cursor: string | null) => {
    const params = new URLSearchParams(start === -1 ? "" : url.slice(start + 1))
    params.delete("cursor")
    if (cursor !== null) params.set("cursor", cursor)
    const query = params.toString()
    return `<${path}${query === "" ? "" : `?${query}`}>; rel="${rel}"`
  }
  return next === null ? link("first", null) : `${link("next", next)}, ${link("first", null)}`
}
