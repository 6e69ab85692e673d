"""uvicorn's HTTP protocol, which drops idle clients and takes requests with known heads unparsed."""

import re
from contextlib import suppress
from fcntl import ioctl
from struct import unpack
from termios import TIOCOUTQ
from typing import Any, ClassVar, NoReturn

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from devices.ingestion.asgi import STATE_KEY, RequestState

PATIENCE_SECONDS = 20.0
# The limit of request line and headers, which are read before any credential is checked.
MAX_HEAD_BYTES = 256 * 1024
# A field of three bytes takes a hundred in memory.
MAX_HEADERS = 200
# What httptools can take apart.
MAX_TARGET_BYTES = 65_535
# Of all heads of a process that are not complete. Usual ones come in one piece, and are none of these.
MAX_INCOMPLETE_HEAD_BYTES = 16 * 1024 * 1024
# Requests that one connection may have ahead of their answers.
MAX_PIPELINED = 50
# A head that trickles in holds little, but it must end.
HEAD_SECONDS = 60.0
# The limit of incomplete requests with known heads, in one process.
MAX_UNFINISHED_BYTES = 8 * 1024 * 1024
END_OF_HEAD = b"\r\n\r\n"
# Java's client offers another protocol. The offer is removed: uvicorn would ignore it and lose the body.
UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
NO_HTTP = "This is no request of HTTP/1.1, or its method is unknown."
LONG_HEAD = f"Request line and headers may have {MAX_HEAD_BYTES // 1024} KiB."
LONG_TARGET = f"The address of a request may have {MAX_TARGET_BYTES:,} bytes."
MANY_HEADERS = f"A request may have {MAX_HEADERS} headers."
MANY_HEADS = "Too many requests are incomplete."


class PatientProtocol(HttpToolsProtocol):
    """Closes a connection whose client owes bytes and sends none, or is sent bytes and takes none.

    The first may last `patience_seconds`, the second `write_seconds`. uvicorn itself closes only connections
    that are idle after an answer: one whose client vanished before or within a request would stay open for
    ever. This takes one timer per connection and nothing per request.

    A request whose head the gate has accepted before goes straight to the gate: no parser, no task. A
    connection is in one of these states, with the bytes that belong to it:

    - between messages: the next bytes begin a request;
    - `unfinished`: a known head came, its body is incomplete;
    - `at_gate`: the gate has a request with a known head, and has not answered; `early` came meanwhile;
    - parsing: uvicorn reads a head (`in_head`) or a body (`in_message`), or answers (its `cycle`).

    uvicorn learns nothing of the connection in the states `unfinished` and `at_gate`.
    """

    patience_seconds = PATIENCE_SECONDS
    head_seconds = HEAD_SECONDS
    # `config.asgi.application` sets it from the setting.
    write_seconds = PATIENCE_SECONDS
    # The process's `devices.ingestion.gate.Gate`. Not imported: this module is loaded before Django.
    gate: Any = None
    # In this process; beyond MAX_UNFINISHED_BYTES, incomplete requests are parsed.
    unfinished_bytes = 0
    # In an open demo: whether an address may use the gate.
    lets_in: Any = None
    unfinished = at_gate = early = b""
    in_head = in_message = is_stopping = False
    # Of all connections of this process, and of this one, while they are `in_head`.
    incomplete_head_bytes: ClassVar[int] = 0
    head_bytes = headers_seen = header_bytes = 0
    # What to answer to what is no request.
    fault = 400, NO_HTTP
    # The head that the latest data began with, and the number of body bytes that came with it.
    first_head = b"", 0
    # What the client had not taken when the timer looked last.
    untaken_bytes = 0
    # The process's connections whose clients are slow to read, and what is in memory for each.
    slow_readers: ClassVar[dict["PatientProtocol", int]] = {}
    # The limit of all of these. `config.asgi.application` sets it from the setting.
    most_waiting_bytes = 64 * 1024 * 1024
    # The process's `config.asgi.connections.Connections`, which bounds them.
    places: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        self.choose_gate(address)
        self.heard_at = self.taken_at = self.loop.time()
        self.timer = self.loop.call_later(self.patience_seconds, self.check_patience)
        if self.places is not None and not self.places.add(self, address):
            transport.abort()

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
        if self.unfinished:
            data = self.take_unfinished() + data
        self.first_head = b"", 0
        if self.is_between_messages and self.gate is not None:
            head, end, body = data.partition(END_OF_HEAD)
            known = self.gate.heads.get(head) if end else None
            if known is not None and len(body) < known.body_bytes and self.keep_unfinished(data):
                # An idle connection is closed sooner than one that owes a body.
                self._unset_keepalive_if_required()
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

    def keep_unfinished(self, data: bytes) -> bool:
        if PatientProtocol.unfinished_bytes + len(data) > MAX_UNFINISHED_BYTES:
            return False
        PatientProtocol.unfinished_bytes += len(data)
        self.unfinished = data
        return True

    def take_unfinished(self) -> bytes:
        PatientProtocol.unfinished_bytes -= len(self.unfinished)
        data, self.unfinished = self.unfinished, b""
        return data

    def parse(self, data: bytes) -> None:
        super().data_received(data)
        if self.in_head:
            self.count_head(len(data))
            if self.head_bytes > MAX_HEAD_BYTES:
                self.refuse(431, LONG_HEAD)
            elif PatientProtocol.incomplete_head_bytes > MAX_INCOMPLETE_HEAD_BYTES:
                self.refuse(503, MANY_HEADS)

    def count_head(self, size: int) -> None:
        self.head_bytes += size
        PatientProtocol.incomplete_head_bytes += size

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            # The answer that is owed still comes, and ends the connection.
            self.give_up(400, NO_HTTP)
        self.in_head = self.in_message = True
        self.headers_seen = self.header_bytes = 0
        self.head_began_at = self.heard_at
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_TARGET_BYTES:
            self.give_up(414, LONG_TARGET)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers_seen += 1
        self.header_bytes += len(name) + len(value)
        if self.headers_seen > MAX_HEADERS:
            self.give_up(431, MANY_HEADERS)
        if self.header_bytes > MAX_HEAD_BYTES:
            self.give_up(431, LONG_HEAD)
        super().on_header(name, value)

    def give_up(self, status: int, detail: str) -> NoReturn:
        """End the parsing; `send_400_response` then answers so."""
        self.fault = status, detail
        raise ValueError(detail)

    def on_headers_complete(self) -> None:
        self.in_head = False
        self.count_head(-self.head_bytes)
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

    # --- What is no request

    def send_400_response(self, msg: str) -> None:
        self.refuse(*self.fault)

    def refuse(self, status: int, detail: str) -> None:
        """Answer what is no request, after the answers that are owed to requests before it, and close."""
        cycle = self.cycle
        is_owed = cycle is not None and not cycle.response_complete
        if is_owed and not cycle.more_body:
            cycle.keep_alive = False
            self.flow.pause_reading()
        elif self.pipeline or (is_owed and cycle.response_started):
            self.transport.close()
        elif type(self).gate is None:
            super().send_400_response(detail)
        else:
            self.is_stopping = True
            type(self).gate.refuse_connection(status, detail, self)

    def _unsupported_upgrade_warning(self) -> None:
        """Keep silent: everybody can cause it, and its advice is for developers."""

    # --- The end of a connection

    def shutdown(self) -> None:
        if self.unfinished:
            # Its body is waited for, as that of every request that has begun.
            self.parse(self.take_unfinished())
        self.is_stopping = True
        if not self.at_gate:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self.timer.cancel()
        if self.places is not None:
            self.places.remove(self)
        self.take_unfinished()
        self.count_head(-self.head_bytes)
        self.slow_readers.pop(self, None)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self.taken_at, self.untaken_bytes = self.loop.time(), untaken_bytes(self.transport)
        self.slow_readers[self] = self.transport.get_write_buffer_size()
        self.drop_slow_readers()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.taken_at, self.untaken_bytes = self.loop.time(), 0
        self.slow_readers.pop(self, None)
        super().resume_writing()

    def drop_slow_readers(self) -> None:
        """Drop those for whom most is kept for longest; never the latest one."""
        now, slow = self.loop.time(), self.slow_readers
        while len(slow) > 1 and sum(slow.values()) > self.most_waiting_bytes:
            slowest = max(slow, key=lambda each: slow[each] * (now - each.taken_at))
            del slow[slowest]
            slowest.transport.abort()

    def check_patience(self) -> None:
        now = self.loop.time()
        if self.is_our_turn:
            self.heard_at = now
        self.look_at_untaken(now)
        if self.unfinished:
            # From now on its time and its bytes are bounded as those of all other bodies.
            self.parse(self.take_unfinished())
        ends = [self.heard_at + self.patience_seconds, self.taken_at + self.write_seconds]
        if self.in_head:
            ends.append(self.head_began_at + self.head_seconds)
        left = min(ends) - now
        if left <= 0:
            self.transport.abort()
        else:
            self.timer = self.loop.call_later(left, self.check_patience)

    def look_at_untaken(self, now: float) -> None:
        """Note whether the client has taken something since the last look."""
        untaken = untaken_bytes(self.transport)
        if untaken == 0 or self.untaken_bytes == 0 or untaken < self.untaken_bytes:
            self.taken_at = now
        self.untaken_bytes = untaken

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


def untaken_bytes(transport: Any) -> int:
    """Count what was written and the client has not acknowledged; 0 if the kernel has all of it.

    The kernel takes more only when a third of its buffer is free: without the bytes in there, a slow client
    would seem to take nothing for a long time.
    """
    waiting = transport.get_write_buffer_size()
    if waiting:
        # Without an answer of the kernel the rest must do.
        with suppress(OSError):
            waiting += unpack("i", ioctl(transport.get_extra_info("socket").fileno(), TIOCOUTQ, bytes(4)))[0]
    return waiting
