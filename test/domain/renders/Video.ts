/**
 * Reads finished files back with independent readers, for the tests of the engine.
 */
import { spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { EncodedPacketSink, FilePathSource, Input, MP4 } from "mediabunny"

/** What a demuxer finds in an MP4. Times in seconds. */
export const readMp4 = async (path: string) => {
  using input = new Input({ formats: [MP4], source: new FilePathSource(path) })
  const track = await input.getPrimaryVideoTrack()
  if (track === null) throw new Error(`${path} has no video`)
  const timestamps: Array<number> = []
  const keyFrames: Array<number> = []
  const options = { verifyKeyPackets: true }
  for await (const packet of new EncodedPacketSink(track).packets(undefined, undefined, options)) {
    if (packet.type === "key") keyFrames.push(timestamps.length)
    timestamps.push(packet.timestamp)
  }
  return {
    codec: await track.getCodec(),
    width: await track.getDisplayWidth(),
    height: await track.getDisplayHeight(),
    duration: await track.computeDuration(),
    colors: await track.getColorSpace(),
    timestamps,
    keyFrames,
  }
}

const FFMPEG: string = "ffmpeg"

/** Whether an ffmpeg is on this machine. */
export const hasFfmpeg = spawnSync(FFMPEG, ["-version"]).status === 0

/** Decodes a whole file with ffmpeg and answers the frames it got, as reduced grey pictures of `side` × `side` pixels.
 * Throws when ffmpeg has anything to complain about. */
export const decodeWithFfmpeg = (path: string, side: number): ReadonlyArray<Buffer> => {
  const scale = `scale=${side}:${side},format=gray`
  const { status, stderr, stdout } = spawnSync(
    FFMPEG,
    ["-v", "warning", "-xerror", "-i", path, "-vf", scale, "-f", "rawvideo", "-"],
    { maxBuffer: 256 * 1024 * 1024 },
  )
  if (status !== 0 || stderr.length > 0) throw new Error(`ffmpeg: ${stderr.toString()}`)
  return Array.from({ length: stdout.length / side ** 2 }, (_, index) =>
    stdout.subarray(index * side ** 2, (index + 1) * side ** 2),
  )
}

/** Running ffmpeg processes that this process started; 0 where there is no /proc to tell. */
export const ffmpegChildren = (): number => {
  const processes = existsSync("/proc") ? readdirSync("/proc").filter((name) => /^\d+$/u.test(name)) : []
  return processes.filter((pid) => {
    try {
      const [, name, state, parent] =
        /\((.*)\) (\S) (\d+)/u.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? []
      return name === "ffmpeg" && state !== "Z" && Number(parent) === process.pid
    } catch {
      return false
    }
  }).length
}
