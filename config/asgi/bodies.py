"""Request bodies on their way to Django: bounded, counted as they come, complete before a thread is taken.

A slow client so holds no thread, and a body that came in chunks gets a length: WSGI knows no other.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from config.views import PAGES, error_page
from devices.ingestion.asgi import Application, Headers, Receive, Send, replay_body
from devices.ingestion.decoding import MAX_BYTES

MEBI = 1024 * 1024
# Staff's imports: a file that Django takes in as it comes.
UPLOAD_PATH = "/portal/import"
MAX_UPLOAD_BYTES = 200 * MEBI
# Each of them holds a thread while it comes.
UPLOADS_AT_ONCE = 2
# Of all bodies that one process holds at a moment.
MAX_HELD_BYTES = 64 * MEBI
# How long a refused client may go on sending, so as to see the answer.
LINGER_SECONDS = 10.0

TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
BUSY = HTTPStatus.SERVICE_UNAVAILABLE


class Refusal(Exception):
    """Answer with this at once; `is_sending`: the client has more to send."""

    def __init__(self, status: HTTPStatus, detail: str, *, is_sending: bool = True) -> None:
        super().__init__(detail)
        self.status = status
        self.is_sending = is_sending


class Bodies:
    """The ASGI application in front of `behind`, which gets whole bodies, or uploads as they come.

    `headers` stand on every answer; `problem` makes the body of a problem from status and detail.
    """

    def __init__(self, behind: Application, headers: Headers, problem: Callable[[int, str], bytes]) -> None:
        self.behind = behind
        self.headers = headers
        self.problem = problem
        self.held_bytes = 0
        self.uploads = 0

    async def __call__(self, scope: dict, receive: Receive, send: Send) -> None:
        try:
            await self.passed_on(scope, receive, send)
        except Refusal as refusal:
            await self.refuse(refusal, scope["path"], receive, send)

    async def passed_on(self, scope: dict, receive: Receive, send: Send) -> None:
        """Raises Refusal, before anything was passed on."""
        # WSGI writes a hyphen as an underscore: X_Forwarded_Proto would pass for the proxy's own word.
        scope = scope | {"headers": [header for header in scope["headers"] if b"_" not in header[0]]}
        length = declared_length(scope["headers"])
        most = MAX_UPLOAD_BYTES if scope["path"].rstrip("/") == UPLOAD_PATH else MAX_BYTES
        if length == 0:
            await self.behind(scope, receive, send)
        elif length is None or length <= MAX_BYTES:
            await self.held(scope, receive, send)
        elif length <= most:
            await self.streamed(scope, receive, send)
        else:
            raise Refusal(TOO_LARGE, f"A body may have {most // MEBI} MiB.")

    async def held(self, scope: dict, receive: Receive, send: Send) -> None:
        body = bytearray()
        try:
            if await self.fill(body, receive):
                scope = scope | {"headers": with_length(scope["headers"], len(body))}
                await self.behind(scope, replay_body(bytes(body), receive), send)
        finally:
            self.held_bytes -= len(body)
            # A refusal keeps this frame alive as long as it lingers.
            body.clear()

    async def fill(self, body: bytearray, receive: Receive) -> bool:
        """Read the whole body; False if the client left. Raises Refusal."""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            piece, more = message["body"], message["more_body"]
            body += piece
            self.held_bytes += len(piece)
            if len(body) > MAX_BYTES:
                raise Refusal(TOO_LARGE, f"A body may have {MAX_BYTES // MEBI} MiB.", is_sending=more)
            if self.held_bytes > MAX_HELD_BYTES:
                raise Refusal(BUSY, "Too many bodies are under way.", is_sending=more)
        return True

    async def streamed(self, scope: dict, receive: Receive, send: Send) -> None:
        if self.uploads == UPLOADS_AT_ONCE:
            raise Refusal(BUSY, "Too many uploads are under way.")
        self.uploads += 1
        try:
            await self.behind(scope, unbroken(receive), send)
        finally:
            self.uploads -= 1

    async def refuse(self, refusal: Refusal, path: str, receive: Receive, send: Send) -> None:
        """The whole answer first; then what still comes is read and dropped, and the connection closed.

        Closed at once, it would be reset by what still comes, and the answer lost with it.
        """
        if path.startswith(PAGES):
            kind, body = b"text/html; charset=utf-8", error_page(refusal.status.phrase, str(refusal)).encode()
        else:
            kind, body = b"application/problem+json", self.problem(refusal.status, str(refusal))
        headers = [
            *self.headers,
            (b"content-type", kind),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        if refusal.status == BUSY:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        is_sending = refusal.is_sending
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while is_sending:
                    is_sending = (await receive()).get("more_body", False)
        await send({"type": "http.response.body", "body": b""})


def declared_length(headers: Headers) -> int | None:
    """The body's length; 0 where there is none, None where it comes in chunks. The server has checked it."""
    fields = dict(headers)
    if b"transfer-encoding" in fields:
        return None
    return int(fields.get(b"content-length", b"0"))


def with_length(headers: Headers, length: int) -> Headers:
    framing = (b"transfer-encoding", b"content-length")
    kept = [(name, value) for name, value in headers if name not in framing]
    return [*kept, (b"content-length", b"%d" % length)]


def unbroken(receive: Receive) -> Receive:
    """To Django an end would look like a short but whole file: a client that leaves is an error."""

    async def piece() -> dict:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("The client left before the end of its upload.")
        return message

    return piece
