/**
 * The job that the benchmarks submit: a payload of the size of a small render, and a handler that does nothing, so that
 * what is measured is RenderOwl.
 */
import { Schema } from "effect"
import * as Job from "../../src/jobs/Job.ts"

export const NoopJob = Job.make("bench:noop", {
  queue: "bench",
  payload: Schema.Struct({
    composition: Schema.String,
    title: Schema.String,
    width: Schema.Int,
    height: Schema.Int,
    seconds: Schema.Number,
  }),
})

export type NoopPayload = typeof NoopJob.payload.Type

export const NOOP_PAYLOAD: NoopPayload = {
  composition: "title-card",
  title: "A day at the harbour",
  width: 1280,
  height: 720,
  seconds: 7.5,
}
