/** A receiver of webhooks on a port of loopback, which answers as the test says. */
import { Effect, type Scope } from "effect"
import { createServer, type IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"
import { text } from "node:stream/consumers"
import { setTimeout } from "node:timers/promises"

const LOOK_INTERVAL_MS = 10

export interface ReceivedMessage {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** How it answers. */
export interface WebhookAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
}

export class WebhookReceiver {
  readonly url: URL
  readonly messages: Array<ReceivedMessage> = []
  answer: WebhookAnswer = { status: 204 }

  constructor(url: URL) {
    this.url = url
  }

  /** What each message is about. */
  get told(): ReadonlyArray<string> {
    return this.messages.map(({ body }) => {
      const { data, type } = JSON.parse(body)
      return `${type} ${data.rule} ${data.subject}`
    })
  }

  /** Takes messages for as long as the scope is open. */
  static readonly start: Effect.Effect<WebhookReceiver, never, Scope.Scope> = Effect.gen(function* () {
    let receiver: WebhookReceiver
    const server = createServer(async (request, response) => {
      receiver.messages.push({ headers: request.headers, body: await text(request) })
      response.writeHead(receiver.answer.status, receiver.answer.headers).end("so be it")
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        }),
    )
    receiver = new WebhookReceiver(
      new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/alerts`),
    )
    return receiver
  })

  /** Waits until so many messages are there: in real time, whatever the clock of the test says. */
  received(count: number): Effect.Effect<void> {
    return Effect.promise(async () => {
      while (this.messages.length < count) await setTimeout(LOOK_INTERVAL_MS)
    })
  }
}
