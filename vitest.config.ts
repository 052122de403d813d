import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Many tests wait for processes, disks and clocks: with one more than there are cores somebody is always at work.
    maxWorkers: Math.max(2, availableParallelism()) + 1,
  },
})
