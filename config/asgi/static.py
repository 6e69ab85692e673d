"""Static files, sent by the event loop from memory: however slowly a client reads, it holds no thread."""

import asyncio
from collections.abc import Callable

from config.static_files import StaticAnswer, StaticFiles, compressed_file, file_content, static_answer
from devices.ingestion.asgi import Headers, Send

# What is sent at once; more waits until the client has taken what was sent before.
PIECE_BYTES = 64 * 1024
METHODS = ("GET", "HEAD")


class StaticSender:
    """Sends static files. `headers` go with each answer, unless the file has one of that name.

    `problem` makes the body of a problem from status and detail.
    """

    def __init__(self, headers: Headers, problem: Callable[[int, str], bytes]) -> None:
        self.table = StaticFiles()
        self.headers = dict(headers)
        self.problem = problem
        self.contents: dict[tuple[str, str], asyncio.Future[bytes]] = {}

    async def answer(self, scope: dict, send: Send) -> bool:
        """Answer a request for a static file; False if it is for something else."""
        path = scope["path"]
        file = self.table.find(path) if path.startswith(self.table.static_prefix) else None
        if file is None:
            return False
        if scope["method"] not in METHODS:
            body = self.problem(405, "")
            own = {b"allow": b"GET, HEAD", b"content-type": b"application/problem+json"}
            await self.send(405, own, memoryview(body), send)
            return True
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        chosen = static_answer(file, fields)
        own = {name.lower().encode(): value.encode("latin-1") for name, value in chosen.headers.items()}
        if chosen.coding:
            own[b"content-encoding"] = chosen.coding.encode()
        await self.send(chosen.status, own, await self.body(chosen), send)
        return True

    async def body(self, chosen: StaticAnswer) -> memoryview:
        if chosen.status not in (200, 206):
            return memoryview(b"")
        at = chosen.path, chosen.coding
        if at not in self.contents:
            # On a thread, and once: others who ask meanwhile wait for the same.
            loop = asyncio.get_running_loop()
            work = (compressed_file, *at) if chosen.coding else (file_content, chosen.path)
            self.contents[at] = loop.run_in_executor(None, *work)
        return memoryview(await asyncio.shield(self.contents[at]))[chosen.part]

    async def send(self, status: int, own: dict[bytes, bytes], body: memoryview, send: Send) -> None:
        if status != 304:
            own[b"content-length"] = b"%d" % len(body)
        headers = [*(self.headers | own).items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for start in range(0, len(body), PIECE_BYTES):
            piece = body[start : start + PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
