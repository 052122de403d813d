/**
 * What is said of requests of one kind is always the same: it is made once for each. There are as many kinds as there are routes,
 * methods and answers; what callers think of beyond is made each time.
 */

const KINDS_MAX = 1_000

interface Kind<Made> {
  readonly method: string
  readonly status: number
  readonly variant: string
  readonly made: Made
}

export class RequestKinds<Made> {
  readonly #make: (method: string, route: string | undefined, status: number, variant: string) => Made
  readonly #byRoute = new Map<string | undefined, Array<Kind<Made>>>()
  #kept = 0

  /** `variant`: what else tells two kinds apart. */
  constructor(make: (method: string, route: string | undefined, status: number, variant: string) => Made) {
    this.#make = make
  }

  of(method: string, route: string | undefined, status: number, variant: string): Made {
    const ofRoute = this.#byRoute.get(route)
    if (ofRoute !== undefined)
      for (const kind of ofRoute)
        if (kind.status === status && kind.method === method && kind.variant === variant) return kind.made
    const made = this.#make(method, route, status, variant)
    if (this.#kept < KINDS_MAX) {
      this.#kept++
      const kind = { method, status, variant, made }
      if (ofRoute === undefined) this.#byRoute.set(route, [kind])
      else ofRoute.push(kind)
    }
    return made
  }
}
