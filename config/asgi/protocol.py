"""HTTP as uvicorn speaks it, but not with clients that fall silent; known heads are not parsed again."""

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

PATIENCE_SECONDS = 20.0
# Of the request line and the headers, before anybody has said who he is.
MAX_HEAD_BYTES = 256 * 1024
END_OF_HEAD = b"\r\n\r\n"
# An offer of another protocol, as Java's client makes: to be ignored, and uvicorn would lose the body.
UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class PatientProtocol(HttpToolsProtocol):
    """Closes a connection on which the client's next bytes are due and don't come.

    uvicorn itself closes only those that are idle after an answer: one whose client vanished before or within
    a request would stay for ever. One timer for a connection, nothing for a request.

    A request with a head that the gate has accepted before goes to the gate at once: no parser, no task.
    While it is under way uvicorn sees nothing of the connection.
    """

    patience_seconds = PATIENCE_SECONDS
    # The server process's `devices.ingestion.gate.Gate`; this module is loaded before Django.
    gate: Any = None
    in_head = in_message = is_stopping = False
    # The head of the message that a piece of data began with, and how much came behind it: for the gate.
    piece = b"", 0
    # A known head whose body still comes; the request that the gate is at; what came before its answer.
    begun = known = held = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.heard_at = self.loop.time()
        self.watch = self.loop.call_later(self.patience_seconds, self.look)

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        if self.known:
            self.held += data
            self.flow.pause_reading()
            return
        data, self.begun = self.begun + data, b""
        self.piece = b"", 0
        if self.is_between_messages and self.gate is not None:
            head, end, body = data.partition(END_OF_HEAD)
            known = self.gate.heads.get(head) if end else None
            if known is not None and len(body) < known.length:
                self.begun = data
                return
            if known is not None and len(body) == known.length and self.gate.take_known(known, body, self):
                self.known = data
                self._unset_keepalive_if_required()
                return
            self.piece = (head, len(body)) if end else (b"", 0)
            if end and UPGRADE.search(head):
                data = UPGRADE.sub(b"", head) + end + body
        self.parse(data)

    def parse(self, data: bytes) -> None:
        super().data_received(data)
        if self.in_head:
            self.head_bytes += len(data)
            if self.head_bytes > MAX_HEAD_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        self.in_head = self.in_message = True
        self.head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.in_head = False
        self.scope["state"]["piece"], self.piece = self.piece, (b"", 0)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.in_message = False
        super().on_message_complete()

    @property
    def is_between_messages(self) -> bool:
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered and not self.in_message and not self.flow.write_paused and not self.is_stopping

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        """The gate's answer to a known request."""
        self.known = b""
        if self.transport.is_closing():
            return
        own = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
        end = b"connection: close\r\n" if self.is_stopping else b""
        length = b"content-length: %d\r\n\r\n" % len(body)
        self.transport.write(b"".join((STATUS_LINE[status], own, lines, end, length, body)))
        if self.is_stopping:
            self.transport.close()
        elif self.held:
            self.go_on()

    def start_over(self) -> None:
        """The gate leaves a known request to uvicorn after all."""
        data, self.known = self.known, b""
        if not self.transport.is_closing():
            self.parse(data)
            self.go_on()
            if self.is_stopping:
                super().shutdown()

    def go_on(self) -> None:
        data, self.held = self.held, b""
        self.flow.resume_reading()
        if data:
            self.data_received(data)

    def shutdown(self) -> None:
        self.is_stopping = True
        if not self.known:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self.watch.cancel()
        super().connection_lost(exc)

    def look(self) -> None:
        now = self.loop.time()
        if self.is_our_turn:
            self.heard_at = now
        left = self.heard_at + self.patience_seconds - now
        if left <= 0:
            self.transport.abort()
        else:
            self.watch = self.loop.call_later(left, self.look)

    @property
    def is_our_turn(self) -> bool:
        """We owe an answer, are sending one, or don't read what the client sends."""
        cycle = self.cycle
        is_answering = cycle is not None and not cycle.more_body and not cycle.response_complete
        return (
            bool(self.known)
            or is_answering
            or self.flow.read_paused
            or self.transport.get_write_buffer_size() > 0
        )
