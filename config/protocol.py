"""HTTP as uvicorn speaks it, but not with clients that fall silent."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

PATIENCE_SECONDS = 20.0
# Of the request line and the headers, before anybody has said who he is.
MAX_HEAD_BYTES = 256 * 1024


class PatientProtocol(HttpToolsProtocol):
    """Closes a connection on which the client's next bytes are due and don't come.

    uvicorn itself closes only those that are idle after an answer: one whose client vanished before or within
    a request would stay for ever. One timer for a connection, nothing for a request.
    """

    patience_seconds = PATIENCE_SECONDS
    in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.heard_at = self.loop.time()
        self.watch = self.loop.call_later(self.patience_seconds, self.look)

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)
        if self.in_head:
            self.head_bytes += len(data)
            if self.head_bytes > MAX_HEAD_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        self.in_head, self.head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.in_head = False
        super().on_headers_complete()

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
        return is_answering or self.flow.read_paused or self.transport.get_write_buffer_size() > 0
