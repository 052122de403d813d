/**
 * The pages that problem types point to: `/errors` lists them and `/errors/<slug>` explains one, as HTML for people and as
 * JSON for programs. They are made from the registry once and never change while the server runs.
 */
import { createHash } from "node:crypto"
import { Effect } from "effect"
import { HttpRouter, HttpServerRespondable, HttpServerResponse } from "effect/http"
import { escape } from "../security/HtmlText.ts"
import { preferred } from "./Accept.ts"
import { ProblemBase, type ProblemPage } from "./Problem.ts"
import { problemPage, problemPages } from "./ProblemRegistry.ts"
import { NotFoundProblem } from "./RequestProblems.ts"

const STYLE =
  "body{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}" +
  "code{font-size:.9em}td{padding:.2rem 1rem .2rem 0;vertical-align:top}"

const headers = {
  "cache-control": "public, max-age=3600",
  vary: "Accept",
  "content-security-policy": `default-src 'none'; style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
}

/** `GET /errors` and `GET /errors/{slug}`. */
export const layer = HttpRouter.use(
  Effect.fnUntraced(function* (router) {
    const base = yield* ProblemBase
    yield* router.add("GET", "/errors", ({ headers: { accept } }) =>
      Effect.succeed(
        wantsHtml(accept)
          ? html("Problem types", list(problemPages))
          : json({ data: problemPages.map((page) => toJson(page, base)) }),
      ),
    )
    yield* router.add(
      "GET",
      "/errors/:slug",
      Effect.fnUntraced(function* ({ headers: { accept } }) {
        const { slug = "" } = yield* HttpRouter.params
        const page = problemPage(slug)
        if (page === undefined) {
          return yield* HttpServerRespondable.toResponse(
            new NotFoundProblem({ detail: "No problem type has this name." }),
          )
        }
        return wantsHtml(accept) ? html(page.title, explain(page)) : json(toJson(page, base))
      }),
    )
  }),
)

const wantsHtml = (accept: string | undefined): boolean =>
  preferred(accept, ["application/json", "text/html"]) === "text/html"

const toJson = ({ cause, cure, slug, status, title }: ProblemPage, base: string) => ({
  type: base + slug,
  title,
  status,
  cause,
  cure,
})

const json = (body: unknown) => HttpServerResponse.jsonUnsafe(body, { headers })

const html = (title: string, body: string) =>
  HttpServerResponse.html(
    `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
      `<title>${escape(title)} · RenderOwl</title><style>${STYLE}</style><main>${body}</main></html>`,
  ).pipe(HttpServerResponse.setHeaders(headers))

const list = (pages: ReadonlyArray<ProblemPage>): string =>
  `<h1>Problem types</h1><table>${pages
    .map(
      ({ slug, status, title }) =>
        `<tr><td>${status}</td><td><a href="/errors/${slug}"><code>${slug}</code></a></td><td>${escape(title)}</td></tr>`,
    )
    .join("")}</table>`

const explain = ({ cause, cure, slug, status, title }: ProblemPage): string =>
  `<p><a href="/errors">All problem types</a></p><h1>${escape(title)}</h1><p><code>${slug}</code> · HTTP ${status}</p>` +
  `<h2>Why</h2><p>${escape(cause)}</p><h2>What to do</h2><p>${escape(cure)}</p>`
