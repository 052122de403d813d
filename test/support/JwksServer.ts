/**
 * The issuer's side of a JWKS URL, on loopback: what it answers can be exchanged, and it counts how often it was asked.
 */
import { Effect, type Scope } from "effect"
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { IssuerKey } from "./Tokens.ts"

export class JwksServer {
  asked = 0
  readonly url: URL
  answer: (response: ServerResponse) => void

  constructor(url: URL) {
    this.url = url
    this.answer = (response) => response.writeHead(503).end()
  }

  /** From now on these are its keys. */
  publish(...keys: ReadonlyArray<Pick<IssuerKey, "jwk">>): void {
    this.answerWith(JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }))
  }

  answerWith(body: string, status = 200): void {
    this.answer = (response) => response.writeHead(status, { "content-type": "application/json" }).end(body)
  }
}

/** One that has no keys yet. */
export const start: Effect.Effect<JwksServer, never, Scope.Scope> = Effect.gen(function* () {
  let jwks: JwksServer | undefined
  const server = createServer((_request, response) => {
    jwks!.asked++
    jwks!.answer(response)
  })
  yield* Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
    () =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      }),
  )
  const { port } = server.address() as AddressInfo
  return (jwks = new JwksServer(new URL(`http://127.0.0.1:${port}/jwks.json`)))
})
