/**
 * Names of files as input: one name and never a path, that means the same on every system. They come out in Unicode's
 * composed form (NFC), so that one name is one name. For showing and for `Content-Disposition`; what is stored on disk is
 * named by ids.
 */
import { Schema, SchemaTransformation } from "effect"

/** What a name may take on ext4, APFS and NTFS alike, in UTF-8. */
const NAME_BYTES_MAX = 255

/** Control characters (C0, DEL, C1), line and paragraph separators, and what turns the direction of writing around. */
// oxlint-disable-next-line no-control-regex
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/
/** Windows takes none of these, and `:` names a stream of a file there. */
const PUNCTUATION = /[/\\<>:"|?*]/
/** Devices of Windows, with any extension. */
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(?:\.|$)/i

const check = (name: string): string | true => {
  if (name === "") return "must not be empty"
  if (!name.isWellFormed()) return "must be well-formed Unicode"
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) return `must have at most ${NAME_BYTES_MAX} bytes in UTF-8`
  if (INVISIBLE.test(name)) return "must not have control characters"
  if (name === "." || name === "..") return "must not be the name of a folder"
  if (PUNCTUATION.test(name)) return 'must not have any of / \\ < > : " | ? *'
  if (/^\s|[\s.]$/u.test(name)) return "must not begin with a space, or end with a space or a dot"
  return !DEVICE.test(name) || "must not be the name of a device"
}

export const FileName: Schema.Codec<string> = Schema.String.pipe(
  Schema.decode(
    SchemaTransformation.transform({
      decode: (text: string) => text.normalize("NFC"),
      encode: (name: string) => name,
    }),
  ),
  Schema.check(Schema.makeFilter(check)),
)
