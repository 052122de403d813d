/**
 * Which media type a caller wants, from its Accept header (RFC 9110 §12.5.1): ranges, quality values, and the more specific
 * range winning. A missing or unreadable header accepts everything.
 */

/** A parsed media range. */
interface MediaRange {
  readonly type: string
  readonly subtype: string
  readonly quality: number
}

/** Ranges that one header is read for: more is not a preference but an attack. */
const RANGES_MAX = 32

/**
 * The best of the available types, first of equals; `undefined` when the header excludes them all. Types are lower-case
 * and without parameters.
 */
export const preferred = (
  accept: string | undefined,
  available: ReadonlyArray<string>,
): string | undefined => {
  if (accept === undefined || accept === "*/*" || accept === "") return available[0]
  const ranges = parse(accept)
  if (ranges.length === 0) return available[0]
  let best: { readonly type: string; readonly quality: number } | undefined
  for (const type of available) {
    const quality = qualityOf(type, ranges)
    if (quality > 0 && (best === undefined || quality > best.quality)) best = { type, quality }
  }
  return best?.type
}

/** Whether a caller of a route that answers with JSON or live asked for the live stream. */
export const wantsEventStream = (headers: Readonly<Record<string, string | undefined>>): boolean =>
  preferred(headers["accept"], ["application/json", "text/event-stream"]) === "text/event-stream"

const parse = (accept: string): ReadonlyArray<MediaRange> => {
  const ranges: Array<MediaRange> = []
  for (const part of accept.toLowerCase().split(",", RANGES_MAX)) {
    const [range = "", ...parameters] = part.split(";")
    const [type = "", subtype = ""] = range.trim().split("/")
    if (type === "" || subtype === "") continue
    const q = parameters.map((each) => each.trim()).find((each) => each.startsWith("q="))
    const quality = q === undefined ? 1 : Number(q.slice(2))
    ranges.push({ type, subtype, quality: Number.isFinite(quality) ? Math.min(Math.max(quality, 0), 1) : 1 })
  }
  return ranges
}

/** The quality of a type is that of the most specific range which covers it. */
const qualityOf = (mediaType: string, ranges: ReadonlyArray<MediaRange>): number => {
  const [type, subtype] = mediaType.split("/")
  let quality = 0
  let specificity = 0
  for (const range of ranges) {
    const specific =
      range.type === type
        ? range.subtype === subtype
          ? 3
          : range.subtype === "*"
            ? 2
            : 0
        : range.type === "*"
          ? 1
          : 0
    if (specific > specificity) {
      specificity = specific
      quality = range.quality
    }
  }
  return quality
}
