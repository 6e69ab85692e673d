"""Ingestion POSTs that look ordinary, answered before Django: a fortieth of its cost.

The gate answers what it can accept, and turns away what is too much. Whatever else there is about a request
(no such key, a bad body, compression, anything unusual) goes on to the REST view of the same path, body and
all, so that there is one place for every error.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.http.request import split_domain_port, validate_host

from devices.access import grants
from devices.access.coalescing import Coalescer
from devices.access.failed_attempts import FailedAttempts
from devices.access.grants import Grant, GrantKey, Target
from devices.access.rate_limit import RateExceeded, RateLimiter
from devices.ingestion import decoding
from devices.ingestion.asgi import (
    AT_ONCE,
    Application,
    DeferredStore,
    Headers,
    Receive,
    Send,
    collect_message,
    read_body,
    replay_body,
)
from devices.ingestion.checks import InvalidItems
from devices.ingestion.decoding import BatchTooLong
from devices.ingestion.group_commit import GroupCommit, NotStored
from devices.ingestion.idempotency import IdempotencyClaim, IdempotencyConflict, Outcome, is_valid_key
from devices.ingestion.intake import Intake, take_batch, take_one, take_sensors
from devices.ingestion.post_head import MEDIA_TYPES, POST_PATH, QUERIES, READ, UNUSUAL, PostHead
from devices.ingestion.sensors import OwnSensors

logger = logging.getLogger(__name__)

THREADS = 2
JSON = (b"content-type", b"application/json")
PROBLEM = (b"content-type", b"application/problem+json")
# Larger bodies are decoded in a thread, so as not to hold up the others.
SMALL_BYTES = 128 * 1024
MAX_KNOWN_HOSTS = 1000
# Of the heads that are remembered: how many, and how long one may be.
MAX_HEADS = 50_000
MAX_HEAD_BYTES = 1024
# Django answers a cookie that it does not know by deleting it.
ENDS = (b"connection", b"upgrade", b"expect")
# Of an unusual request, what says whether a view can answer it at once.
SLOW = (b"transfer-encoding", b"content-encoding")
TELLING = (b"authorization", b"content-length", *SLOW)


class KnownHead(NamedTuple):
    """A head that was accepted: of requests for a device, without an Idempotency-Key."""

    post: PostHead
    length: int


class KnownConnection(Protocol):
    """Where a request came from that is known by its head."""

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        """`lines` are headers, all but the length."""

    def start_over(self) -> None:
        """The request is to go the long way: nothing has been stored."""


class Gate:
    """The ASGI application in front of `behind`, which gets all that is not answered here.

    `headers` stand on every answer; `problem` makes the body of a problem from status and detail.
    """

    def __init__(
        self,
        behind: Application,
        writer: GroupCommit,
        limiter: RateLimiter,
        headers: Headers,
        problem: Callable[[int, str], bytes],
    ) -> None:
        self.behind = behind
        self.writer = writer
        self.limiter = limiter
        self.headers = [*headers, (b"allow", b"POST, OPTIONS")]
        self.created = lines([*self.headers, JSON])
        self.unavailable = lines([*self.headers, PROBLEM, (b"retry-after", b"1")])
        self.problem = problem
        self.lookups = Coalescer(self.look_up)
        self.strikes = FailedAttempts()
        self.known_hosts: set[bytes] = set()
        self.heads: dict[bytes, KnownHead] = {}
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="gate")

    async def __call__(self, scope: dict, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            return await self.behind(scope, receive, send)
        post = self.ordinary(scope)
        if post is None:
            return await self.unusual(scope, receive, send)
        question = post.authorization, post.device
        grant, is_due = grants.cache.look(question)
        if grant is None:
            return await self.unknown(post, scope, receive, send)
        if is_due and not self.lookups.is_busy:
            self.lookups.ask(question)
        return await self.limited(post, grant, scope, receive, send)

    async def unusual(self, scope: dict, receive: Receive, send: Send) -> None:
        """For the view: here and now if it needs nothing but what is kept; its rows are stored for it."""
        grant = self.kept_grant(scope)
        try:
            rate = self.limiter.spend(grant.holder) if grant is not None else None
        except RateExceeded as error:
            return await self.refuse(429, str(error), error.seconds, error.headers, send)
        if grant is None or rate is None:
            return await self.behind(scope, receive, send)
        scope["state"]["rate"] = rate
        body = await read_body(receive)
        if body is None:
            return None
        # A body may take its time, and the leave be gone by its end.
        if self.kept_grant(scope) == grant and await self.at_once(grant, scope, body, receive, send):
            return None
        return await self.behind(scope, replay_body(body, receive), send)

    async def at_once(self, grant: Grant, scope: dict, body: bytes, receive: Receive, send: Send) -> bool:
        """Answer with what the view says on the event loop; False if it must wait, and nothing was stored."""
        state, later, answer = scope["state"], DeferredStore(), []
        state["grant"], state[AT_ONCE] = grant, later
        await self.behind(scope, replay_body(body, receive), partial(collect_message, answer))
        del state[AT_ONCE]
        is_answer = bool(answer) and answer[0]["status"] < 500
        if later.taken is not None:
            try:
                # The first answer of its key may be another one.
                is_answer = await self.writer.store(later.taken, later.once) == later.taken.receipt
            except (IdempotencyConflict, DatabaseError, InterfaceError):
                return False
            except NotStored as error:
                await self.refuse(503, str(error), 1, state["rate"], send)
                return True
        for message in answer if is_answer else ():
            await send(message)
        return is_answer

    def kept_grant(self, scope: dict) -> Grant | None:
        """Of a small, whole request for a device that is known lately; None: it may have to be waited for."""
        match = POST_PATH.fullmatch(scope["path"])
        if match is None or match[1] is None:
            return None
        found = [header for header in scope["headers"] if header[0] in TELLING]
        headers = dict(found)
        length = headers.get(b"content-length", b"")
        if len(headers) < len(found) or not length.isdigit() or int(length) > SMALL_BYTES:
            return None
        if b"authorization" not in headers or not headers.keys().isdisjoint(SLOW):
            return None
        question = headers[b"authorization"], UUID(match[1])
        grant, is_due = grants.cache.look(question)
        if is_due and not self.lookups.is_busy:
            self.lookups.ask(question)
        return grant

    async def unknown(self, post: PostHead, scope: dict, receive: Receive, send: Send) -> None:
        """A credential that was not seen lately."""
        seconds = self.strikes.wait_seconds(post.authorization)
        if seconds:
            return await self.refuse(429, FailedAttempts.REFUSAL, seconds, [], send)
        question = post.authorization, post.device
        await self.lookups.ask(question).wait()
        grant = grants.cache.get(question)
        if grant is None:
            return await self.behind(scope, receive, self.noting_strike(post, send))
        return await self.limited(post, grant, scope, receive, send)

    async def limited(self, post: PostHead, grant: Grant, scope: dict, receive: Receive, send: Send) -> None:
        try:
            rate = self.limiter.spend(grant.holder)
            if rate is None:
                rate = await self.limiter.take(grant.holder)
        except RateExceeded as error:
            return await self.refuse(429, str(error), error.seconds, error.headers, send)
        # The view, should the request end there, must not count it again.
        scope["state"]["rate"] = rate
        body = await read_body(receive)
        if body is None:
            return None
        if grants.cache.get((post.authorization, post.device)) != grant:
            # A body may take its time, and the leave be gone by its end.
            return await self.behind(scope, replay_body(body, receive), send)
        try:
            taken = await self.take(post, grant, body)
            receipt = await self.writer.store(taken, claim_of(grant, post.key, post.path, body))
            self.remember(scope, post, body)
        except (InvalidItems, BatchTooLong, IdempotencyConflict, DatabaseError, InterfaceError):
            # Nothing was stored, and the view says why.
            return await self.behind(scope, replay_body(body, receive), send)
        except NotStored as error:
            return await self.refuse(503, str(error), 1, rate, send)
        return await self.answer(201, msgspec.json.encode(receipt), [JSON, *rate], send)

    def remember(self, scope: dict, post: PostHead, body: bytes) -> None:
        """A device's next request mostly has the same head, byte for byte: it need not be parsed again."""
        head, length = scope["state"].get("piece", (b"", 0))
        if not 0 < len(head) <= MAX_HEAD_BYTES or len(body) > SMALL_BYTES:
            return
        # In one piece with its body, or alone.
        if length not in (0, len(body)):
            return
        if post.device is None or post.key is not None or scope["http_version"] != "1.1":
            return
        if any(name in ENDS and value.lower() != b"keep-alive" for name, value in scope["headers"]):
            return
        if len(self.heads) >= MAX_HEADS:
            self.heads.clear()
        self.heads[head] = KnownHead(post, len(body))

    def take_known(self, known: KnownHead, body: bytes, connection: KnownConnection) -> bool:
        """Take a request that has an accepted one's head, and answer it on its connection when it is stored.

        False: nothing was done, it is to go the long way.
        """
        post = known.post
        question = post.authorization, post.device
        grant, is_due = grants.cache.look(question)
        if grant is None:
            return False
        if is_due and not self.lookups.is_busy:
            self.lookups.ask(question)
        try:
            taken = take_readings(post, grant.target, body, datetime.now(UTC))
            rate = self.limiter.spend(grant.holder)
            if rate is None or not taken.rows.payload:
                return False
            self.writer.submit(taken, None, partial(self.settle, connection, rate))
        except (InvalidItems, BatchTooLong, RateExceeded, NotStored):
            return False
        return True

    def settle(self, connection: KnownConnection, rate: Headers, outcome: Outcome) -> None:
        if isinstance(outcome, NotStored):
            connection.answer(503, self.unavailable + lines(rate), self.problem(503, str(outcome)))
        elif isinstance(outcome, Exception):
            connection.start_over()
        else:
            connection.answer(201, self.created + lines(rate), msgspec.json.encode(outcome))

    def ordinary(self, scope: dict) -> PostHead | None:
        """None for whatever the views had better look at."""
        match = POST_PATH.fullmatch(scope["path"])
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
            and int(length) <= decoding.MAX_BYTES
            and (host in self.known_hosts or self.is_allowed(host))
        ):
            return None
        device, batch = match[1], match[2]
        is_single = device is not None and batch is None
        key = headers.get(b"idempotency-key")
        if (is_single and scope["query_string"]) or (
            key is not None and not is_valid_key(key.decode("latin-1"))
        ):
            return None
        uuid = UUID(device) if device else None
        authorization = headers[b"authorization"]
        return PostHead(scope["path"], uuid, not is_single, is_partial, authorization, key and key.decode())

    def is_allowed(self, host: bytes) -> bool:
        """As Django decides; hosts that are allowed are few, and remembered."""
        name, _port = split_domain_port(host.decode("latin-1"))
        allowed = bool(name) and validate_host(name, settings.ALLOWED_HOSTS)
        # With its port a host has many spellings, and whoever asks makes them up.
        if allowed and len(self.known_hosts) < MAX_KNOWN_HOSTS:
            self.known_hosts.add(host)
        return allowed

    async def look_up(self, questions: list[GrantKey]) -> None:
        try:
            await self.in_thread(grants.look_up_grants, questions)
        except (DatabaseError, InterfaceError) as error:
            # What is not known goes on to the view, which says why.
            logger.warning("Credentials could not be looked up: %s", error)

    def noting_strike(self, post: PostHead, send: Send) -> Send:
        """A `send` for the view, which decides whether the credential is bad."""

        async def noting(message: dict) -> None:
            if message.get("status") == 401:
                self.strikes.note(post.authorization)
            await send(message)

        return noting

    async def take(self, post: PostHead, grant: Grant, body: bytes) -> Intake:
        now = datetime.now(UTC)
        if grant.target is None:
            sensors = OwnSensors(grant.user_id)
            return await self.in_thread(partial(take_sensors, sensors, body, now, skip_bad=post.is_partial))
        if len(body) <= SMALL_BYTES:
            return take_readings(post, grant.target, body, now)
        return await self.in_thread(take_readings, post, grant.target, body, now)

    async def in_thread(self, work: Callable, *arguments: object) -> Any:
        return await self.writer.loop.run_in_executor(self.threads, with_live_connection, work, *arguments)

    async def refuse(self, status: int, detail: str, seconds: int, headers: Headers, send: Send) -> None:
        """To be tried again in so many seconds."""
        headers = [PROBLEM, (b"retry-after", b"%d" % seconds), *headers]
        await self.answer(status, self.problem(status, detail), headers, send)

    async def answer(self, status: int, body: bytes, headers: Headers, send: Send) -> None:
        headers = [*self.headers, *headers, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])


def take_readings(post: PostHead, target: Target, body: bytes, now: datetime) -> Intake:
    """Readings of one device. Raises Refused, TooMany."""
    if post.is_batch:
        return take_batch(target, body, now, skip_bad=post.is_partial)
    return take_one(target, body, now)


def with_live_connection(work: Callable, *arguments: object) -> Any:
    """Django checks its connections at the start of a request; these threads see none."""
    close_old_connections()
    return work(*arguments)


def claim_of(grant: Grant, key: str | None, path: str, body: bytes) -> IdempotencyClaim | None:
    return IdempotencyClaim.of(grant.holder, key, path, body) if key is not None else None
