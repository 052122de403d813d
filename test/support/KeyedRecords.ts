/** The records of requests with keys, for servers that have no other database: in one of their own, in memory. */
import { Layer } from "effect"
import { KeyedRequests } from "../../src/journal/KeyedRequests.ts"
import { inMemory } from "./TestDatabase.ts"

export const keyedRecords = Layer.fresh(Layer.provide(KeyedRequests.layer, inMemory))
