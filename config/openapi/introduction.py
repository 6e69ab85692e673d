"""The text of the OpenAPI document that stands before its operations."""

INTRODUCTION = """Stores every reading of a fleet of devices and computes exact statistics over them.

**Credentials.** Programs send `Authorization: Token …`, devices `Authorization: Device …`; the schemes say
how to get them and what they allow. An open demo needs none.

**Errors** are problem details (RFC 9457, `application/problem+json`): `title`, `status`, `detail`, for bad
input `errors` with a field or an index each, and `request_id`. Unknown query parameters and fields are 400.

**Request ids.** Every answer has `X-Request-ID`: the request's own if that is 1 to 64 letters, digits and
`._:-`, else a new one. Name it when you report an error: the portal's log has it, too.

**Lists** are plain arrays, a page at a time; `Link` names the next page.

**Times** are ISO 8601, in answers always UTC. Timestamps of readings may also be numbers: seconds since 1970,
or milliseconds, microseconds or nanoseconds with `precision`.

**Whole numbers** are written without a point: 1.0 is refused where an integer is asked for. Texts have no
NUL character.

**Compression.** Answers of 1 KB and more are compressed with zstd or gzip if `Accept-Encoding` allows it.
Posts of readings may be compressed, and say so in `Content-Encoding`."""
