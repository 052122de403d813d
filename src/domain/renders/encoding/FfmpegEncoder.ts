/**
 * H.264 by an ffmpeg child process: raw frames go into its standard input, never faster than it takes them.
 *
 * If this process dies, the pipe closes and ffmpeg ends by itself; what it leaves has a temporary name.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { DiskFull, EncoderFailed, EncoderUnavailable, type RenderErrorReason } from "../RenderError.ts"
import { x264Crf } from "./Quality.ts"
import type { EncoderTarget, SegmentEncoder } from "./SegmentEncoder.ts"

/** What is kept of ffmpeg's messages, in characters. */
const MESSAGE_MAX = 2_000

/** No B-frames and a fixed group of pictures, so that segments join by copying packets; BT.709, limited range, said in
 * the stream, so that players agree about the colours. */
const argumentsFor = ({ path, plan }: EncoderTarget): ReadonlyArray<string> =>
  [
    ["-hide_banner", "-loglevel", "error", "-y"],
    [
      "-f",
      "rawvideo",
      "-pix_fmt",
      "rgba",
      "-s",
      `${plan.width}x${plan.height}`,
      "-r",
      `${plan.fps}`,
      "-i",
      "pipe:0",
    ],
    ["-an", "-vf", "scale=in_range=pc:out_range=tv:out_color_matrix=bt709:flags=bicubic+accurate_rnd"],
    ["-c:v", "libx264", "-preset", "veryfast", "-crf", `${x264Crf(plan.quality)}`, "-pix_fmt", "yuv420p"],
    ["-bf", "0", "-g", `${plan.frames_per_segment}`, "-sc_threshold", "0"],
    ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"],
    ["-map_metadata", "-1", "-f", "mp4", path],
  ].flat()

const reasonFor = (message: string, path: string): RenderErrorReason =>
  /no space left|disk quota/iu.test(message)
    ? new DiskFull({ path })
    : new EncoderFailed({
        encoder: "ffmpeg",
        detail: message.trim() === "" ? "it ended early" : message.trim(),
      })

/** Starts ffmpeg for one segment. Rejects with a `RenderErrorReason`. */
export const openFfmpeg = async (target: EncoderTarget): Promise<SegmentEncoder> => {
  if (target.ffmpeg === undefined) throw new EncoderUnavailable({ encoder: "ffmpeg" })
  const child = spawn(target.ffmpeg, argumentsFor(target), { stdio: ["pipe", "ignore", "pipe"] })
  let message = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    message = (message + text).slice(-MESSAGE_MAX)
  })
  // A broken pipe is reported by the exit that caused it.
  child.stdin.on("error", () => {})

  const ended = new Promise<number | null>((resolve) => {
    child.once("error", (error) => {
      message = error.message
      resolve(null)
    })
    child.once("close", (code) => resolve(code))
  })
  const died = ended.then(() => Promise.reject(reasonFor(message, target.path)))
  died.catch(() => {})

  return {
    write: async (canvas) => {
      if (!child.stdin.write(canvas.pixels())) {
        await Promise.race([once(child.stdin, "drain", { signal: target.signal }), died])
      }
    },
    finish: async () => {
      child.stdin.end()
      const stop = () => child.kill("SIGKILL")
      target.signal.addEventListener("abort", stop, { once: true })
      const code = await ended
      target.signal.removeEventListener("abort", stop)
      if (code !== 0) throw reasonFor(message, target.path)
    },
    abort: async () => {
      child.kill("SIGKILL")
      await ended
    },
  }
}
