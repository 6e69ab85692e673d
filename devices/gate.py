"""Ingestion POSTs that look ordinary, answered before Django: a fortieth of its cost.

The gate answers what it can accept, and turns away what is too much. Whatever else there is about a request
(no such key, a bad body, compression, anything unusual) goes on to the REST view of the same path, body and
all, so that there is one place for every error.
"""

import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.http.request import split_domain_port, validate_host

from devices import access, ingest
from devices.access import Grant, Kept, OwnSensors
from devices.ingest import Refused, Taken, TooMany, take_batch, take_one, take_sensors
from devices.writer import KeyConflict, Once, Unavailable, Writer, is_key

THREADS = 2
JSON = [(b"content-type", b"application/json")]

Headers = list[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[dict]]
Send = Callable[[dict], Awaitable[None]]
Application = Callable[[dict, Receive, Send], Awaitable[None]]

PATH = re.compile(r"/(?:devices/([0-9a-f-]{36})/stats(/batch)?|data)/?", re.ASCII)
# Larger bodies are decoded in a thread, so as not to hold up the others.
SMALL_BYTES = 32 * 1024
MEDIA_TYPES = (b"application/json", b"application/json; charset=utf-8")
QUERIES = {b"": False, b"partial=false": False, b"partial=true": True}
READ = (b"host", b"authorization", b"content-type", b"content-length", b"idempotency-key")
UNUSUAL = (b"content-encoding", b"transfer-encoding")


class Post(NamedTuple):
    """An ordinary request, but for its body."""

    path: str
    device: UUID | None
    is_batch: bool
    is_partial: bool
    authorization: bytes
    key: str | None


class Gate:
    """The ASGI application in front of `behind`, which gets all that is not answered here.

    `headers` stand on every answer; `problem` makes the body of a problem from status and detail.
    """

    def __init__(
        self,
        behind: Application,
        writer: Writer,
        headers: Headers,
        problem: Callable[[int, str], bytes],
    ) -> None:
        self.behind = behind
        self.writer = writer
        self.headers = [*headers, (b"allow", b"POST, OPTIONS")]
        self.problem = problem
        self.grants = Kept()
        self.known_hosts: set[bytes] = set()
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="gate")

    async def __call__(self, scope: dict, receive: Receive, send: Send) -> None:
        post = self.ordinary(scope) if scope["method"] == "POST" else None
        grant = post and await self.grant(post)
        if not grant:
            return await self.behind(scope, receive, send)
        body = await read_body(receive)
        if body is None:
            return None
        try:
            taken = await self.take(post, grant, body)
            receipt = await self.writer.store(taken, once(grant, post.key, post.path, body))
        except (Refused, TooMany, KeyConflict):
            # Nothing was stored, and the view says why.
            return await self.behind(scope, body_again(body, receive), send)
        except Unavailable as error:
            retry = [(b"content-type", b"application/problem+json"), (b"retry-after", b"1")]
            return await self.answer(503, self.problem(503, str(error)), retry, send)
        return await self.answer(201, msgspec.json.encode(receipt), JSON, send)

    def ordinary(self, scope: dict) -> Post | None:
        """None for whatever the views had better look at."""
        match = PATH.fullmatch(scope["path"])
        is_partial = QUERIES.get(scope["query_string"])
        if match is None or is_partial is None:
            return None
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in UNUSUAL or name in headers:
                return None
            if name in READ:
                headers[name] = value
        length, host = headers.get(b"content-length", b""), headers.get(b"host", b"")
        if not (
            b"authorization" in headers
            and headers.get(b"content-type", b"").lower() in MEDIA_TYPES
            and length.isdigit()
            and int(length) <= ingest.MAX_BYTES
            and (host in self.known_hosts or self.is_allowed(host))
        ):
            return None
        device, batch = match[1], match[2]
        is_single = device is not None and batch is None
        key = headers.get(b"idempotency-key")
        if (is_single and scope["query_string"]) or (key is not None and not is_key(key.decode("latin-1"))):
            return None
        try:
            uuid = UUID(device) if device else None
        except ValueError:
            return None
        authorization = headers[b"authorization"]
        return Post(scope["path"], uuid, not is_single, is_partial, authorization, key and key.decode())

    def is_allowed(self, host: bytes) -> bool:
        """As Django decides; hosts that are allowed are few, and remembered."""
        name, _port = split_domain_port(host.decode("latin-1"))
        allowed = bool(name) and validate_host(name, settings.ALLOWED_HOSTS)
        if allowed:
            self.known_hosts.add(host)
        return allowed

    async def grant(self, post: Post) -> Grant | None:
        kept = self.grants.get((post.authorization, post.device))
        if kept is None:
            authorization = post.authorization.decode("latin-1")
            try:
                kept = await self.in_thread(access.grant, authorization, post.device)
            except DatabaseError:
                return None
            if kept is not None:
                self.grants.put((post.authorization, post.device), kept)
        return kept

    async def take(self, post: Post, grant: Grant, body: bytes) -> Taken:
        now = datetime.now(UTC)
        if grant.target is None:
            sensors = OwnSensors(grant.user_id)
            return await self.in_thread(partial(take_sensors, sensors, body, now, skip_bad=post.is_partial))
        if not post.is_batch:
            return take_one(grant.target, body, now)
        take = partial(take_batch, grant.target, body, now, skip_bad=post.is_partial)
        return take() if len(body) <= SMALL_BYTES else await self.in_thread(take)

    async def in_thread(self, work: Callable, *arguments: object) -> Any:
        return await self.writer.loop.run_in_executor(self.threads, with_live_connection, work, *arguments)

    async def answer(self, status: int, body: bytes, headers: Headers, send: Send) -> None:
        length = (b"content-length", str(len(body)).encode())
        start = {"type": "http.response.start", "status": status}
        await send(start | {"headers": [*self.headers, *headers, length]})
        await send({"type": "http.response.body", "body": body})


def with_live_connection(work: Callable, *arguments: object) -> Any:
    """Django checks its connections at the start of a request; these threads see none."""
    close_old_connections()
    return work(*arguments)


def once(grant: Grant, key: str | None, path: str, body: bytes) -> Once | None:
    return Once.of(grant.holder, key, path, body) if key is not None else None


async def read_body(receive: Receive) -> bytes | None:
    """The whole body, whose length was checked; None if the client left."""
    message = await receive()
    body = message.get("body", b"")
    parts = [body]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return None if message["type"] == "http.disconnect" else b"".join(parts)


def body_again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that hands out the body once more, and then what comes after it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> dict:
        return messages.pop() if messages else await receive()

    return replay
