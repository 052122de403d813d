/**
 * Metrics as Prometheus reads them: the samples of a text in its format, and its own opinion of it where `promtool` is installed.
 */
import { execFileSync, spawnSync } from "node:child_process"

/** A value of a series. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g

/** Every sample; throws for a line that is none. */
export const samplesOf = (text: string): ReadonlyArray<Sample> =>
  text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [, name, labels = "", value] = SAMPLE.exec(line)!
      return {
        name: name!,
        labels: Object.fromEntries([...labels.matchAll(LABEL)].map(([, label, text]) => [label, text])),
        value: Number(value),
      }
    })

/** The sum of all samples of a name that have these labels. */
export const sum = (
  samples: ReadonlyArray<Sample>,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number =>
  samples
    .filter(
      (sample) =>
        sample.name === name &&
        Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
    )
    .reduce((total, { value }) => total + value, 0)

/** Whether Prometheus' own checker can be asked. */
export const hasPromtool: boolean = spawnSync("promtool", ["--version"]).status === 0

/** What the checker finds wrong with it; throws where it cannot be read at all. */
export const lint = (text: string): string =>
  execFileSync("promtool", ["check", "metrics"], { input: text }).toString()
