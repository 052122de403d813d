/**
 * Compositions that misbehave on purpose, loaded into real render threads as a module of their own.
 */
import { Schema } from "effect"
import { Composition } from "../../../src/domain/renders/Composition.ts"

/** On which `Hangs` says that it is about to. */
export const HANGING_CHANNEL = "renderowl-test-hanging"

const size = { defaultWidth: 64, defaultHeight: 64, defaultFps: 30 } as const
const Props = Schema.Struct({ frames: Schema.Int, at: Schema.Int })
type Props = typeof Props.Type

const faulty = (id: string, draw: (frame: number, props: Props) => void): Composition =>
  Composition.make({
    id,
    title: id,
    description: "Misbehaves on purpose.",
    props: Props,
    exampleProps: { frames: 10, at: 5 },
    ...size,
    durationInFrames: (props) => props.frames,
    posterTime: () => 0,
    draw: (ctx, { frame, height, width }, props) => {
      ctx.fillStyle = `hsl(${frame * 7} 80% 50%)`
      ctx.fillRect(0, 0, width, height)
      draw(frame, props)
    },
  })

/** Blocks its thread for some milliseconds without burning the processor. */
const block = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

export const compositions: ReadonlyArray<Composition> = [
  faulty("Throws", (frame, { at }) => {
    if (frame === at) throw new Error("the paint ran out")
  }),
  faulty("Dies", (frame, { at }) => {
    if (frame === at) process.exit(3)
  }),
  faulty("Crawls", () => block(15)),
  faulty("Hangs", (frame, { at }) => {
    if (frame !== at) return
    const port = new BroadcastChannel(HANGING_CHANNEL)
    port.postMessage("hanging")
    block(3_600_000)
  }),
  faulty("Plain", () => {}),
]
