/**
 * The cheapest HTTP server there can be, in a thread of its own: it answers every request with the same few bytes and reads
 * nothing but where one ends. What a tester can do against it is what the tester can do.
 */
import { createServer } from "node:net"
import { parentPort } from "node:worker_threads"

const BODY = '{"status":"live"}'
const ANSWER = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`,
)
const HEADERS_END = "\r\n\r\n"

const server = createServer((socket) => {
  socket.setNoDelay(true)
  socket.on("error", () => socket.destroy())
  socket.on("data", (chunk) => {
    // Requests of the calibration have no body, and a small one comes in one piece.
    for (let end = chunk.indexOf(HEADERS_END); end !== -1; end = chunk.indexOf(HEADERS_END, end + 1))
      socket.write(ANSWER)
  })
})

server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  if (typeof address === "object" && address !== null) parentPort?.postMessage(address.port, [])
})
