/**
 * A composition: typed props and a function that draws any one frame from them.
 *
 * Drawing is a pure function of the frame number and the props, so frames can be drawn in any order, in any thread, and
 * again after a crash. `open` is the only way in: it validates untrusted props and hands back what can be drawn.
 */
import type { SKRSContext2D } from "@napi-rs/canvas"
import { Result, Schema } from "effect"
import { type FieldError, fieldErrors } from "../../http/FieldError.ts"

/** Longest video in frames: ten minutes at 60 frames a second. */
const FRAMES_MAX = 36_000

/** The frame to draw, and the video it belongs to. Sizes in pixels, times in seconds. */
export interface Frame {
  /** From 0 to `durationInFrames - 1`. */
  readonly frame: number
  readonly fps: number
  readonly width: number
  readonly height: number
  readonly durationInFrames: number
  readonly time: number
  readonly duration: number
}

/** A run of frames that are about to be drawn, so that only what they show is made ready. */
export interface Span extends Omit<Frame, "frame" | "time"> {
  readonly firstFrame: number
  readonly frames: number
}

/** What a composition's author writes; see `make`. */
interface Definition<Props, Encoded, Ready> {
  /** `PascalCase`; what requests name it by. */
  readonly id: string
  readonly title: string
  readonly description: string
  /** JSON in, props out; keys in snake_case. Fields that are not in it are refused. */
  readonly props: Schema.Codec<Props, Encoded>
  /** Props that render as they are, and look good doing so. */
  readonly exampleProps: Encoded
  readonly defaultWidth: number
  readonly defaultHeight: number
  readonly defaultFps: number
  readonly durationInFrames: (props: Props, fps: number) => number
  /** The moment, in seconds, that stands for the whole in a thumbnail. */
  readonly posterTime: (props: Props, duration: number) => number
  /** Work too slow for every frame, such as decoding images, done once for each span of frames. */
  readonly ready: (props: Props, span: Span) => Promise<Ready>
  /** Paints one frame over an opaque black canvas whose state is fresh. Must depend on its arguments only. */
  readonly draw: (ctx: SKRSContext2D, frame: Frame, props: Props, ready: Ready) => void
}

/** Draws frames of one span. */
export type Painter = (ctx: SKRSContext2D, frame: Frame) => void

/** A composition with valid props. */
export interface OpenComposition {
  /** Whole frames, 1 to `FRAMES_MAX`. */
  readonly durationInFrames: (fps: number) => number
  /** The frame to show in a thumbnail. */
  readonly posterFrame: (fps: number) => number
  /** Rejects when the props' media cannot be decoded. */
  readonly painter: (span: Span) => Promise<Painter>
}

/** A registered composition, its props' type closed over. */
export interface Composition extends Pick<
  Definition<unknown, unknown, unknown>,
  "id" | "title" | "description" | "exampleProps" | "defaultWidth" | "defaultHeight" | "defaultFps"
> {
  /** JSON Schema (draft 2020-12) of the props. */
  readonly propsSchema: Record<string, unknown>
  /** Validates props. Answers every fault at once, under `input_props`. */
  readonly open: (input: unknown) => Result.Result<OpenComposition, ReadonlyArray<FieldError>>
}

const jsonSchemaOf = (schema: Schema.Constraint): Record<string, unknown> => {
  const document = Schema.toJsonSchemaDocument(schema, { onExcessProperty: "error" })
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    ...document.schema,
    ...(Object.keys(document.definitions).length > 0 ? { $defs: document.definitions } : {}),
  }
}

/** Defines a composition. `ready` may be left out when every frame can be drawn from the props alone. */
function make<Props, Encoded, Ready>(definition: Definition<Props, Encoded, Ready>): Composition
function make<Props, Encoded>(definition: Omit<Definition<Props, Encoded, undefined>, "ready">): Composition
function make<Props, Encoded, Ready>(
  definition: Omit<Definition<Props, Encoded, Ready | undefined>, "ready"> &
    Partial<Pick<Definition<Props, Encoded, Ready>, "ready">>,
): Composition {
  const decode = Schema.decodeUnknownResult(definition.props, { errors: "all", onExcessProperty: "error" })

  const openWith = (props: Props): OpenComposition => {
    const durationInFrames = (fps: number) =>
      Math.min(FRAMES_MAX, Math.max(1, Math.round(definition.durationInFrames(props, fps))))
    return {
      durationInFrames,
      posterFrame: (fps) => {
        const frames = durationInFrames(fps)
        return Math.min(frames - 1, Math.max(0, Math.round(definition.posterTime(props, frames / fps) * fps)))
      },
      painter: async (span) => {
        const prepared = await definition.ready?.(props, span)
        return (ctx, frame) => definition.draw(ctx, frame, props, prepared)
      },
    }
  }

  return {
    id: definition.id,
    title: definition.title,
    description: definition.description,
    exampleProps: definition.exampleProps,
    defaultWidth: definition.defaultWidth,
    defaultHeight: definition.defaultHeight,
    defaultFps: definition.defaultFps,
    propsSchema: jsonSchemaOf(definition.props),
    open: (input) =>
      Result.mapBoth(decode(input), {
        onSuccess: openWith,
        onFailure: (error) => fieldErrors(error.issue, ["input_props"]),
      }),
  }
}

export const Composition = { make }
