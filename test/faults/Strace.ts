/**
 * Faults of the operating system, made by `strace` at the border between a real process and the kernel: nothing in the
 * process knows that its disk is being simulated. Where it is not installed, or where tracing is not allowed, {@link missing}
 * says so, and the tests that need it are skipped.
 */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"

/** System calls with which SQLite and a restore change and read files, on the main thread, one after the other. */
export type Call = "pwrite64" | "pread64" | "fsync" | "ftruncate" | "link" | "rename"

/** What happens instead of a call. */
export interface Injection {
  readonly call: Call
  /** The error that it answers, or the signal that ends the process there. */
  readonly by: { readonly error: "EIO" | "ENOSPC" } | { readonly signal: "SIGKILL" }
  /** Which calls on these files: `7` one, `7+` from there on, `7..9` those. */
  readonly when: string
  /** Only calls on these files. Default: on all. */
  readonly files?: ReadonlyArray<string>
}

/** `-D`: the traced program is the child, so that a signal for the child reaches it and its exit is its own. */
const QUIET = ["-D", "-f", "-qq"]
/** Stops at the calls in question only. A signal cannot be injected at such a stop. */
const FAST = "--seccomp-bpf"

/** The command under which a process meets the fault; what is injected is written to `log`. */
export const injecting = (log: string, { by, call, files = [], when }: Injection): ReadonlyArray<string> => [
  "strace",
  ...QUIET,
  ...("error" in by ? [FAST] : []),
  ...files.flatMap((file) => ["-P", file]),
  "-o",
  log,
  "-e",
  `trace=${call}`,
  "-e",
  `inject=${call}:${"error" in by ? `error=${by.error}` : `signal=${by.signal}`}:when=${when}`,
]

/** The command under which a process has these calls written to `log`, with the names of their files. */
export const tracing = (log: string, calls: ReadonlyArray<string>): ReadonlyArray<string> => [
  "strace",
  ...QUIET,
  FAST,
  "-y",
  "-o",
  log,
  "-e",
  `trace=${calls.join()}`,
]

/** Faults that were injected, by the log. */
export const injected = (log: string): number => readFileSync(log, "utf8").split("(INJECTED)").length - 1

/** Why there can be no faults here; undefined when there can. */
export const missing: string | undefined = (() => {
  const trial = injecting("/dev/null", { call: "fsync", by: { error: "EIO" }, when: "1..2" })
  const { error, status, stderr } = spawnSync(trial[0]!, [...trial.slice(1), process.execPath, "--version"], {
    encoding: "utf8",
  })
  if (error !== undefined) return "strace is not installed (Debian: apt-get install strace)"
  return status === 0 ? undefined : `strace cannot trace here: ${stderr.trim().split("\n").at(-1)}`
})()

if (missing !== undefined) console.warn(`Tests of I/O faults are skipped: ${missing}`)
