"""Request bodies on their way to gate and Django: bounded in size, time and number, and received whole.

So a slow client holds no thread, and a chunked body gets the length without which WSGI cannot read it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from django.conf import settings

from config.error_pages import EXPLANATIONS, error_page, wants_page
from config.limits.uploads import MAX_UPLOAD_BYTES, UPLOAD_PATH, UPLOAD_PATIENCE, UPLOADS_AT_ONCE
from devices.ingestion.asgi import (
    Application,
    Headers,
    Receive,
    RequestState,
    Send,
    replay_body,
    request_state,
)
from devices.ingestion.decoding import MAX_BYTES

MEBI = 1024 * 1024
# This process's share of the bodies that all processes hold.
MAX_HELD_BYTES = settings.BODIES_MEBIBYTES * MEBI // settings.WEB_PROCESSES
# A refused client may go on sending for LINGER_SECONDS, so that it sees the answer.
LINGER_SECONDS = 10.0

TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
TOO_SLOW = HTTPStatus.REQUEST_TIMEOUT
BUSY = HTTPStatus.SERVICE_UNAVAILABLE


class Refusal(Exception):
    """The request is refused; `is_sending` says that the client has more to send."""

    def __init__(self, status: HTTPStatus, detail: str, *, is_sending: bool = True) -> None:
        super().__init__(detail)
        self.status = status
        self.is_sending = is_sending


@dataclass(slots=True, eq=False)
class Arrival:
    """A body that is being received, in pieces."""

    state: RequestState
    body: bytearray
    began: float
    deadline: asyncio.Timeout
    is_dropped: bool = False


class Bodies:
    """The ASGI application in front of `behind`, which gets whole bodies, or uploads piece by piece.

    Raises Refusal, before `behind` has got anything. Whoever calls this answers it with `refuse`, and in the
    end calls `release`. `headers` are sent with every answer; `problem` makes the body of a problem from
    status and detail.
    """

    def __init__(self, behind: Application, headers: Headers, problem: Callable[[int, str], bytes]) -> None:
        self.behind = behind
        self.headers = headers
        self.problem = problem
        self.held_bytes = 0
        self.arrivals: set[Arrival] = set()
        self.uploads = 0

    async def __call__(self, scope: dict, receive: Receive, send: Send) -> None:
        # WSGI turns hyphens into underscores: a client's X_Forwarded_Proto would pass for the proxy's header.
        scope = scope | {"headers": [header for header in scope["headers"] if b"_" not in header[0]]}
        length = declared_length(scope["headers"])
        most = MAX_UPLOAD_BYTES if scope["path"].rstrip("/") == UPLOAD_PATH else MAX_BYTES
        if length == 0 and request_state(scope).body is None:
            await self.behind(scope, receive, send)
        elif length is None or length <= MAX_BYTES:
            body = await self.read(scope, receive)
            if body is not None:
                scope = scope | {"headers": with_length(scope["headers"], len(body))}
                await self.behind(scope, replay_body(body, receive), send)
        elif length <= most:
            await self.pass_pieces(scope, receive, send)
        else:
            raise Refusal(TOO_LARGE, f"A body may have {most // MEBI} MiB.")

    # --- Whole bodies

    async def read(self, scope: dict, receive: Receive) -> bytes | None:
        """Receive the whole body; None if the client left. A second call returns the same. Raises Refusal.

        The body is held, and counts, until `release`.
        """
        state = request_state(scope)
        if state.body is None:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            if message["more_body"]:
                state.body = await self.gather(state, bytearray(message["body"]), receive)
            else:
                self.hold(state, len(message["body"]), is_sending=False)
                state.body = message["body"]
        return state.body

    async def gather(self, state: RequestState, body: bytearray, receive: Receive) -> bytes | None:
        """Receive the rest of a body that begins with these bytes."""
        arrival = None
        more = True
        try:
            async with asyncio.timeout(settings.BODY_SECONDS) as deadline:
                arrival = Arrival(state, body, asyncio.get_running_loop().time(), deadline)
                self.arrivals.add(arrival)
                self.hold(state, len(body))
                while more:
                    message = await receive()
                    if arrival.is_dropped:
                        raise TimeoutError
                    if message["type"] == "http.disconnect":
                        return None
                    piece, more = message["body"], message["more_body"]
                    body += piece
                    self.hold(state, len(piece), is_sending=more)
                return bytes(body)
        except TimeoutError:
            raise self.late(arrival) from None
        finally:
            # The traceback of a Refusal keeps this frame alive while it lingers.
            body.clear()
            self.arrivals.discard(arrival)

    def late(self, arrival: Arrival | None) -> Refusal:
        if arrival is not None and arrival.is_dropped:
            return Refusal(BUSY, "Too many bodies are under way, and this one was the slowest.")
        return Refusal(TOO_SLOW, f"A body must be there within {settings.BODY_SECONDS} s.")

    def hold(self, state: RequestState, size: int, *, is_sending: bool = True) -> None:
        """Count further bytes of a body; drop slower ones for them if need be. Raises Refusal."""
        state.held_bytes += size
        self.held_bytes += size
        if state.held_bytes > MAX_BYTES:
            raise Refusal(TOO_LARGE, f"A body may have {MAX_BYTES // MEBI} MiB.", is_sending=is_sending)
        while self.held_bytes > MAX_HELD_BYTES:
            slowest = self.slowest()
            if slowest is None or slowest.state is state:
                raise Refusal(BUSY, "Too many bodies are under way.", is_sending=is_sending)
            self.drop(slowest)

    def slowest(self) -> Arrival | None:
        """The body that has held the most bytes for the longest time."""
        now = asyncio.get_running_loop().time()
        return max(self.arrivals, key=lambda each: len(each.body) * (now - each.began), default=None)

    def drop(self, arrival: Arrival) -> None:
        self.arrivals.discard(arrival)
        arrival.is_dropped = True
        arrival.body.clear()
        self.release(arrival.state)
        if not arrival.deadline.expired():
            arrival.deadline.reschedule(0)

    def release(self, state: RequestState) -> None:
        """The request has been answered, or its body is given up."""
        self.held_bytes -= state.held_bytes
        state.held_bytes, state.body = 0, None

    # --- Uploads

    async def pass_pieces(self, scope: dict, receive: Receive, send: Send) -> None:
        if self.uploads == UPLOADS_AT_ONCE:
            raise Refusal(BUSY, "Too many uploads are under way.")
        self.uploads += 1
        try:
            await self.behind(scope, raising_if_broken(receive), send)
        finally:
            self.uploads -= 1

    # --- Refusals

    async def refuse(self, refusal: Refusal, scope: dict, receive: Receive, send: Send) -> None:
        """Send the answer, then read and drop the rest of the request, then close the connection.

        Closed at once, the connection would be reset by the rest of the request and the answer be lost.
        """
        self.release(request_state(scope))
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
    """Make a `receive` that raises if the client leaves or takes too long.

    To Django the file would look short but whole. The first piece is empty: Django may answer before there is
    another.
    """
    pieces = [{"type": "http.request", "body": b"", "more_body": True}]
    deadline = asyncio.get_running_loop().time() + UPLOAD_PATIENCE * settings.BODY_SECONDS

    async def piece() -> dict:
        if pieces:
            return pieces.pop()
        async with asyncio.timeout_at(deadline):
            message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("The client left before the end of its upload.")
        return message

    return piece
