"""Request bodies on their way to Django: bounded, and received whole before they take a thread.

So a slow client holds no thread, and a chunked body gets the length without which WSGI cannot read it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from django.conf import settings

from config.error_pages import EXPLANATIONS, error_page, wants_page
from devices.ingestion.asgi import Application, Headers, Receive, Send, replay_body
from devices.ingestion.decoding import MAX_BYTES

MEBI = 1024 * 1024
# Imports by staff: Django reads these files while they are received.
UPLOAD_PATH = "/portal/import"
# The file, and what the form has around it.
MAX_UPLOAD_BYTES = settings.IMPORT_MEBIBYTES * MEBI + 64 * 1024
# Each upload holds a thread until it is received.
UPLOADS_AT_ONCE = 2
# The limit of all bodies in one process together.
MAX_HELD_BYTES = 64 * MEBI
# A refused client may go on sending for LINGER_SECONDS, so that it sees the answer.
LINGER_SECONDS = 10.0

TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
BUSY = HTTPStatus.SERVICE_UNAVAILABLE


class Refusal(Exception):
    """The request is refused; `is_sending` says that the client has more to send."""

    def __init__(self, status: HTTPStatus, detail: str, *, is_sending: bool = True) -> None:
        super().__init__(detail)
        self.status = status
        self.is_sending = is_sending


class Bodies:
    """The ASGI application in front of `behind`, which gets whole bodies, or uploads piece by piece.

    `headers` are sent with every answer; `problem` makes the body of a problem from status and detail.
    """

    def __init__(self, behind: Application, headers: Headers, problem: Callable[[int, str], bytes]) -> None:
        self.behind = behind
        self.headers = headers
        self.problem = problem
        self.held_bytes = 0
        self.uploads = 0

    async def __call__(self, scope: dict, receive: Receive, send: Send) -> None:
        try:
            await self.pass_on(scope, receive, send)
        except Refusal as refusal:
            await self.refuse(refusal, scope, receive, send)

    async def pass_on(self, scope: dict, receive: Receive, send: Send) -> None:
        """Raises Refusal before `behind` has got anything."""
        # WSGI turns hyphens into underscores: a client's X_Forwarded_Proto would pass for the proxy's header.
        scope = scope | {"headers": [header for header in scope["headers"] if b"_" not in header[0]]}
        length = declared_length(scope["headers"])
        most = MAX_UPLOAD_BYTES if scope["path"].rstrip("/") == UPLOAD_PATH else MAX_BYTES
        if length == 0:
            await self.behind(scope, receive, send)
        elif length is None or length <= MAX_BYTES:
            await self.pass_whole(scope, receive, send)
        elif length <= most:
            await self.pass_pieces(scope, receive, send)
        else:
            raise Refusal(TOO_LARGE, f"A body may have {most // MEBI} MiB.")

    async def pass_whole(self, scope: dict, receive: Receive, send: Send) -> None:
        body = bytearray()
        try:
            if await self.fill(body, receive):
                scope = scope | {"headers": with_length(scope["headers"], len(body))}
                await self.behind(scope, replay_body(bytes(body), receive), send)
        finally:
            self.held_bytes -= len(body)
            # The traceback of a Refusal keeps this frame alive while it lingers.
            body.clear()

    async def fill(self, body: bytearray, receive: Receive) -> bool:
        """Receive the whole body; False if the client left. Raises Refusal."""
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

    async def pass_pieces(self, scope: dict, receive: Receive, send: Send) -> None:
        if self.uploads == UPLOADS_AT_ONCE:
            raise Refusal(BUSY, "Too many uploads are under way.")
        self.uploads += 1
        try:
            await self.behind(scope, raising_if_broken(receive), send)
        finally:
            self.uploads -= 1

    async def refuse(self, refusal: Refusal, scope: dict, receive: Receive, send: Send) -> None:
        """Send the answer, then read and drop the rest of the request, then close the connection.

        Closed at once, the connection would be reset by the rest of the request and the answer be lost.
        """
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if wants_page(scope["path"], fields):
            page = error_page(EXPLANATIONS[refusal.status], str(refusal))
            kind, body = b"text/html; charset=utf-8", page.encode()
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
    """Return the body's length, which the server has checked; 0 without a body, None if it is chunked."""
    fields = dict(headers)
    if b"transfer-encoding" in fields:
        return None
    return int(fields.get(b"content-length", b"0"))


def with_length(headers: Headers, length: int) -> Headers:
    framing = (b"transfer-encoding", b"content-length")
    others = [(name, value) for name, value in headers if name not in framing]
    return [*others, (b"content-length", b"%d" % length)]


def raising_if_broken(receive: Receive) -> Receive:
    """Make a `receive` that raises if the client leaves: to Django the file would look short but whole."""

    async def piece() -> dict:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("The client left before the end of its upload.")
        return message

    return piece
