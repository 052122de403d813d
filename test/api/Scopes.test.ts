import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Scope } from "../../src/security/Scope.ts"
import { Client } from "../support/Client.ts"
import { SharedServer } from "../support/SharedServer.ts"

interface Operation {
  readonly security?: ReadonlyArray<Readonly<Record<string, ReadonlyArray<string>>>>
  readonly description?: string
}

/** What anybody may ask: whether the server is well. */
const OPEN = ["GET /live", "GET /ready", "GET /health"]

/** What asks each of its parts by itself. */
const UNSCOPED = new Set(["POST /v1/batch"])

/** What only a signed request may say. */
const SIGNED = new Set(["POST /v1/renders/{id}/progress"])

const schemesOf = (name: string): Array<string> => {
  if (SIGNED.has(name)) return ["signature"]
  const isOperators = name.includes(" /internal/") || name === "GET /metrics"
  return isOperators ? ["signature", "bearer", "apiKey"] : ["bearer", "apiKey"]
}

const routes = Effect.gen(function* () {
  const { client } = yield* SharedServer
  const { paths } = (yield* client.get("/openapi.json")).json<{
    readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  }>()
  return Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({
      method: method.toUpperCase(),
      // Who may call is asked before anything else: the id need not be one.
      path: path.replaceAll(/\{[^}]+\}/g, "x"),
      name: `${method.toUpperCase()} ${path}`,
      operation,
    })),
  )
})

layer(SharedServer.layer(), { excludeTestServices: true, timeout: 30_000 })("every route", (it) => {
  it.effect("shows in OpenAPI which scopes it requires, unless anybody may call it", () =>
    Effect.gen(function* () {
      const all = yield* routes
      assert.deepStrictEqual(
        all.filter(({ operation }) => (operation.security ?? []).length === 0).map(({ name }) => name),
        OPEN,
      )
      for (const { name, operation } of all.filter(({ name }) => !OPEN.includes(name))) {
        const schemes = Object.assign({}, ...operation.security!) as Record<string, ReadonlyArray<string>>
        assert.hasAllKeys(schemes, schemesOf(name), name)
        for (const scopes of Object.values(schemes)) {
          if (!UNSCOPED.has(name)) assert.isNotEmpty(scopes, name)
          assert.includeMembers([...Scope.literals] as Array<string>, [...scopes], name)
          for (const scope of scopes) assert.include(operation.description, `\`${scope}\``, name)
        }
      }
    }),
  )

  it.effect("refuses a caller without credentials, and one that holds every scope but its own", () =>
    Effect.gen(function* () {
      const { client, url } = yield* SharedServer
      const anybody = new Client(url, undefined)
      const lacking = new Map<string, Client>()
      for (const missing of Scope.literals) {
        const scopes = Scope.literals.filter((scope) => scope !== missing && scope !== "admin")
        const answer = yield* client.post("/v1/api-keys", { name: `not ${missing}`, scopes })
        lacking.set(missing, new Client(url, answer.json<{ readonly key: string }>().key))
      }
      for (const { method, name, operation, path } of yield* routes) {
        if (OPEN.includes(name)) continue
        assert.strictEqual((yield* anybody.request(method, path)).problem, "unauthorized", name)
        if (SIGNED.has(name)) {
          const answer = yield* client.request(method, path)
          assert.strictEqual(answer.problem, "unauthorized", "not even an administrator")
          continue
        }
        const required = operation.security!.at(-1)!["apiKey"]!
        for (const scope of required) {
          const answer = yield* lacking.get(scope)!.request(method, path)
          assert.strictEqual(answer.status, 403, name)
          assert.strictEqual(answer.problem, "insufficient-scope", name)
          const { required_scopes, your_scopes } = answer.json<Record<string, ReadonlyArray<string>>>()
          assert.deepStrictEqual(required_scopes, required, name)
          assert.isFalse(your_scopes?.includes(scope), name)
        }
      }
    }),
  )
})
