import { assert, describe, it } from "@effect/vitest"
import { Headers } from "effect/http"
import { type ApiVersion, ApiVersions } from "../../src/http/ApiVersion.ts"

const versions = ApiVersions.make({
  current: "v2",
  versions: [{ name: "v1" }, { name: "v2", inherits: "v1" }, { name: "v3", inherits: "v2" }],
})

const choose = (url: string, headers: Record<string, string> = {}) => {
  const choice = versions.choose(url, Headers.fromInput(headers))
  return choice === undefined ? "unsupported" : `${choice.version.name} by ${choice.source}: ${choice.url}`
}

describe("the version of a request", () => {
  for (const [name, url, headers, expected] of [
    ["its path", "/v1/jobs", {}, "v1 by path: /v1/jobs"],
    ["the whole path", "/v1", {}, "v1 by path: /v1"],
    ["a path in capitals", "//V1/jobs?x=1", {}, "v1 by path: //V1/jobs?x=1"],
    ["no path that only begins like one", "/v1x/jobs", {}, "v2 by default: /v1x/jobs"],
    ["no later part of the path", "/jobs/v1", {}, "v2 by default: /jobs/v1"],
    ["Accept", "/jobs", { accept: "application/json;version=v1" }, "v1 by accept: /jobs"],
    ["Accept in quotes", "/jobs", { accept: 'application/json; Version="v3"' }, "v3 by accept: /jobs"],
    [
      "the preferred one of Accept",
      "/jobs",
      { accept: "a/b;version=v1;q=0.2, a/b;version=v3;q=0.9" },
      "v3 by accept: /jobs",
    ],
    [
      "the supported one of Accept",
      "/jobs",
      { accept: "a/b;version=v9, a/b;version=v1;q=0.1" },
      "v1 by accept: /jobs",
    ],
    [
      "no range of Accept that is excluded",
      "/jobs",
      { accept: "a/b;version=v1;q=0" },
      "v2 by default: /jobs",
    ],
    ["API-Version", "/jobs", { "api-version": " V1 " }, "v1 by header: /jobs"],
    ["the query", "/jobs?a=1&api_version=v1&b=2", {}, "v1 by query: /jobs?a=1&b=2"],
    ["the query alone", "/jobs?api_version=v1", {}, "v1 by query: /jobs"],
    ["the first of several in the query", "/jobs?api_version=v3&api_version=v1", {}, "v3 by query: /jobs"],
    ["the encoded query", "/jobs?api_version=%76%31", {}, "v1 by query: /jobs"],
    ["no other name in the query", "/jobs?api_versions=v1", {}, "v2 by default: /jobs?api_versions=v1"],
    ["the current one", "/jobs", { "api-version": "" }, "v2 by default: /jobs"],
  ] as const) {
    it(`comes from ${name}`, () => {
      assert.strictEqual(choose(url, headers), expected)
    })
  }

  it("is that of the first strategy that says one, whatever the later ones say", () => {
    const all = { accept: "application/json;version=v2", "api-version": "v3" }
    assert.strictEqual(choose("/v1/jobs?api_version=v9", all), "v1 by path: /v1/jobs")
    assert.strictEqual(choose("/jobs?api_version=v9", all), "v2 by accept: /jobs")
    assert.strictEqual(choose("/jobs?api_version=v9", { "api-version": "v3" }), "v3 by header: /jobs")
  })

  for (const [url, headers] of [
    ["/v9/jobs", {}],
    ["/v0/jobs", {}],
    ["/v01/jobs", {}],
    ["/v99999999999999999999/jobs", {}],
    ["/v9/jobs", { "api-version": "v1" }],
    ["/jobs", { accept: "application/json;version=v9" }],
    ["/jobs", { accept: "application/json;version=" }],
    ["/jobs", { "api-version": "1" }],
    ["/jobs", { "api-version": "__proto__" }],
    ["/jobs?api_version=%zz", {}],
    ["/jobs?api_version", {}],
  ] as const) {
    it(`is unsupported for ${url} ${JSON.stringify(headers)}`, () => {
      assert.strictEqual(choose(url, headers), "unsupported")
    })
  }
})

describe("a registry of versions", () => {
  const since = new Date("2026-11-01T00:00:00Z")
  const before = new Date("2026-10-31T00:00:00Z")
  const old: ApiVersion = { name: "v1", deprecation: { since, documentation: "/docs" } }
  for (const [why, current, declared] of [
    ["a name that is none", "1.0", [{ name: "1.0" }]],
    ["the same name twice", "v1", [{ name: "v1" }, { name: "v1" }]],
    ["a current version that is not there", "v2", [{ name: "v1" }]],
    ["a current version that is deprecated", "v1", [old]],
    ["an inheritance from nowhere", "v1", [{ name: "v1", inherits: "v0" }]],
    [
      "an inheritance in a circle",
      "v1",
      [
        { name: "v1", inherits: "v2" },
        { name: "v2", inherits: "v1" },
      ],
    ],
    [
      "an end before the deprecation (RFC 9745, section 4)",
      "v2",
      [{ name: "v1", deprecation: { since, sunset: before, documentation: "/docs" } }, { name: "v2" }],
    ],
    [
      "a documentation that would break out of the header",
      "v2",
      [{ name: "v1", deprecation: { since, documentation: "/docs>, <x" } }, { name: "v2" }],
    ],
  ] as ReadonlyArray<readonly [string, string, ReadonlyArray<ApiVersion>]>) {
    it(`refuses ${why}`, () => {
      assert.throws(() => ApiVersions.make({ current, versions: declared }))
    })
  }
})
