/**
 * RenderOwl for which every wait of half a minute is one of three seconds, so that a test need not wait for the next round of
 * checks. How far apart the rounds are is another test's promise (`telemetry/Health.test.ts`).
 */
const HALF_MINUTE_MS = 30_000
/** More than the two seconds that a check may take: no other limit comes before it. */
const SHORT_MS = 3_000

globalThis.setTimeout = new Proxy(globalThis.setTimeout, {
  apply: (target, self, [run, delay, ...rest]: Parameters<typeof setTimeout>) =>
    Reflect.apply(target, self, [run, delay === HALF_MINUTE_MS ? SHORT_MS : delay, ...rest]),
})
await import("../../src/main.ts")
