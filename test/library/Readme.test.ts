import { expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")

it("the example test of the README is the one that runs here", () => {
  const fromTheRoot = read("test/library/Example.test.ts").replaceAll('"../../src/', '"./src/')
  expect(read("README.md")).toContain(`\`\`\`ts\n${fromTheRoot}\`\`\`\n`)
})
