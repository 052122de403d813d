import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // A test that changes what is global changes it back. A process for each file would load Effect anew for each, which takes
    // half of the time of the small ones (measured).
    isolate: false,
    // For the processes that tests start, by the hundred: a third off every start (measured); keyed by the content of the files.
    env: {
      NODE_COMPILE_CACHE: fileURLToPath(new URL("node_modules/.cache/renderowl-tests", import.meta.url)),
    },
    // For what hangs: on a busy machine the starts of a few processes take long.
    testTimeout: 60_000,
    hookTimeout: 30_000,
    // Many tests wait for processes, disks and clocks: with one more than there are cores somebody is always at work.
    maxWorkers: Math.max(2, availableParallelism()) + 1,
  },
})
