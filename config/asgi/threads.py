"""Django's WSGI handler behind an ASGI server, on threads that keep their database connections.

An answer costs one hand-over to a thread and one back, or none if the gate has found that the view need not
wait. Only uploads and streamed answers pass piece by piece.
"""

import asyncio
import io
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from devices.ingestion.asgi import current_request_id, request_state


class OnThreads:
    """The ASGI application in front of Django's WSGI handler."""

    def __init__(self, handler: Callable[..., Iterable[bytes]], threads: int) -> None:
        self.handler = handler
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="django")

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        loop = asyncio.get_running_loop()
        message = await receive()
        body: io.BufferedIOBase = io.BytesIO(message.get("body", b""))
        if message.get("more_body"):
            body = io.BufferedReader(Incoming(loop, message["body"], receive), 65536)
        exchange = Exchange(loop, send)
        work = partial(exchange.run, self.handler, environ(scope, body))
        need_not_wait = request_state(scope).deferred is not None
        last = work() if need_not_wait else await loop.run_in_executor(self.executor, work)
        for message in last:
            await send(message)


class Exchange:
    def __init__(self, loop: asyncio.AbstractEventLoop, send: Callable) -> None:
        self.loop = loop
        self.send = send
        self.start: dict[str, Any] = {}
        self.request_id = current_request_id.get()

    def run(self, handler: Callable, environ: dict[str, Any]) -> list[dict]:
        """Call the handler and return the messages still to be sent: all, unless the answer is streamed."""
        # Not the whole context: Django's caches would connect to Redis anew for each request.
        current_request_id.set(self.request_id)
        response = handler(environ, self.start_response)
        try:
            if not response.streaming:
                return [self.start, piece(b"".join(response), more=False)]
            self.send_now(self.start)
            for chunk in response:
                self.send_now(piece(chunk, more=True))
            return [piece(b"", more=False)]
        finally:
            response.close()

    def start_response(self, status: str, headers: list[tuple[str, str]], *_: object) -> None:
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self.start = {"type": "http.response.start", "status": int(status[:3]), "headers": pairs}

    def send_now(self, message: dict) -> None:
        asyncio.run_coroutine_threadsafe(self.send(message), self.loop).result()


class Incoming(io.RawIOBase):
    """A body that is still being received, for a thread to read."""

    def __init__(self, loop: asyncio.AbstractEventLoop, first: bytes, receive: Callable) -> None:
        self.loop = loop
        self.received = first
        self.receive = receive
        self.more = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # a memoryview
        while not self.received and self.more:
            message = asyncio.run_coroutine_threadsafe(self.receive(), self.loop).result()
            self.received, self.more = message.get("body", b""), message.get("more_body", False)
        count = min(len(buffer), len(self.received))
        buffer[:count], self.received = self.received[:count], self.received[count:]
        return count


def piece(body: bytes, *, more: bool) -> dict:
    return {"type": "http.response.body", "body": body, "more_body": more}


def environ(scope: dict, body: io.BufferedIOBase) -> dict[str, Any]:
    """Make the environ of WSGI (PEP 3333) from an ASGI scope."""
    host, port = scope.get("server") or ("localhost", 80)
    fields = {
        "asgi.scope": scope,
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        # WSGI has texts as bytes, each decoded to the character of that number.
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or 0),
        "REMOTE_ADDR": scope["client"][0] if scope.get("client") else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        text = value.decode("latin-1")
        fields[key] = f"{fields[key]},{text}" if key in fields else text
    return fields
