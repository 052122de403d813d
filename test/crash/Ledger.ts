/**
 * Everything that was ever promised, held outside of the database, and what of it a journal does not keep. It lives as
 * long as the test, through all lives of the processes that made the promises.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs"
import { join } from "node:path"
import type { JournalAudit } from "./JournalAudit.ts"
import { type Promised, RUNS_LOG, type Told } from "./LoadProtocol.ts"
import type { WorkPayload } from "./Work.ts"

/** Faults that are spelled out. */
const FAULTS_SHOWN = 10

export class Ledger {
  readonly #runs: RunsLog
  readonly #jobs = new Map<string, Promised>()
  readonly #keys = new Map<string, string>()
  /** What {@link JournalAudit.facts} must say of a job, ever. */
  readonly #facts = new Set<string>()
  readonly #completed = new Set<string>()
  readonly #versions = new Map<string, number>()
  readonly #faults: Array<string> = []

  /** A ledger of the processes that run in `folder`. */
  constructor(folder: string) {
    this.#runs = new RunsLog(join(folder, RUNS_LOG))
  }

  /** Jobs that were promised. */
  get size(): number {
    return this.#jobs.size
  }

  /** Writes down a line. */
  take(told: Told): void {
    switch (told._tag) {
      case "Accepted":
        for (const job of told.jobs) this.#accept(job)
        break
      case "Cancelled":
        this.#facts.add(`${told.id} is cancelled`)
        break
      case "Rescheduled":
        this.#facts.add(`${told.id} is due ${told.dueAt}`)
        break
      case "Reprioritized":
        this.#facts.add(`${told.id} is ${told.priority}`)
        break
      case "Governed":
        this.#facts.add(told.fact)
        break
      case "Seen":
        this.#versions.set(told.id, Math.max(told.version, this.#versions.get(told.id) ?? 0))
        break
      case "Ended":
        this.#facts.add(`${told.id} ${told.version} ${told.event}`)
        if (told.event === "JobCompleted") this.#completed.add(told.id)
        break
      case "Opening":
      case "Ready":
      case "Refused":
      case "Checkpoint":
    }
  }

  /** Everything that a journal, checked before, does not keep of what was told. */
  faults(audit: JournalAudit): ReadonlyArray<string> {
    const faults = [...this.#faults, ...wholeness(audit), ...this.#runs.faults(audit)]
    for (const { id, key, tag } of this.#jobs.values()) {
      const state = audit.jobs.get(id)?.state
      if (state === undefined) faults.push(`${id} was acknowledged and is gone`)
      else if ((state.payload as WorkPayload).tag !== tag || state.idempotencyKey !== key)
        faults.push(`${id} is another job than the one acknowledged`)
    }
    for (const fact of this.#facts) if (!audit.facts.has(fact)) faults.push(`it was told that ${fact}`)
    for (const [id, version] of this.#versions) {
      const now = audit.jobs.get(id)?.version ?? 0
      if (now < version) faults.push(`${id} was read at version ${version} and has ${now}`)
    }
    for (const id of this.#completed) {
      const status = audit.jobs.get(id)?.state.status
      if (status !== "completed") faults.push(`${id} was told to be completed and is ${status}`)
    }
    return faults.slice(0, FAULTS_SHOWN)
  }

  #accept(job: Promised): void {
    this.#jobs.set(job.id, job)
    if (job.key === undefined) return
    const holder = this.#keys.get(job.key) ?? job.id
    if (holder !== job.id) this.#faults.push(`${job.key} stands for ${holder} and ${job.id}`)
    this.#keys.set(job.key, job.id)
  }
}

/** A key belongs to one job, and a batch is there whole or not at all, whether or not anybody was told. */
const wholeness = ({ jobs }: JournalAudit): ReadonlyArray<string> => {
  const faults: Array<string> = []
  const holders = new Map<string, string>()
  const batches = new Map<string, { readonly size: number; found: number }>()
  for (const [id, { state }] of jobs) {
    const key = state.idempotencyKey
    if (key !== undefined && holders.has(key)) faults.push(`${key} belongs to ${id} and ${holders.get(key)}`)
    if (key !== undefined) holders.set(key, id)
    const { batch } = state.payload as WorkPayload
    if (batch === null) continue
    const seen = batches.get(batch.name) ?? { size: batch.size, found: 0 }
    seen.found++
    batches.set(batch.name, seen)
  }
  for (const [name, { found, size }] of batches)
    if (found !== size) faults.push(`${found} of the ${size} jobs of the batch ${name} are there`)
  return faults
}

/**
 * What handlers wrote down of themselves: no attempt runs twice, none before its start was durable, and no step again in
 * a later attempt once its result was.
 */
class RunsLog {
  readonly #file: string
  readonly #runs = new Set<string>()
  readonly #faults: Array<string> = []
  #read = 0

  constructor(file: string) {
    this.#file = file
  }

  faults({ jobs, started }: JournalAudit): ReadonlyArray<string> {
    for (const line of this.#fresh()) {
      const [what, id = "", attempt = "", name] = line.split(" ")
      if (what === "run") {
        const run = `${id} ${attempt}`
        if (this.#runs.has(run)) this.#faults.push(`ran twice: ${run}`)
        if (!started.has(run)) this.#faults.push(`ran without a lease: ${run}`)
        this.#runs.add(run)
      } else {
        const done = jobs.get(id)?.state.steps.find((step) => step.name === name)
        if (done !== undefined && done.attempt < Number(attempt))
          this.#faults.push(`made again although it was done in ${done.attempt}: ${line}`)
      }
    }
    return this.#faults
  }

  /** Whole lines that were not read before. */
  #fresh(): ReadonlyArray<string> {
    const file = openSync(this.#file, "a+")
    try {
      const bytes = Buffer.alloc(fstatSync(file).size - this.#read)
      readSync(file, bytes, 0, bytes.length, this.#read)
      this.#read += bytes.length
      return bytes
        .toString()
        .split("\n")
        .filter((line) => line !== "")
    } finally {
      closeSync(file)
    }
  }
}
