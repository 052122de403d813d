/** A collector of traces that takes everything and looks at nothing, in a process of its own. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const server = createServer((request, response) => {
  request.resume()
  request.once("end", () => response.end())
})
server.listen(0, "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
process.once("SIGTERM", () => process.exit(0))
