/**
 * The addresses of a name by the DNS alone (A and AAAA records), for hosts that came from outside. The operating system's
 * way is not taken: it answers from the hosts file and the local network too, and each question holds one of the process's
 * four threads for files for as long as a stranger's name server cares to be silent.
 */
import * as NodeDns from "@effect/platform-node/NodeDns"
import { Effect, Layer, Result } from "effect"
import { Dns, type Host, type NetAddress } from "effect/net"
import { HostUnresolved } from "./OutboundError.ts"

/** The second try waits longer than the first: given up after 3 to 4 s (measured), within the 5 s for a connection. */
const TRIES = 2
const ANSWER_TIMEOUT = "1 second"

/** The DNS through the name servers of the machine, or through those given (such as `127.0.0.1:5353`). */
export const layer = (
  nameServers: ReadonlyArray<string> = [],
): Layer.Layer<Dns.Dns, NetAddress.NetAddressError> =>
  Layer.effect(Dns.Dns, NodeDns.make({ nameServers, timeout: ANSWER_TIMEOUT, tries: TRIES }))

/** All addresses of a name. One family is enough: many names have no AAAA, and some servers do not answer for it. */
export const resolve = (
  dns: Dns.Dns["Service"],
  host: Host.DomainName,
): Effect.Effect<ReadonlyArray<NetAddress.IpAddress>, HostUnresolved> =>
  Effect.flatMap(
    Effect.forEach(["A", "AAAA"] as const, (type) => Effect.result(dns.resolve(host, type)), {
      concurrency: 2,
    }),
    (answers) => {
      const addresses = answers.flatMap((answer) =>
        Result.isSuccess(answer) ? answer.success.map(({ address }): NetAddress.IpAddress => address) : [],
      )
      if (addresses.length > 0) return Effect.succeed(addresses)
      const failures = answers.flatMap((answer) => (Result.isFailure(answer) ? [answer.failure] : []))
      const failure = failures.find(({ isTemporary }) => isTemporary) ?? failures[0]
      return Effect.fail(
        new HostUnresolved({
          host,
          failure: failure?.reason ?? "NotFound",
          temporary: failure?.isTemporary ?? false,
        }),
      )
    },
  )
