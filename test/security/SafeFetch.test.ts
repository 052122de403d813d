import * as Http from "node:http"
import * as Https from "node:https"
import * as Net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, type Scope, Stream } from "effect"
import { Dns, NetAddress } from "effect/net"
import { TestClock } from "effect/testing"
import type { OutboundError } from "../../src/security/OutboundError.ts"
import * as SafeFetch from "../../src/security/SafeFetch.ts"
import * as SelfSignedCertificate from "../support/SelfSignedCertificate.ts"
import { settle } from "../support/Turns.ts"

/** The one address that tests may reach, by an allowance of its own; a second one on the same machine stays forbidden. */
const ALLOWED = "127.0.0.2"
const FORBIDDEN = "127.0.0.1"
const ALLOW = [`${ALLOWED}/32`]
const NAME = "hooks.renderowl.dev"

type Zone = Readonly<Record<string, ReadonlyArray<string> | (() => ReadonlyArray<string>)>>

/** A DNS of which every answer is decided by the test, and every question is kept. */
const dns = (zone: Zone) => {
  const asked: Array<string> = []
  const service = Dns.make({
    lookup: (host) => Effect.die(`the hosts file was asked for ${host}`),
    resolve: (name, type) =>
      Effect.suspend(() => {
        asked.push(`${name} ${type}`)
        const entry = zone[name]
        if (entry === undefined) {
          return Effect.fail(new Dns.DnsError({ reason: "NotFound", method: "resolve", hostname: name }))
        }
        const answers = (typeof entry === "function" ? entry() : entry).map(NetAddress.ipFromStringUnsafe)
        return Effect.succeed(
          answers.flatMap((address) =>
            NetAddress.isIpv4Address(address) === (type === "A")
              ? [
                  NetAddress.isIpv4Address(address)
                    ? Dns.makeRecordUnsafe("A", { address })
                    : Dns.makeRecordUnsafe("AAAA", { address: address as NetAddress.Ipv6Address }),
                ]
              : [],
          ),
        )
      }),
  })
  return { asked, layer: Layer.succeed(Dns.Dns, service) }
}

/** A real server at the allowed address, or at another; it and its connections end with the scope. */
const listen = (
  server: Net.Server,
  address = ALLOWED,
  port = 0,
): Effect.Effect<number, Error, Scope.Scope> => {
  const sockets = new Set<Net.Socket>()
  server.on("connection", (socket) => {
    socket.on("error", () => {})
    sockets.add(socket)
  })
  return Effect.acquireRelease(
    Effect.callback<number, Error>((resume) => {
      server.once("error", (error) => resume(Effect.fail(error)))
      server.listen(port, address, () => resume(Effect.succeed((server.address() as Net.AddressInfo).port)))
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      }),
  )
}

const serve = (server: Net.Server) => Effect.orDie(listen(server))

/** Two at one port: the first may be reached. A port that is free at one address may be taken at the other: then another one. */
const serveBoth = (allowed: () => Net.Server, forbidden: () => Net.Server) =>
  Effect.suspend(() => Effect.tap(listen(allowed()), (port) => listen(forbidden(), FORBIDDEN, port))).pipe(
    Effect.retry({ times: 10 }),
    Effect.orDie,
  )

/** A server that speaks as it likes: the text is sent when a request has come in. */
const serveRaw = (text: string, end = true) =>
  serve(
    Net.createServer((socket) => {
      socket.once("data", () => {
        socket.write(text, "latin1")
        if (end) socket.end()
      })
    }),
  )

const client = (port: number, zone: Layer.Layer<Dns.Dns> = dns({}).layer, options: SafeFetch.Options = {}) =>
  SafeFetch.SafeFetch.layer({ http: true, ports: [port], allow: ALLOW, ...options }).pipe(Layer.provide(zone))

const fetch = (request: SafeFetch.FetchRequest) =>
  Effect.flatMap(Effect.service(SafeFetch.SafeFetch), (client) => client.fetch(request))
const text = (request: SafeFetch.FetchRequest) =>
  Effect.map(Effect.flatMap(fetch(request), SafeFetch.bytes), (bytes) => Buffer.from(bytes).toString())
const reasonOf = <A, R>(effect: Effect.Effect<A, OutboundError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

describe("a request to a good URL", () => {
  it.effect("reaches the server with the name of the URL, over http", () =>
    Effect.gen(function* () {
      const seen: Array<Http.IncomingMessage> = []
      const port = yield* serve(
        Http.createServer((request, response) => {
          seen.push(request)
          request.on("data", (data: Buffer) => response.write(`<${data.toString()}>`))
          request.on("end", () => response.end("done"))
        }),
      )
      const { asked, layer } = dns({ [NAME]: [ALLOWED] })
      const body = yield* text({
        url: `http://${NAME}:${port}/a%20b?c=d#e`,
        method: "POST",
        headers: { "X-Custom": "yes", "content-type": "text/plain" },
        body: "hällo",
      }).pipe(Effect.provide(client(port, layer)))
      assert.strictEqual(body, "<hällo>done")
      const [request] = seen
      assert.strictEqual(request!.url, "/a%20b?c=d")
      assert.strictEqual(request!.method, "POST")
      assert.strictEqual(request!.headers.host, `${NAME}:${port}`)
      assert.strictEqual(request!.headers["x-custom"], "yes")
      assert.strictEqual(request!.headers["content-length"], "6")
      assert.deepStrictEqual(asked.toSorted(), [`${NAME} A`, `${NAME} AAAA`])
    }),
  )

  it.effect("is answered with status, headers and a body that streams", () =>
    Effect.gen(function* () {
      const port = yield* serve(
        Http.createServer((_, response) =>
          response.writeHead(418, { "x-kind": "teapot" }).end("x".repeat(300_000)),
        ),
      )
      const response = yield* fetch({ url: `http://${ALLOWED}:${port}/` }).pipe(Effect.provide(client(port)))
      assert.strictEqual(response.status, 418)
      assert.strictEqual(response.headers["x-kind"], "teapot")
      assert.strictEqual(response.redirects, 0)
      const sizes = yield* Stream.runFold(
        response.body,
        () => 0,
        (sum, chunk: Uint8Array) => sum + chunk.length,
      )
      assert.strictEqual(sizes, 300_000)
    }),
  )

  it.effect("asks for no encoding, and takes none apart", () =>
    Effect.gen(function* () {
      const port = yield* serve(
        Http.createServer((request, response) =>
          response.writeHead(200, { "content-encoding": "gzip" }).end(request.headers["accept-encoding"]),
        ),
      )
      const body = yield* text({ url: `http://${ALLOWED}:${port}/` }).pipe(Effect.provide(client(port)))
      assert.strictEqual(body, "identity")
    }),
  )

  it.effect("goes over TLS to the address that was checked, with the name in SNI and the certificate", () =>
    Effect.gen(function* () {
      const { cert, key } = SelfSignedCertificate.make(NAME)
      const names: Array<string> = []
      const server = Https.createServer({ cert, key }, (_, response) => response.end("over TLS"))
      server.on("secureConnection", (socket) => names.push(socket.servername as string))
      const port = yield* serve(server)
      const { layer } = dns({ [NAME]: [ALLOWED] })
      const body = yield* text({ url: `https://${NAME}:${port}/` }).pipe(
        Effect.provide(client(port, layer, { authorities: [cert], http: false })),
      )
      assert.strictEqual(body, "over TLS")
      assert.deepStrictEqual(names, [NAME])
    }),
  )

  it.effect("goes over TLS to an address whose certificate names it", () =>
    Effect.gen(function* () {
      const { cert, key } = SelfSignedCertificate.make(ALLOWED)
      const port = yield* serve(
        Https.createServer({ cert, key }, (_, response) => response.end("by address")),
      )
      const body = yield* text({ url: `https://${ALLOWED}:${port}/` }).pipe(
        Effect.provide(client(port, undefined, { authorities: [cert] })),
      )
      assert.strictEqual(body, "by address")
    }),
  )

  it.effect("tries the next address when one does not answer", () =>
    Effect.gen(function* () {
      const port = yield* serve(Http.createServer((_, response) => response.end("second")))
      const { layer } = dns({ [NAME]: ["127.0.0.3", ALLOWED] })
      const allow = [...ALLOW, "127.0.0.3/32"]
      const body = yield* text({ url: `http://${NAME}:${port}/` }).pipe(
        Effect.provide(client(port, layer, { allow })),
      )
      assert.strictEqual(body, "second")
    }),
  )

  it.effect("leaves no connection behind when its scope ends, read or not", () =>
    Effect.gen(function* () {
      const closed = yield* Deferred.make<void>()
      const server = Http.createServer((_, response) => {
        response.on("close", () => Deferred.doneUnsafe(closed, Exit.void))
        response.write("and so on")
      })
      const port = yield* serve(server)
      yield* Effect.scoped(fetch({ url: `http://${ALLOWED}:${port}/` })).pipe(Effect.provide(client(port)))
      yield* Deferred.await(closed)
    }),
  )
})

describe("what a name resolves to", () => {
  const url = `https://${NAME}/`
  const check = (zone: Zone, name = url) =>
    Effect.flatMap(Effect.service(SafeFetch.SafeFetch), (client) => client.check(name)).pipe(
      Effect.provide(SafeFetch.SafeFetch.layer().pipe(Layer.provide(dns(zone).layer))),
    )

  it.effect.each([
    ["127.0.0.1"],
    ["10.1.2.3"],
    ["169.254.169.254"],
    ["192.168.1.1"],
    ["0.0.0.0"],
    ["100.100.100.200"],
    ["::1"],
    ["::ffff:127.0.0.1"],
    ["fd00:ec2::254"],
    ["64:ff9b::10.0.0.1"],
    ["2002:a00:1::"],
    ["fe80::1"],
    ["93.184.215.14", "127.0.0.1"],
    ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::1"],
    [...Array.from({ length: 20 }, (_, i) => `93.184.215.${i}`), "10.0.0.1"],
  ])("refuses %j: one address that is not public is enough", (addresses) =>
    Effect.gen(function* () {
      const all = Array.isArray(addresses) ? addresses : [addresses]
      const reason = yield* reasonOf(check({ [NAME]: all as ReadonlyArray<string> }))
      assert.strictEqual(reason._tag, "AddressRefused")
      assert.notMatch(reason.message, /\d/)
    }),
  )

  it.effect("may be public addresses of both families", () =>
    check({ [NAME]: ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"] }),
  )

  it.effect("is not asked for when the URL breaks a rule already", () =>
    Effect.gen(function* () {
      const reason = yield* reasonOf(check({}, "https://localhost/"))
      assert.strictEqual(reason._tag, "UrlRefused")
    }),
  )

  it.effect("may be nothing", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(check({}))
      assert.strictEqual(error.reason._tag, "HostUnresolved")
      assert.isFalse(error.isRetryable)
    }),
  )

  it.effect("is taken from one family when the other is not answered for", () =>
    Effect.gen(function* () {
      const half = Dns.make({
        lookup: () => Effect.die("not asked"),
        resolve: (name, type) =>
          type === "A"
            ? Effect.succeed([
                Dns.makeRecordUnsafe("A", {
                  address: NetAddress.ipFromStringUnsafe("8.8.8.8") as NetAddress.Ipv4Address,
                }),
              ])
            : Effect.fail(new Dns.DnsError({ reason: "ServerFailure", method: "resolve", hostname: name })),
      })
      const layer = SafeFetch.SafeFetch.layer().pipe(Layer.provide(Layer.succeed(Dns.Dns, half)))
      const { check } = yield* Effect.provide(Effect.service(SafeFetch.SafeFetch), layer)
      yield* check(url)
    }),
  )

  it.effect("may become known later when servers fail", () =>
    Effect.gen(function* () {
      const failing = Dns.make({
        lookup: () => Effect.die("not asked"),
        resolve: (name) =>
          Effect.fail(new Dns.DnsError({ reason: "Timeout", method: "resolve", hostname: name })),
      })
      const layer = SafeFetch.SafeFetch.layer().pipe(Layer.provide(Layer.succeed(Dns.Dns, failing)))
      const { check } = yield* Effect.provide(Effect.service(SafeFetch.SafeFetch), layer)
      assert.isTrue((yield* Effect.flip(check(url))).isRetryable)
    }),
  )
})

describe("DNS rebinding", () => {
  /** Two servers at one port: one may be reached, the other must never see a request. */
  const twoServers = Effect.gen(function* () {
    const hits: Array<string> = []
    const server = (name: string) =>
      Http.createServer((request, response) => {
        hits.push(name)
        if (request.url === "/again") response.writeHead(302, { location: "/end" }).end()
        else response.end(name)
      })
    const port = yield* serveBoth(
      () => server("allowed"),
      () => server("forbidden"),
    )
    return { hits, port }
  })

  it.effect("between check and connection has no effect: the name is resolved once", () =>
    Effect.gen(function* () {
      const { hits, port } = yield* twoServers
      let questions = 0
      const { layer } = dns({ [NAME]: () => (questions++ < 2 ? [ALLOWED] : [FORBIDDEN]) })
      const body = yield* text({ url: `http://${NAME}:${port}/` }).pipe(Effect.provide(client(port, layer)))
      assert.strictEqual(body, "allowed")
      assert.strictEqual(questions, 2)
      assert.deepStrictEqual(hits, ["allowed"])
    }),
  )

  it.effect("between two requests is refused at the second", () =>
    Effect.gen(function* () {
      const { hits, port } = yield* twoServers
      let questions = 0
      const { layer } = dns({ [NAME]: () => (questions++ < 2 ? [ALLOWED] : [FORBIDDEN]) })
      const twice = Effect.gen(function* () {
        yield* text({ url: `http://${NAME}:${port}/` })
        return yield* reasonOf(text({ url: `http://${NAME}:${port}/` }))
      })
      const reason = yield* Effect.provide(twice, client(port, layer))
      assert.strictEqual(reason._tag, "AddressRefused")
      assert.deepStrictEqual(hits, ["allowed"])
    }),
  )

  it.effect("between a request and its redirect to the same name is refused", () =>
    Effect.gen(function* () {
      const { hits, port } = yield* twoServers
      let questions = 0
      const { layer } = dns({ [NAME]: () => (questions++ < 2 ? [ALLOWED] : [FORBIDDEN]) })
      const error = yield* Effect.flip(text({ url: `http://${NAME}:${port}/again` })).pipe(
        Effect.provide(client(port, layer)),
      )
      assert.strictEqual(error.reason._tag, "AddressRefused")
      assert.strictEqual(error.redirects, 1)
      assert.deepStrictEqual(hits, ["allowed"])
    }),
  )
})

describe("redirects", () => {
  /** A server that redirects to what the path says, and otherwise tells what it was asked. */
  const echo = Effect.gen(function* () {
    const seen: Array<Http.IncomingMessage> = []
    const handler: Http.RequestListener = (request, response) => {
      seen.push(request)
      const [, status, location] = /^\/to\/(\d+)\/(.*)$/.exec(request.url!) ?? []
      if (location !== undefined)
        response.writeHead(Number(status), { location: decodeURIComponent(location) }).end()
      else if (request.url === "/loop") response.writeHead(302, { location: "/loop" }).end()
      else request.pipe(response)
    }
    const port = yield* serveBoth(
      () => Http.createServer(handler),
      () => Http.createServer(handler),
    )
    const { layer } = dns({
      "a.renderowl.dev": [ALLOWED],
      "b.renderowl.dev": [ALLOWED],
      "evil.renderowl.dev": [FORBIDDEN],
    })
    const a = `http://a.renderowl.dev:${port}`
    const b = `http://b.renderowl.dev:${port}`
    const via = (location: string, status = 302) => `/to/${status}/${encodeURIComponent(location)}`
    return { a, b, client: client(port, layer), port, seen, via }
  })

  it.effect("are followed to the end, and counted", () =>
    Effect.gen(function* () {
      const { a, b, client, seen, via } = yield* echo
      const response = yield* fetch({ url: a + via(b + via(a + via(`${b}/end`))) }).pipe(
        Effect.provide(client),
      )
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.redirects, 3)
      assert.strictEqual(response.url.href, `${b}/end`)
      assert.lengthOf(seen, 4)
    }),
  )

  it.effect("are not followed for ever", () =>
    Effect.gen(function* () {
      const { a, client, seen } = yield* echo
      const reason = yield* reasonOf(fetch({ url: `${a}/loop` })).pipe(Effect.provide(client))
      assert.strictEqual(reason._tag, "TooManyRedirects")
      assert.lengthOf(seen, 1 + SafeFetch.DEFAULT_LIMITS.redirectsMax)
    }),
  )

  it.effect("are answers when none is to be followed", () =>
    Effect.gen(function* () {
      const { a, client, seen } = yield* echo
      const response = yield* fetch({ url: `${a}/loop`, limits: { redirectsMax: 0 } }).pipe(
        Effect.provide(client),
      )
      assert.strictEqual(response.status, 302)
      assert.strictEqual(response.headers["location"], "/loop")
      assert.lengthOf(seen, 1)
    }),
  )

  it.effect("to what a first URL may not be are refused, at the first step or after good ones", () =>
    Effect.gen(function* () {
      const { a, b, client, port, seen, via } = yield* echo
      const targets: ReadonlyArray<readonly [string, string]> = [
        [`http://${FORBIDDEN}:${port}/`, "UrlRefused"],
        [`http://2130706433:${port}/`, "UrlRefused"],
        [`http://0x7f.1:${port}/`, "UrlRefused"],
        [`http://[::ffff:127.0.0.1]:${port}/`, "UrlRefused"],
        [`http://[::1]:${port}/`, "UrlRefused"],
        [`http://localhost:${port}/`, "UrlRefused"],
        [`//localhost:${port}/`, "UrlRefused"],
        [`http://169.254.169.254:${port}/latest/meta-data/`, "UrlRefused"],
        [`http://u:p@b.renderowl.dev:${port}/`, "UrlRefused"],
        ["http://b.renderowl.dev:22/", "UrlRefused"],
        ["file:///etc/passwd", "UrlRefused"],
        ["gopher://b.renderowl.dev/", "UrlRefused"],
        [`http://evil.renderowl.dev:${port}/`, "AddressRefused"],
        [`http://unknown.renderowl.dev:${port}/`, "HostUnresolved"],
      ]
      for (const [target, tag] of targets) {
        for (const url of [a + via(target), a + via(b + via(target, 307), 303)]) {
          const reason = yield* reasonOf(fetch({ url })).pipe(Effect.provide(client))
          assert.strictEqual(reason._tag, tag, target)
        }
      }
      assert.isTrue(seen.every(({ headers }) => /^[ab]\.renderowl\.dev:/.test(headers.host!)))
      assert.isTrue(seen.every(({ socket }) => socket.localAddress !== FORBIDDEN))
    }),
  )

  it.effect("never lead from https to http", () =>
    Effect.gen(function* () {
      const { cert, key } = SelfSignedCertificate.make(ALLOWED)
      const server = Https.createServer({ cert, key })
      const port = yield* serve(server)
      server.on("request", (_, response) =>
        response.writeHead(302, { location: `http://${ALLOWED}:${port}/` }).end(),
      )
      const reason = yield* reasonOf(fetch({ url: `https://${ALLOWED}:${port}/` })).pipe(
        Effect.provide(client(port, undefined, { authorities: [cert] })),
      )
      assert.strictEqual(reason._tag === "UrlRefused" ? reason.refusal : reason._tag, "downgrade")
    }),
  )

  const secrets = {
    authorization: "Bearer secret",
    cookie: "session=secret",
    "x-api-key": "secret",
    "webhook-signature": "v1,secret",
  }

  it.effect("take no secret to another origin", () =>
    Effect.gen(function* () {
      const { a, b, client, seen, via } = yield* echo
      const headers = { ...secrets, accept: "text/html", "user-agent": "owl" }
      yield* fetch({ url: a + via(`${b}/end`), headers }).pipe(Effect.provide(client))
      const [first, second] = seen
      assert.include(first!.headers, secrets)
      for (const name of Object.keys(secrets)) assert.notProperty(second!.headers, name)
      assert.include(second!.headers, { accept: "text/html", "user-agent": "owl" })
    }),
  )

  it.effect("keep them at the origin, and do not get them back from another", () =>
    Effect.gen(function* () {
      const { a, b, client, seen, via } = yield* echo
      yield* fetch({ url: a + via(`${a}/end`), headers: secrets }).pipe(Effect.provide(client))
      assert.include(seen[1]!.headers, secrets)
      yield* fetch({ url: a + via(b + via(`${a}/end`)), headers: secrets }).pipe(Effect.provide(client))
      for (const name of Object.keys(secrets)) assert.notProperty(seen.at(-1)!.headers, name)
    }),
  )

  it.effect.each([
    [301, "POST", "GET", ""],
    [302, "POST", "GET", ""],
    [303, "POST", "GET", ""],
    [303, "PUT", "GET", ""],
    [303, "HEAD", "HEAD", ""],
    [302, "PUT", "PUT", "payload"],
    [307, "POST", "POST", "payload"],
    [308, "POST", "POST", "payload"],
  ] as const)("with %i and %s say it again as %s", ([status, method, again, body]) =>
    Effect.gen(function* () {
      const { a, client, seen, via } = yield* echo
      const request = {
        url: a + via("/end", status),
        method,
        ...(method === "HEAD" ? {} : { body: "payload" }),
      }
      assert.strictEqual(yield* text(request).pipe(Effect.provide(client)), body)
      assert.strictEqual(seen[1]!.method, again)
      if (again === "GET") assert.notProperty(seen[1]!.headers, "content-length")
    }),
  )
})

describe("an answer", () => {
  const fails = (port: number, request: Partial<SafeFetch.FetchRequest> = {}) =>
    reasonOf(text({ url: `http://${ALLOWED}:${port}/`, ...request })).pipe(Effect.provide(client(port)))

  it.effect("that says to be too large is not read", () =>
    Effect.gen(function* () {
      const port = yield* serveRaw("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n", false)
      const reason = yield* reasonOf(fetch({ url: `http://${ALLOWED}:${port}/` })).pipe(
        Effect.provide(client(port)),
      )
      assert.include(reason, { _tag: "AnswerTooLarge", part: "body" })
    }),
  )

  it.effect("that becomes too large is cut off", () =>
    Effect.gen(function* () {
      let sent = 0
      const port = yield* serve(
        Http.createServer((_, response) => {
          const more = () => {
            while (!response.destroyed && response.write(Buffer.alloc(10_000))) sent += 10_000
          }
          response.on("drain", more)
          more()
        }),
      )
      const reason = yield* fails(port, { limits: { bodyBytesMax: 100_000 } })
      assert.include(reason, { _tag: "AnswerTooLarge", part: "body", bytes_max: 100_000 })
      assert.isBelow(sent, 100_000_000)
    }),
  )

  it.effect("of exactly the limit is read whole", () =>
    Effect.gen(function* () {
      const port = yield* serve(Http.createServer((_, response) => response.end(Buffer.alloc(5_000))))
      const request = { url: `http://${ALLOWED}:${port}/`, limits: { bodyBytesMax: 5_000 } }
      assert.lengthOf(yield* text(request).pipe(Effect.provide(client(port))), 5_000)
    }),
  )

  it.effect("to HEAD may speak of a large body", () =>
    Effect.gen(function* () {
      const port = yield* serveRaw("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
      const request = { url: `http://${ALLOWED}:${port}/`, method: "HEAD" } as const
      assert.strictEqual(yield* text(request).pipe(Effect.provide(client(port))), "")
    }),
  )

  it.effect("with too many header bytes is refused", () =>
    Effect.gen(function* () {
      const port = yield* serveRaw(`HTTP/1.1 200 OK\r\nx: ${"x".repeat(20_000)}\r\n\r\n`)
      assert.include(yield* fails(port), { _tag: "AnswerTooLarge", part: "headers" })
    }),
  )

  it.effect.each([
    ["that is not HTTP", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["with a line feed for a line end", "HTTP/1.1 200 OK\ncontent-length: 2\n\nok"],
    ["with two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok"],
    [
      "with a length and chunks",
      "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ["that ends within its headers", "HTTP/1.1 200 OK\r\ncontent-"],
    ["that ends within its body", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"],
    ["that ends within a chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nhalf"],
    [
      "that changes the protocol",
      "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ],
    ["that is nothing", ""],
  ] as const)("%s is broken", ([, raw]) =>
    Effect.gen(function* () {
      const port = yield* serveRaw(raw)
      assert.strictEqual((yield* fails(port))._tag, "AnswerBroken")
    }),
  )

  it.effect("that breaks off unread harms nobody", () =>
    Effect.gen(function* () {
      const port = yield* serveRaw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
      const response = yield* fetch({ url: `http://${ALLOWED}:${port}/` }).pipe(Effect.provide(client(port)))
      yield* settle
      assert.strictEqual((yield* reasonOf(SafeFetch.bytes(response)))._tag, "AnswerBroken")
    }),
  )
})

describe("no connection", () => {
  it.effect("is an error that may pass", () =>
    Effect.gen(function* () {
      const port = yield* Effect.scoped(serve(Net.createServer()))
      const error = yield* Effect.flip(fetch({ url: `http://${ALLOWED}:${port}/` })).pipe(
        Effect.provide(client(port)),
      )
      assert.include(error.reason, { _tag: "NotConnected", code: "ECONNREFUSED", tls: false })
      assert.isTrue(error.isRetryable)
    }),
  )

  it.effect.each([
    ["another name", "other.renderowl.dev", false, "ERR_TLS_CERT_ALTNAME_INVALID"],
    ["a time that is over", NAME, true, "CERT_HAS_EXPIRED"],
  ] as const)("is made with a certificate for %s", ([, host, expired, code]) =>
    Effect.gen(function* () {
      const { cert, key } = SelfSignedCertificate.make(host, { expired })
      let requests = 0
      const port = yield* serve(
        Https.createServer({ cert, key }, (_, response) => response.end(String(requests++))),
      )
      const { layer } = dns({ [NAME]: [ALLOWED] })
      const reason = yield* reasonOf(fetch({ url: `https://${NAME}:${port}/` })).pipe(
        Effect.provide(client(port, layer, { authorities: [cert] })),
      )
      assert.include(reason, { _tag: "NotConnected", code, tls: true })
      assert.strictEqual(requests, 0)
    }),
  )

  it.effect("is made with a certificate of unknown origin, nor without TLS", () =>
    Effect.gen(function* () {
      const { cert, key } = SelfSignedCertificate.make(NAME)
      const secure = yield* serve(Https.createServer({ cert, key }))
      const plain = yield* serve(Http.createServer((_, response) => response.end()))
      const { layer } = dns({ [NAME]: [ALLOWED] })
      for (const port of [secure, plain]) {
        const reason = yield* reasonOf(fetch({ url: `https://${NAME}:${port}/` })).pipe(
          Effect.provide(client(port, layer)),
        )
        assert.include(reason, { _tag: "NotConnected", tls: true })
      }
    }),
  )
})

describe("a request that cannot be sent", () => {
  it.effect.each([
    ["Host", "localhost"],
    ["Content-Length", "5"],
    ["Transfer-Encoding", "chunked"],
    ["Connection", "keep-alive"],
    ["Proxy-Authorization", "Basic x"],
    ["x-bad", "a\r\nb: c"],
    ["bad name", "x"],
  ] as const)("has the header %s: %j", ([name, value]) =>
    Effect.gen(function* () {
      let requests = 0
      const port = yield* serve(Http.createServer((_, response) => response.end(String(requests++))))
      const reason = yield* reasonOf(
        fetch({ url: `http://${ALLOWED}:${port}/`, headers: { [name]: value } }),
      ).pipe(Effect.provide(client(port)))
      assert.strictEqual(reason._tag, "RequestRefused")
      assert.strictEqual(requests, 0)
    }),
  )
})

describe("time", () => {
  it.effect("to connect is limited, TLS included", () =>
    Effect.gen(function* () {
      const accepted = yield* Deferred.make<void>()
      const server = Net.createServer(() => Deferred.doneUnsafe(accepted, Exit.void))
      const port = yield* serve(server)
      const fiber = yield* fetch({ url: `https://${ALLOWED}:${port}/` }).pipe(
        Effect.provide(client(port)),
        Effect.forkScoped,
      )
      yield* Deferred.await(accepted)
      yield* TestClock.adjust("5 seconds")
      const reason = yield* reasonOf(Fiber.join(fiber))
      assert.include(reason, { _tag: "TooSlow", phase: "connect", limit_ms: 5_000 })
    }),
  )

  it.effect("to resolve a name is limited", () =>
    Effect.gen(function* () {
      const silent = Dns.make({ lookup: () => Effect.never, resolve: () => Effect.never })
      const fiber = yield* fetch({ url: "https://example.com/" }).pipe(
        Effect.provide(SafeFetch.SafeFetch.layer().pipe(Layer.provide(Layer.succeed(Dns.Dns, silent)))),
        Effect.forkScoped,
      )
      yield* TestClock.adjust("5 seconds")
      assert.include(yield* reasonOf(Fiber.join(fiber)), { _tag: "TooSlow", phase: "connect" })
    }),
  )

  it.effect("to the headers of the answer is limited", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const port = yield* serve(Http.createServer(() => Deferred.doneUnsafe(asked, Exit.void)))
      const fiber = yield* fetch({ url: `http://${ALLOWED}:${port}/` }).pipe(
        Effect.provide(client(port)),
        Effect.forkScoped,
      )
      yield* Deferred.await(asked)
      yield* TestClock.adjust("29999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.include(yield* reasonOf(Fiber.join(fiber)), {
        _tag: "TooSlow",
        phase: "total",
        limit_ms: 30_000,
      })
    }),
  )

  it.effect("to the end of the body is limited, also for a server that never pauses for long", () =>
    Effect.gen(function* () {
      const port = yield* serveRaw("HTTP/1.1 200 OK\r\n\r\ndrip", false)
      const response = yield* fetch({
        url: `http://${ALLOWED}:${port}/`,
        limits: { total: "10 seconds" },
      }).pipe(Effect.provide(client(port)))
      const fiber = yield* Effect.forkScoped(SafeFetch.bytes(response))
      yield* settle
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("10 seconds")
      assert.include(yield* reasonOf(Fiber.join(fiber)), {
        _tag: "TooSlow",
        phase: "total",
        limit_ms: 10_000,
      })
    }),
  )

  it.effect("ends a request that is interrupted, and its connection", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const closed = yield* Deferred.make<void>()
      const port = yield* serve(
        Http.createServer((_, response) => {
          response.on("close", () => Deferred.doneUnsafe(closed, Exit.void))
          Deferred.doneUnsafe(asked, Exit.void)
        }),
      )
      const fiber = yield* Effect.scoped(fetch({ url: `http://${ALLOWED}:${port}/` })).pipe(
        Effect.provide(client(port)),
        Effect.forkScoped,
      )
      yield* Deferred.await(asked)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(closed)
      assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
    }),
  )
})

describe("many requests", () => {
  it.effect("are let out 64 at a time, and the others wait within their own time", () =>
    Effect.gen(function* () {
      let open = 0
      let most = 0
      const answers: Array<() => void> = []
      const port = yield* serve(
        Http.createServer((_, response) => {
          most = Math.max(most, ++open)
          answers.push(() => {
            open--
            response.end()
          })
          if (answers.length === 64) for (const answer of answers.splice(0)) answer()
        }),
      )
      yield* Effect.forEach(
        Array.from({ length: 192 }),
        () => Effect.scoped(text({ url: `http://${ALLOWED}:${port}/` })),
        { concurrency: "unbounded" },
      ).pipe(Effect.provide(client(port)))
      assert.strictEqual(most, 64)
    }),
  )
})
