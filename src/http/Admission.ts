/**
 * How many requests are worked on at a time, and how many answers are being streamed: live events and downloads, which go on
 * for as long as their readers like and so have a number of their own. What comes beyond is refused at once, while it
 * costs nothing, instead of making everybody wait.
 */
import { Context } from "effect"

/** Both numbers are counts, not rates. */
export interface AdmissionLimits {
  readonly requestsMax: number
  readonly streamsMax: number
}

export class Admission {
  readonly #limits: AdmissionLimits
  #requests = 0
  #streams = 0

  constructor(limits: AdmissionLimits) {
    this.#limits = limits
  }

  /** Requests that are worked on now. */
  get requests(): number {
    return this.#requests
  }

  /** Answers that are being streamed now. */
  get streams(): number {
    return this.#streams
  }

  /** Takes a place among the requests; whoever gets one calls {@link leave}, once. */
  enter(): boolean {
    if (this.#requests >= this.#limits.requestsMax) return false
    this.#requests++
    return true
  }

  leave(): void {
    this.#requests--
  }

  /** Takes a place among the streams; whoever gets one calls {@link endStream}, once. */
  beginStream(): boolean {
    if (this.#streams >= this.#limits.streamsMax) return false
    this.#streams++
    return true
  }

  endStream(): void {
    this.#streams--
  }
}

/** The places of this server. */
export class RequestAdmission extends Context.Service<RequestAdmission, Admission>()(
  "renderowl/http/RequestAdmission",
) {}
