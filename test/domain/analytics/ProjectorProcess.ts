/** A program that keeps the analytics of the database it is told behind its journal, until it is killed. */
import { Effect, Layer } from "effect"
import { journalAt, projector } from "./AnalyticsFixture.ts"

Effect.runFork(Layer.launch(projector.pipe(Layer.provide(journalAt(process.argv[2] ?? "")))))
