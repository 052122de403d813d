import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { loadCommand } from "../../../src/ops/load/LoadCommand.ts"
import type { LoadResult } from "../../../src/ops/load/LoadResult.ts"
import { exitCodeOf } from "../../support/InProcess.ts"
import { dataFolder, journalHead, run, start } from "../../support/ServerProcess.ts"

const RUN = ["load-test", "--duration", "1 second", "--no-calibrate", "--concurrency", "4"]

describe("load-test on the command line", () => {
  it.live("loads a server with each scenario, without errors, and reports in words, JSON and HTML", () =>
    Effect.gen(function* () {
      const server = yield* start({ dataDir: yield* dataFolder, env: { RATE_LIMITS: "off" } })
      const load = (flags: ReadonlyArray<string>) => run([...RUN, "--url", server.url, ...flags], server)
      const html = join(server.dataDir, "report.html")
      for (const scenario of ["health", "enqueue", "mixed-render"]) {
        const { code, stderr, stdout } = yield* load(["--scenario", scenario, "--json", "--html", html])
        assert.strictEqual(code, 0, stderr)
        const result = JSON.parse(stdout) as LoadResult & { error_count: number }
        assert.deepInclude(result, { scenario, error_count: 0, errors: [], ok: true })
        assert.isAbove(result.requests, 0)
        assert.isAbove(result.latency.p99, 0)
        assert.include(readFileSync(html, "utf8"), `<title>Load test: ${scenario}</title>`)
        if (scenario === "mixed-render")
          assert.includeMembers(
            result.endpoints.map(({ endpoint }) => endpoint),
            ["POST /v1/jobs", "GET /v1/jobs/{id}", "GET /v1/projects/{id}/renders"],
          )
      }
      assert.isAbove(journalHead(server.dataDir), 10)

      const missing = yield* load(["--endpoint", "GET /v1/jobs/job_01k8w3e5r7fm2vx9q4ztd6yhb0"])
      assert.strictEqual(missing.code, 1)
      assert.match(missing.stdout, /^404 job-not-found +\d/m)
      assert.match(missing.stderr.trim().split("\n").at(-1)!, /^renderowl: error rate is 1, beyond the limit/)

      const strict = yield* load(["--scenario", "health", "--max-p99", "0.001", "--max-error-rate", "0"])
      assert.strictEqual(strict.code, 1)
      assert.match(strict.stdout, /^p99 in milliseconds is .*, beyond the limit of 0.001$/m)
      assert.match(strict.stdout, /^error rate is 0, within the limit of 0$/m)
    }).pipe(Effect.scoped),
  )

  it.live("measures what it can do itself, and says so", () =>
    Effect.gen(function* () {
      const server = yield* start({ dataDir: yield* dataFolder, env: { RATE_LIMITS: "off" } })
      const command = ["load-test", "--duration", "1 second", "--rate", "50", "--url", server.url]
      const { code, stderr, stdout } = yield* run(command, server)
      assert.strictEqual(code, 0, stderr)
      assert.match(stdout, /^it can do [\d,]+ requests\/s here against a server that does nothing/m)
      assert.match(stdout, /^50 requests in /m)
    }).pipe(Effect.scoped),
  )

  it.live("refuses what cannot be meant with exit code 2, before it sends anything", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      for (const flags of [
        ["--url", "nowhere"],
        ["--concurrency", "0"],
        ["--rate", "-1"],
        ["--duration", "2 days"],
        ["--max-error-rate", "2"],
        ["--scenario", "everything"],
        ["--endpoint", "/v1/jobs"],
        ["--body", "{}"],
        ["--html", join(dataDir, "no", "such", "folder.html")],
      ]) {
        const code = yield* exitCodeOf(loadCommand, [...RUN.slice(1), ...flags])
        assert.strictEqual(code, 2, flags.join(" "))
      }
      assert.isFalse(existsSync(join(dataDir, "no")))
      const { code, stderr } = yield* run([...RUN, "--url", "http://192.0.2.1"], { dataDir })
      assert.strictEqual(code, 2, stderr)
    }).pipe(Effect.scoped),
  )
})
