import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Exit, Redacted, Schema } from "effect"
import * as fc from "fast-check"
import * as Cursor from "../../src/http/Cursor.ts"
import { linkHeader } from "../../src/http/Pagination.ts"
import { call, layer as TestServer, slugOf } from "./TestApi.ts"

const secret = (text: string) => Cursor.CursorSecret.layer(Redacted.make(text))
const Position = Schema.Struct({ at: Schema.Int, id: Schema.String })
const Items = Cursor.make("items", Position)
const Others = Cursor.make("others", Position)

const run = <A, E>(effect: Effect.Effect<A, E, Cursor.CursorSecret>, key = "one") =>
  Effect.runSyncExit(Effect.provide(effect, secret(key)))
const encode = (position: typeof Position.Type) =>
  Effect.runSync(Effect.provide(Items.encode(position), secret("one")))

const positions = fc.record({ at: fc.integer(), id: fc.string({ maxLength: 40 }) })

describe("a cursor", () => {
  it("leads back to the position it was made from", () => {
    fc.assert(
      fc.property(positions, (position) => {
        assert.deepStrictEqual(run(Items.decode(encode(position))), Exit.succeed(position))
      }),
    )
  })

  it("is refused when any one character was changed, added or taken away", () => {
    fc.assert(
      fc.property(
        positions,
        fc.nat(),
        fc.constantFrom(..."AZaz09-_=+/ \u00E9"),
        (position, at, character) => {
          const cursor = encode(position)
          const i = at % cursor.length
          fc.pre(cursor[i] !== character)
          for (const forged of [
            cursor.slice(0, i) + character + cursor.slice(i + 1),
            cursor.slice(0, i) + character + cursor.slice(i),
            cursor.slice(0, i) + cursor.slice(i + 1),
          ]) {
            if (forged !== cursor) assert.isTrue(Exit.isFailure(run(Items.decode(forged))), forged)
          }
        },
      ),
    )
  })

  it("opens neither another list nor another installation", () => {
    const cursor = encode({ at: 1, id: "a" })
    assert.isTrue(Exit.isFailure(run(Others.decode(cursor))))
    assert.isTrue(Exit.isFailure(run(Items.decode(cursor), "two")))
  })

  it("is refused when its position no longer has the right form", () => {
    const Newer = Cursor.make("items", Schema.Struct({ position: Schema.Int }))
    assert.isTrue(Exit.isFailure(run(Newer.decode(encode({ at: 1, id: "a" })))))
  })
})

describe("the Link header", () => {
  it("keeps the filters, exchanges the cursor, and cannot be broken out of", () => {
    assert.strictEqual(
      linkHeader("/v1/items?status=a%20b&cursor=old&tag=x?y", "new"),
      '</v1/items?status=a+b&tag=x%3Fy&cursor=new>; rel="next", </v1/items?status=a+b&tag=x%3Fy>; rel="first"',
    )
    assert.strictEqual(linkHeader('/v1/a>"b', null), '</v1/a%3E%22b>; rel="first"')
  })
})

layer(TestServer(), { excludeTestServices: true })("a list", (it) => {
  it.effect("is walked to its end by its own links, each row once", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      let next: string | undefined = "/v1/items?limit=20"
      let pages = 0
      while (next !== undefined) {
        const answer: { readonly json: Record<string, unknown>; readonly headers: Headers } = yield* call(
          next,
          {
            key: "reader",
          },
        )
        const pagination = answer.json["pagination"] as { next_cursor: string | null; has_more: boolean }
        seen.push(...(answer.json["data"] as Array<unknown>))
        next = /<([^>]*)>; rel="next"/.exec(answer.headers.get("link") ?? "")?.[1]
        assert.strictEqual(pagination.has_more, next !== undefined)
        assert.strictEqual(pagination.next_cursor !== null, next !== undefined)
        pages++
      }
      assert.strictEqual(pages, 3)
      assert.deepStrictEqual(
        seen,
        Array.from({ length: 45 }, (_, i) => ({ position: i + 1 })),
      )
    }),
  )

  it.effect("has 20 rows unless asked otherwise", () =>
    Effect.gen(function* () {
      const { json } = yield* call("/v1/items", { key: "reader" })
      assert.lengthOf(json["data"] as Array<unknown>, 20)
    }),
  )

  it.effect("refuses a cursor that it did not give", () =>
    Effect.gen(function* () {
      for (const cursor of ["x", "eyJwb3NpdGlvbiI6MjB9AAAAAAAAAAAAAAAAAAAAAA"]) {
        const answer = yield* call(`/v1/items?cursor=${cursor}`, { key: "reader" })
        assert.strictEqual(answer.status, 400)
        assert.strictEqual(slugOf(answer), "invalid-request")
      }
    }),
  )
})
