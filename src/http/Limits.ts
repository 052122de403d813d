/**
 * The sizes and times beyond which a request is refused. They hold for every route; one that takes more (an upload)
 * declares a limit of its own on its streaming payload.
 */

/** Bytes of a request body, 10 MB. Longer answers 413. */
export const BODY_BYTES_MAX = 10_000_000
/** Values in the arrays and objects of one JSON body: 0.12 s of parsing at worst (measured). */
export const JSON_VALUES_MAX = 200_000
/** Bytes of a body up to which nobody counts its values. */
export const JSON_UNCOUNTED_BYTES = 65_536
/**
 * Bytes of an answer that is made in memory, 64 MB: a job whose input and result both have the size of a body, escaped
 * throughout, still fits. Streams and files are sent at the pace of their readers and have no limit.
 */
export const RESPONSE_BYTES_MAX = 64_000_000
/** Bytes from which an answer is compressed: below, it fits a packet or two in any case. */
export const COMPRESSION_BYTES_MIN = 1_024
/** Requests worked on at a time. Beyond, 503. */
export const REQUESTS_MAX = 1_000
/** Answers being streamed at a time: live events and downloads. Beyond, 503. */
export const STREAMS_MAX = 1_000
/** Open connections, idle ones as well. Beyond, they are closed at once. */
export const CONNECTIONS_MAX = 10_000
/** Seconds after which to come back when there are too many requests or streams. */
export const OVERLOAD_PAUSE_SECONDS = 2
/** Characters of path and query. Longer answers 414. */
export const URL_CHARACTERS_MAX = 2048
/** Bytes of request line and headers together, 8 KiB. More answers 431; Node enforces it while parsing. */
export const HEADER_BYTES_MAX = 8192
/** Milliseconds to receive the headers; a slower sender holds a connection for nothing. */
export const HEADERS_TIMEOUT_MS = 15_000
/** Milliseconds to receive headers and body. 10 MB within it is 83 kB/s. */
export const REQUEST_TIMEOUT_MS = 120_000
/**
 * Milliseconds in which nothing at all goes over a connection with a request on it: a reader that does not read is cut off.
 * Longer than any answer keeps silent: `Prefer: wait` is cut at 60 s, live streams send a comment each 15.
 */
export const SILENCE_TIMEOUT_MS = 120_000
/** Milliseconds an idle connection is kept. Longer than the 60 s of usual load balancers, so that they close first. */
export const KEEP_ALIVE_TIMEOUT_MS = 65_000
/** Milliseconds between the checks that enforce the two request timeouts. */
export const TIMEOUT_CHECK_INTERVAL_MS = 5_000
