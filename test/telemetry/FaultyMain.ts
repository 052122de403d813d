/** RenderOwl with a fault of its own: on SIGUSR2 it throws where nobody catches, on SIGUSR1 a promise fails that nobody looks at. */
process.on("SIGUSR2", () => {
  throw new Error("nobody catches this, not even Bearer abcdefgh12345678")
})
process.on("SIGUSR1", () => {
  void Promise.reject(new Error("nobody looks at this"))
})
await import("../../src/main.ts")
