/**
 * The sizes and times beyond which a request is refused. They hold for every route; one that takes more (an upload)
 * declares a limit of its own on its streaming payload.
 */

/** Bytes of a request body, 10 MB. Longer answers 413. */
export const BODY_BYTES_MAX = 10_000_000
/** Characters of path and query. Longer answers 414. */
export const URL_CHARACTERS_MAX = 2048
/** Bytes of request line and headers together, 8 KiB. More answers 431; Node enforces it while parsing. */
export const HEADER_BYTES_MAX = 8192
/** Milliseconds to receive the headers; a slower sender holds a connection for nothing. */
export const HEADERS_TIMEOUT_MS = 15_000
/** Milliseconds to receive headers and body. 10 MB within it is 83 kB/s. */
export const REQUEST_TIMEOUT_MS = 120_000
/** Milliseconds an idle connection is kept. Longer than the 60 s of usual load balancers, so that they close first. */
export const KEEP_ALIVE_TIMEOUT_MS = 65_000
/** Milliseconds between the checks that enforce the two request timeouts. */
export const TIMEOUT_CHECK_INTERVAL_MS = 5_000
