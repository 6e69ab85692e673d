"""Django's WSGI handler behind an ASGI server, on threads that keep their database connections.

An answer costs one hand-over to a thread and one back, or none if the gate has found that the view need not
wait. A streamed answer takes a thread for each of its pieces, and the next one is made when the client takes
those before: however slowly a client reads, it holds no thread. Uploads do while they are received.
"""

import asyncio
import io
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import Any

from django.conf import settings
from django.db import close_old_connections

from config.asgi.shares import Shares
from devices.ingestion.asgi import Receive, Send, current_request_id, request_state

# Probes and log-ins are answered however many other requests wait.
PROBE_THREADS = 2
LOG_IN_THREADS = 6
PROBES = ("/healthz", "/livez")
ACCOUNT = "/portal/account"
OPENID = f"{ACCOUNT}/oidc/{settings.OIDC_PROVIDER}/login"
LOG_IN = (
    *("/portal/login", "/portal/logout", "/admin/login", "/admin/logout"),
    *(f"{ACCOUNT}/2fa/authenticate", f"{ACCOUNT}/2fa/webauthn/login"),
    *(f"{ACCOUNT}/reauthenticate", f"{ACCOUNT}/2fa/reauthenticate", f"{ACCOUNT}/2fa/webauthn/reauthenticate"),
    *((OPENID, f"{OPENID}/callback") if settings.OIDC_PROVIDER else ()),
)
# Smaller parts of a streamed answer are sent together.
PIECE_BYTES = 64 * 1024


class OnThreads:
    """The ASGI application in front of Django's WSGI handler."""

    def __init__(self, handler: Callable[..., Any], threads: int) -> None:
        self.handler = handler
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="django")
        probes = ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="probes")
        log_in = ThreadPoolExecutor(LOG_IN_THREADS, thread_name_prefix="log-in")
        self.executors = dict.fromkeys(PROBES, probes) | dict.fromkeys(LOG_IN, log_in)
        self.shares = Shares()

    async def __call__(self, scope: dict, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        message = await receive()
        body: io.BufferedIOBase = io.BytesIO(message.get("body", b""))
        if message.get("more_body"):
            body = io.BufferedReader(Incoming(loop, message["body"], receive), 65536)
        exchange = Exchange()
        work = partial(exchange.run, self.handler, environ(scope, body))
        if request_state(scope).deferred is not None:
            work()
        else:
            executor = self.executors.get(scope["path"].rstrip("/"), self.executor)
            # Whose other requests wait can log in and out.
            share = self.shares.of(scope) if executor is self.executor else nullcontext()
            async with share:
                await loop.run_in_executor(executor, work)
        for message in exchange.messages:
            await send(message)
        if exchange.streamed is not None:
            await self.send_pieces(exchange, receive, send, is_wanted=scope["method"] != "HEAD")

    async def send_pieces(
        self, exchange: "Exchange", receive: Receive, send: Send, *, is_wanted: bool
    ) -> None:
        in_thread = partial(asyncio.get_running_loop().run_in_executor, self.executor)
        gone = asyncio.ensure_future(client_left(receive))
        try:
            while is_wanted and not gone.done() and (part := await in_thread(exchange.next_piece)):
                # Waits until the client has taken what was sent before.
                await send(piece(part, more=True))
            await send(piece(b"", more=False))
        finally:
            gone.cancel()
            await in_thread(exchange.close)


class Exchange:
    """A request to Django and its answer: `messages`, and `parts` to follow if it is `streamed`."""

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}
        self.messages: list[dict] = []
        self.streamed: Any = None
        self.parts: Iterator[bytes] = iter(())
        self.request_id = current_request_id.get()

    def run(self, handler: Callable[..., Any], environ: dict[str, Any]) -> None:
        """Call the handler, and take its answer, or the first messages of one that is streamed."""
        # Not the whole context: Django's caches would connect to Redis anew for each request.
        current_request_id.set(self.request_id)
        response = handler(environ, self.start_response)
        self.messages.append(self.start)
        if response.streaming:
            self.streamed, self.parts = response, iter(response)
            return
        try:
            self.messages.append(piece(b"".join(response), more=False))
        finally:
            response.close()

    def start_response(self, status: str, headers: list[tuple[str, str]], *_: object) -> None:
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self.start = {"type": "http.response.start", "status": int(status[:3]), "headers": pairs}

    def next_piece(self) -> bytes:
        """Make the next PIECE_BYTES or more of a streamed answer; less at its end, and then nothing."""
        current_request_id.set(self.request_id)
        # Another thread than that of the piece before may have a connection that died.
        close_old_connections()
        gathered: list[bytes] = []
        size = 0
        for part in self.parts:
            gathered.append(part)
            size += len(part)
            if size >= PIECE_BYTES:
                break
        return b"".join(gathered)

    def close(self) -> None:
        current_request_id.set(self.request_id)
        self.streamed.close()


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


async def client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


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
