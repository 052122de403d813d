import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Dns, Host, NetAddress } from "effect/net"
import * as HostAddresses from "../../src/security/HostAddresses.ts"
import * as SafeFetch from "../../src/security/SafeFetch.ts"
import * as NameServer from "../support/NameServer.ts"

const ALLOWED = "127.0.0.2"

const resolve = (name: string, port: number) =>
  Effect.flatMap(Effect.service(Dns.Dns), (dns) =>
    HostAddresses.resolve(dns, Host.domainNameFromStringUnsafe(name)),
  ).pipe(
    Effect.map((addresses) => addresses.map(NetAddress.formatIp)),
    Effect.provide(HostAddresses.layer([`127.0.0.1:${port}`])),
  )

describe("the addresses of a host", () => {
  it.live("are those of both families, from the name server", () =>
    Effect.gen(function* () {
      const { asked, port } = yield* NameServer.start(() => ["192.0.2.1", "2001:db8::1", "192.0.2.2"])
      const addresses = yield* resolve("hooks.renderowl.dev", port)
      assert.deepStrictEqual(addresses, ["192.0.2.1", "192.0.2.2", "2001:db8::1"])
      assert.deepStrictEqual(asked.toSorted(), ["hooks.renderowl.dev A", "hooks.renderowl.dev AAAA"])
    }),
  )

  it.live("may be unknown for good", () =>
    Effect.gen(function* () {
      const { port } = yield* NameServer.start(() => undefined)
      const error = yield* Effect.flip(resolve("hooks.renderowl.dev", port))
      assert.include(error, { _tag: "HostUnresolved", failure: "NotFound", temporary: false })
    }),
  )
})

describe("a request to a name of the real DNS", () => {
  it.live("goes where the name pointed when it was checked, and nowhere when it points inside", () =>
    Effect.gen(function* () {
      const server = createServer((request, response) => response.end(request.headers.host))
      const port = yield* Effect.acquireRelease(
        Effect.callback<number>((resume) => {
          server.listen(0, ALLOWED, () => resume(Effect.succeed((server.address() as AddressInfo).port)))
        }),
        () => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void))),
      )
      let answers: ReadonlyArray<string> = [ALLOWED]
      const names = yield* NameServer.start(() => answers)
      const client = SafeFetch.SafeFetch.layer({ http: true, ports: [port], allow: [`${ALLOWED}/32`] }).pipe(
        Layer.provide(HostAddresses.layer([`127.0.0.1:${names.port}`])),
      )
      const url = `http://hooks.renderowl.dev:${port}/`
      yield* Effect.gen(function* () {
        const { fetch } = yield* SafeFetch.SafeFetch
        const text = Effect.scoped(Effect.flatMap(fetch({ url }), SafeFetch.bytes))
        assert.strictEqual(Buffer.from(yield* text).toString(), `hooks.renderowl.dev:${port}`)
        answers = ["127.0.0.1"]
        assert.strictEqual((yield* Effect.flip(text)).reason._tag, "AddressRefused")
        answers = [ALLOWED, "::1"]
        assert.strictEqual((yield* Effect.flip(text)).reason._tag, "AddressRefused")
      }).pipe(Effect.provide(client))
    }),
  )
})
