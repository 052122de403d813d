/**
 * Joins finished segments into the output file by copying what is encoded in them; nothing is decoded or encoded again.
 *
 * Segments are read one after another and written as they are read, so memory does not grow with the video. Each is
 * checked on the way: right number of frames, an independent first frame, the same decoder parameters as the others.
 */
import {
  EncodedPacketSink,
  EncodedVideoPacketSource,
  FilePathSource,
  FilePathTarget,
  Input,
  MP4,
  Mp4OutputFormat,
  Output,
} from "mediabunny"
import { copyFile, open, readFile } from "node:fs/promises"
import { isFileError, SegmentUnusable } from "../RenderError.ts"
import type { RenderPlan, Segment } from "../RenderPlan.ts"
import { countGifImages, GIF_TRAILER, gifHeader, gifImages } from "./GifBlocks.ts"

/** What to join. */
export interface JoinTask {
  readonly plan: RenderPlan
  readonly segments: ReadonlyArray<Segment & { readonly path: string }>
  /** Where to write. */
  readonly path: string
  readonly signal: AbortSignal
}

const unusable = (segment: Segment, detail: string): SegmentUnusable =>
  new SegmentUnusable({ index: segment.index, detail })

/** Names the segment in an error that a reader threw about its bytes; other errors stay what they are. */
const damage = (segment: Segment, error: unknown, signal: AbortSignal): unknown =>
  signal.aborted || isFileError(error) || error instanceof SegmentUnusable
    ? error
    : unusable(segment, error instanceof Error ? error.message : String(error))

/** Both encoders are fed BT.709 in limited range; the WASM one cannot say so in its stream, the file can. */
const COLOR_SPACE = { primaries: "bt709", transfer: "bt709", matrix: "bt709", fullRange: false } as const

/** Written at a time. The default of 16 MB for each render had V8 mark the whole heap every few renders (measured). */
const WRITE_BYTES = 256 * 1024

const sameBytes = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0

const bytesOf = (source: ArrayBufferLike | ArrayBufferView | undefined): Uint8Array =>
  source === undefined
    ? new Uint8Array()
    : ArrayBuffer.isView(source)
      ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
      : new Uint8Array(source)

const joinMp4 = async ({ path, plan, segments, signal }: JoinTask): Promise<void> => {
  const source = new EncodedVideoPacketSource("avc")
  // The index goes to the front, into space reserved for it: playback starts before the whole file is there.
  const output = new Output({
    format: new Mp4OutputFormat({ fastStart: "reserve" }),
    target: new FilePathTarget(path, { chunkSize: WRITE_BYTES }),
  })
  output.addVideoTrack(source, { frameRate: plan.fps, maximumPacketCount: plan.total_frames })
  let parameters: Uint8Array | undefined
  let written = 0

  const append = async (segment: JoinTask["segments"][number]): Promise<void> => {
    using input = new Input({ formats: [MP4], source: new FilePathSource(segment.path) })
    const track = await input.getPrimaryVideoTrack()
    const config = await track?.getDecoderConfig()
    if (track === null || config === null || config === undefined) throw unusable(segment, "it has no video")
    const [width, height] = [await track.getDisplayWidth(), await track.getDisplayHeight()]
    if (width !== plan.width || height !== plan.height) throw unusable(segment, `it is ${width}×${height}`)
    const description = bytesOf(config.description)
    parameters ??= description
    if (!sameBytes(parameters, description))
      throw unusable(segment, "it was encoded differently from the first")
    const end = written + segment.frames
    const packets = new EncodedPacketSink(track).packets(undefined, undefined, { verifyKeyPackets: true })
    for await (const packet of packets) {
      signal.throwIfAborted()
      if (written === end - segment.frames && packet.type !== "key")
        throw unusable(segment, "its first frame is not a key frame")
      if (written >= end) throw unusable(segment, `it has more than ${segment.frames} frames`)
      await source.add(packet.clone({ timestamp: written / plan.fps, duration: 1 / plan.fps }), {
        decoderConfig: { ...config, colorSpace: COLOR_SPACE },
      })
      written += 1
    }
    if (written !== end)
      throw unusable(segment, `it has ${written - end + segment.frames} of ${segment.frames} frames`)
  }

  try {
    await output.start()
    for (const segment of segments) {
      await append(segment).catch((error: unknown) => Promise.reject(damage(segment, error, signal)))
    }
    await output.finalize()
  } catch (error) {
    // What could not be written cannot be closed either, and says less of why.
    await output.cancel().catch(() => {})
    throw error
  }
}

const joinGif = async ({ path, segments, signal }: JoinTask): Promise<void> => {
  await using file = await open(path, "w")
  const append = async (segment: JoinTask["segments"][number], isFirst: boolean): Promise<void> => {
    const bytes = await readFile(segment.path)
    const images = countGifImages(bytes)
    if (images !== segment.frames) throw unusable(segment, `it has ${images} of ${segment.frames} frames`)
    if (isFirst) await file.write(gifHeader(bytes))
    await file.write(gifImages(bytes))
  }
  for (const [index, segment] of segments.entries()) {
    signal.throwIfAborted()
    await append(segment, index === 0).catch((error: unknown) =>
      Promise.reject(damage(segment, error, signal)),
    )
  }
  await file.write(GIF_TRAILER)
}

/** Writes the output file. Rejects with `SegmentUnusable` for a segment that does not fit, or as the file system does. */
export const joinSegments = async (task: JoinTask): Promise<void> => {
  switch (task.plan.format) {
    case "mp4":
      return joinMp4(task)
    case "gif":
      return joinGif(task)
    default: {
      const [only] = task.segments
      if (only !== undefined) await copyFile(only.path, task.path)
    }
  }
}
