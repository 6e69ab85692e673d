"""uvicorn's HTTP protocol, which drops silent clients and takes requests with known heads unparsed."""

import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from devices.ingestion.asgi import STATE_KEY, RequestState

PATIENCE_SECONDS = 20.0
# The limit of request line and headers, which are read before any credential is checked.
MAX_HEAD_BYTES = 256 * 1024
END_OF_HEAD = b"\r\n\r\n"
# Java's client offers another protocol. The offer is removed: uvicorn would ignore it and lose the body.
UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class PatientProtocol(HttpToolsProtocol):
    """Closes a connection whose client owes bytes and sends none for `patience_seconds`.

    uvicorn itself closes only connections that are idle after an answer: one whose client vanished before or
    within a request would stay open for ever. This takes one timer per connection and nothing per request.

    A request whose head the gate has accepted before goes straight to the gate: no parser, no task. A
    connection is in one of these states, with the bytes that belong to it:

    - between messages: the next bytes begin a request;
    - `unfinished`: a known head came, its body is incomplete;
    - `at_gate`: the gate has a request with a known head, and has not answered; `early` came meanwhile;
    - parsing: uvicorn reads a head (`in_head`) or a body (`in_message`), or answers (its `cycle`).

    uvicorn learns nothing of the connection in the states `unfinished` and `at_gate`.
    """

    patience_seconds = PATIENCE_SECONDS
    # The process's `devices.ingestion.gate.Gate`. Not imported: this module is loaded before Django.
    gate: Any = None
    # In an open demo: whether an address may use the gate.
    lets_in: Any = None
    unfinished = at_gate = early = b""
    in_head = in_message = is_stopping = False
    # The head that the latest data began with, and the number of body bytes that came with it.
    first_head = b"", 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.choose_gate(self.client[0] if self.client else "")
        self.heard_at = self.loop.time()
        self.timer = self.loop.call_later(self.patience_seconds, self.check_patience)

    def choose_gate(self, address: str) -> None:
        """Let only those pass the gate whom an open demo answers; Django refuses the others."""
        lets_in = type(self).lets_in
        if lets_in is not None and not lets_in(address):
            self.gate = None

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        if self.at_gate:
            self.early += data
            self.flow.pause_reading()
            return
        data, self.unfinished = self.unfinished + data, b""
        self.first_head = b"", 0
        if self.is_between_messages and self.gate is not None:
            head, end, body = data.partition(END_OF_HEAD)
            known = self.gate.heads.get(head) if end else None
            if known is not None and len(body) < known.body_bytes:
                self.unfinished = data
                return
            is_whole = known is not None and len(body) == known.body_bytes
            if is_whole and self.gate.take_known(known, body, self):
                self.at_gate = data
                self._unset_keepalive_if_required()
                return
            self.first_head = (head, len(body)) if end else (b"", 0)
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
        self.scope["state"][STATE_KEY] = RequestState(*self.first_head)
        self.first_head = b"", 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.in_message = False
        super().on_message_complete()

    @property
    def is_between_messages(self) -> bool:
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered and not self.in_message and not self.flow.write_paused and not self.is_stopping

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        self.at_gate = b""
        if self.transport.is_closing():
            return
        own = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
        end = b"connection: close\r\n" if self.is_stopping else b""
        length = b"content-length: %d\r\n\r\n" % len(body)
        self.transport.write(b"".join((STATUS_LINE[status], own, lines, end, length, body)))
        if self.is_stopping:
            self.transport.close()
        elif self.early:
            self.go_on()

    def start_over(self) -> None:
        data, self.at_gate = self.at_gate, b""
        if not self.transport.is_closing():
            self.parse(data)
            self.go_on()
            if self.is_stopping:
                super().shutdown()

    def go_on(self) -> None:
        data, self.early = self.early, b""
        self.flow.resume_reading()
        if data:
            self.data_received(data)

    def shutdown(self) -> None:
        self.is_stopping = True
        if not self.at_gate:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self.timer.cancel()
        super().connection_lost(exc)

    def check_patience(self) -> None:
        now = self.loop.time()
        if self.is_our_turn:
            self.heard_at = now
        left = self.heard_at + self.patience_seconds - now
        if left <= 0:
            self.transport.abort()
        else:
            self.timer = self.loop.call_later(left, self.check_patience)

    @property
    def is_our_turn(self) -> bool:
        """The server owes an answer, is sending one, or has paused reading."""
        cycle = self.cycle
        is_answering = cycle is not None and not cycle.more_body and not cycle.response_complete
        return (
            bool(self.at_gate)
            or is_answering
            or self.flow.read_paused
            or self.transport.get_write_buffer_size() > 0
        )
