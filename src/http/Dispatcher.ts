/**
 * Requests that a request makes to this very server, without a socket in between: each goes through everything that one from
 * outside goes through (the edge, its version, who is calling, limits, caches), in a scope of its own and with nothing of the
 * request that it came with but what it is given. It belongs to the client that sent that request, and comes from where
 * that one came from. Interrupting whoever waits for the answer interrupts the request.
 */
import { Context, Effect, Layer } from "effect"
import {
  Headers,
  HttpEffect,
  HttpRouter,
  HttpServerRequest,
  HttpServerRespondable,
  type HttpServerResponse,
} from "effect/http"
import type { IncomingMessage } from "node:http"
import type { Socket } from "node:net"
import { RequestAdmission } from "./Admission.ts"
import { markDispatched } from "./DispatchedRequest.ts"
import { InternalErrorProblem } from "./ServiceProblems.ts"

type Request = HttpServerRequest.HttpServerRequest
type Response = HttpServerResponse.HttpServerResponse

/** What is asked. */
export interface Subrequest {
  /** Upper case, and not one that is answered without a body. */
  readonly method: string
  /** Path and query, beginning with `/`. */
  readonly url: string
  /** All of them, in lower case; what says how long the body is comes by itself. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
}

/** Where nobody is: the address that a request has is its path alone. */
const NOWHERE = "http://dispatched.invalid"

/** What stands in for Node's own message: the connection, and where the answer is put. */
interface Source extends globalThis.Request {
  readonly socket: Socket | undefined
  answer?: Response
}

export class Dispatcher extends Context.Service<
  Dispatcher,
  {
    /** The answer to a request that comes with `outer`. Its body may be a stream, which nobody has begun to read. */
    readonly dispatch: (outer: Request, subrequest: Subrequest) => Effect.Effect<Response>
    /**
     * Takes up to so many places among the requests that are worked on at a time, and answers how many there were room for;
     * they are given back by themselves. Requests that are dispatched take none: whoever has them made holds places for them.
     */
    readonly places: <A, E, R>(
      wanted: number,
      use: (places: number) => Effect.Effect<A, E, R>,
    ) => Effect.Effect<A, E, R>
  }
>()("renderowl/http/Dispatcher") {
  static readonly layer = Layer.effect(
    Dispatcher,
    Effect.gen(function* () {
      const router = yield* HttpRouter.HttpRouter
      const admission = yield* RequestAdmission
      // What every request of this server begins with: nothing of one request is in it.
      const services = yield* Effect.context<never>()
      // Once all routes are there, with everything that was put around them.
      let handled: Effect.Effect<void> | undefined
      const handle = () =>
        (handled ??= HttpEffect.toHandled(router.asHttpEffect(), ({ source }, response) =>
          Effect.sync(() => void ((source as Source).answer = response)),
        ) as Effect.Effect<void>)

      return Dispatcher.of({
        dispatch: (outer, subrequest) =>
          Effect.suspend(() => {
            const request = requestOf(outer, subrequest)
            return Effect.exit(handle()).pipe(
              Effect.updateContext(
                (_: Context.Context<never>) =>
                  Context.add(services, HttpServerRequest.HttpServerRequest, request) as never,
              ),
              Effect.flatMap(() => {
                const { answer } = request.source as Source
                return answer === undefined
                  ? HttpServerRespondable.toResponse(new InternalErrorProblem({}))
                  : Effect.succeed(answer)
              }),
            )
          }),
        places: (wanted, use) =>
          Effect.acquireUseRelease(
            Effect.sync(() => {
              let taken = 0
              while (taken < wanted && admission.enter()) taken++
              return taken
            }),
            use,
            (taken) =>
              Effect.sync(() => {
                for (let i = 0; i < taken; i++) admission.leave()
              }),
          ),
      })
    }),
  )
}

const requestOf = (outer: Request, { body, headers, method, url }: Subrequest): Request => {
  const source: Source = Object.assign(
    new globalThis.Request(NOWHERE, { method, ...(body === undefined ? {} : { body }) }),
    { socket: (outer.source as IncomingMessage).socket },
  )
  markDispatched(source)
  return HttpServerRequest.fromWeb(source).modify({
    url,
    headers: Headers.fromRecordUnsafe({
      ...headers,
      ...(body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) }),
    }),
    remoteAddress: outer.remoteAddress,
    peerAddress: outer.peerAddress,
    ...(outer.protocol === undefined ? {} : { protocol: outer.protocol }),
  })
}
