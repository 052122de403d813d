/**
 * What is wrong with an answer, by what the document says: its status, its media type, its body, its headers; and, when it is an
 * error, whether it is a registered problem that tells nothing of how the server is made.
 */
import { Effect } from "effect"
import type { Client } from "../support/Client.ts"
import type { Declared, Document, Operation } from "./Document.ts"
import type { Answer, Request } from "./Exchange.ts"

const PROBLEM_JSON = "application/problem+json"

/** What no answer may show: where our files are, how the code is called, or what the database was asked. */
const LEAKS = /node_modules|\/src\/|\.ts:\d|\bat [A-Za-z]+ \(|SELECT |INSERT |SQLITE|Cause|_tag/

export interface Expectations {
  readonly document: Document
  /** The types of all registered problems. */
  readonly registered: ReadonlyMap<string, { readonly status: number; readonly title: string }>
}

/** The document, and the problems that the server lists. */
export const expectationsOf = (client: Client, document: Document): Effect.Effect<Expectations> =>
  Effect.map(client.get("/errors"), (answer) => {
    const { data } = answer.json<{
      readonly data: ReadonlyArray<{ readonly type: string; readonly status: number; readonly title: string }>
    }>()
    return { document, registered: new Map(data.map((page) => [page.type, page])) }
  })

/** The slug of a problem's type; undefined for what is none. */
export const problemIn = ({ body, headers }: Answer): string | undefined =>
  headers["content-type"] === PROBLEM_JSON
    ? String((JSON.parse(body.toString()) as { readonly type: unknown }).type)
        .split("/")
        .at(-1)
    : undefined

/** All that is wrong. */
export const faultsOf = (
  expectations: Expectations,
  operation: Operation,
  request: Request,
  answer: Answer,
): ReadonlyArray<string> => {
  const declared = operation.answers.get(answer.status)
  if (declared === undefined) return [`answered ${answer.status}, which is not declared: ${shown(answer)}`]
  return [
    ...headerFaults(expectations.document, declared, answer),
    ...bodyFaults(expectations.document, declared, answer),
    ...(answer.status < 400 ? [] : errorFaults(expectations, request, answer)),
  ]
}

const headerFaults = (document: Document, { headers }: Declared, answer: Answer): ReadonlyArray<string> =>
  [...headers].flatMap(([name, { required, schema }]) => {
    const value = answer.headers[name]
    if (value === undefined) return required ? [`${answer.status} has no ${name}`] : []
    const typed = schema["type"] === "integer" ? Number(value) : value
    const fault = document.faultOf(schema, typed)
    return fault === undefined ? [] : [`${answer.status} has ${name}: ${String(value)}, which ${fault}`]
  })

const bodyFaults = (document: Document, { content }: Declared, answer: Answer): ReadonlyArray<string> => {
  if (content.size === 0) {
    return answer.body.length === 0 ? [] : [`${answer.status} has a body: ${shown(answer)}`]
  }
  const type = answer.headers["content-type"]?.split(";")[0] ?? ""
  const schema = content.get(type)
  if (schema === undefined) {
    return content.has("*/*") ? [] : [`${answer.status} is ${type || "of no type"}, which is not declared`]
  }
  if (!/[/+]json$/.test(type)) return []
  let body: unknown
  try {
    body = JSON.parse(answer.body.toString())
  } catch {
    return [`${answer.status} is no JSON: ${shown(answer)}`]
  }
  const fault = document.faultOf(schema, body)
  return fault === undefined ? [] : [`${answer.status} is not what was declared: ${fault}: ${shown(answer)}`]
}

/** An error that is no problem is one that was declared to be something else. */
const errorFaults = (
  { registered }: Expectations,
  request: Request,
  answer: Answer,
): ReadonlyArray<string> => {
  const faults: Array<string> = []
  if (answer.status >= 500 && answer.status !== 503) faults.push(`answered ${shown(answer)}`)
  if (LEAKS.test(answer.body.toString())) faults.push(`tells too much: ${shown(answer)}`)
  if (answer.headers["content-type"] !== PROBLEM_JSON) return faults
  const problem = JSON.parse(answer.body.toString()) as Record<string, unknown>
  const page = registered.get(String(problem["type"]))
  if (page === undefined) return [...faults, `is of a type that is not registered: ${shown(answer)}`]
  const expected: Record<string, unknown> = {
    status: answer.status,
    title: page.title,
    trace_id: answer.headers["x-trace-id"],
    // What never became a request has no path that anybody knows.
    instance: problem["instance"] === undefined ? undefined : pathOf(request.path),
  }
  if (page.status !== answer.status) faults.push(`${answer.status} has the problem of ${page.status}`)
  for (const [member, value] of Object.entries(expected)) {
    if (problem[member] !== value)
      faults.push(`has the ${member} ${String(problem[member])}, not ${String(value)}`)
  }
  return faults
}

const pathOf = (target: string): string => target.split(/[?#]/)[0]!

const SHOWN_CHARACTERS = 500

export const shown = ({ body, status }: Answer): string =>
  `${status} ${body.toString().slice(0, SHOWN_CHARACTERS)}`
