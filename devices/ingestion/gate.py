"""The gate: ingestion POSTs answered before Django, at a fortieth of its cost.

An ingestion POST takes one of three ways:

1. A known head. The protocol finds the request's head in `Gate.heads` and calls `Gate.take_known`: no parser,
   no task. The answer goes straight to the connection.
2. An ordinary POST. `Gate.take_ordinary` checks credential and rate, decodes, stores and answers.
3. Everything else. `Gate.pass_to_view` passes it to the REST view of the same path. The gate runs the view on
   the event loop (`Gate.run_view`) if the view will not wait for anything, else on a thread.

`devices/access/grants.py` checks device keys and tokens, for all three ways.

The gate answers accepted requests (201), and requests beyond a limit (429, 503). It passes all other faults,
such as an unknown credential or a bad body, to the view with the whole body: every error has one place.
Whoever refuses a post for a device, the gate sees the answer, and `refusals` notes why.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import msgspec
from django.db import DatabaseError, InterfaceError, close_old_connections

from devices.access.failed_attempts import FailedAttempts, sender_address
from devices.access.grant_lookup import GrantLookup
from devices.access.grants import Grant, Target
from devices.access.rate_limit import RateExceeded, RateLimiter
from devices.ingestion import post_head
from devices.ingestion.asgi import (
    REQUEST_ID,
    BodyReader,
    DeferredStore,
    Headers,
    Receive,
    Send,
    collect_message,
    new_request_id,
    request_state,
)
from devices.ingestion.checks import InvalidItems
from devices.ingestion.decoding import BatchTooLong
from devices.ingestion.flusher import NotStored, Outcome
from devices.ingestion.group_commit import GroupCommit
from devices.ingestion.idempotency import IdempotencyClaim, IdempotencyConflict
from devices.ingestion.intake import (
    Intake,
    NeedsThread,
    take_batch,
    take_batch_at_once,
    take_one,
    take_sensors,
)
from devices.ingestion.post_head import AllowedHosts, KnownConnection, KnownHead, KnownHeads, PostHead
from devices.ingestion.refusals import RefusalLog
from devices.ingestion.sensors import OwnSensors
from users.limits import LimitReached

THREADS = 2
# Larger bodies are decoded on a thread: on the event loop they would hold up the other requests.
SMALL_BYTES = 128 * 1024
JSON = (b"content-type", b"application/json")
PROBLEM = (b"content-type", b"application/problem+json")


class Gate:
    """The ASGI application in front of `behind`, which gets all requests that the gate does not answer.

    `headers` are sent with every answer; `problem` makes the body of a problem from status, detail and, where
    no task of ASGI knows it, the request's id.
    """

    def __init__(
        self,
        behind: BodyReader,
        writer: GroupCommit,
        limiter: RateLimiter,
        headers: Headers,
        problem: Callable[..., bytes],
    ) -> None:
        self.behind = behind
        self.writer = writer
        self.limiter = limiter
        self.no_request = header_lines([*headers, PROBLEM])
        self.headers = [*headers, (b"allow", b"POST, OPTIONS")]
        self.created = header_lines([*self.headers, JSON])
        self.unavailable = header_lines([*self.headers, PROBLEM, (b"retry-after", b"1")])
        self.problem = problem
        self.grants = GrantLookup(self.in_thread)
        self.failed_attempts = FailedAttempts()
        self.hosts = AllowedHosts()
        self.heads = KnownHeads()
        self.refusals = RefusalLog()
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="gate")

    async def __call__(self, scope: dict, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            return await self.behind(scope, receive, send)
        post = PostHead.parse(scope, self.hosts)
        if post is None:
            device = post_head.posted_device(scope["path"])
            await self.pass_to_view(scope, receive, self.refusals.watch(device, send))
            return self.refusals.note_readings(*request_state(scope).refused)
        return await self.take_ordinary(post, scope, receive, send)

    # --- 1. A known head

    def take_known(self, known: KnownHead, body: bytes, connection: KnownConnection) -> bool:
        """Take a request with an accepted head; it is answered on `connection` when it is stored.

        False if nothing was done: the request must be parsed.
        """
        post = known.post
        grant = self.grants.find((post.authorization, post.device))
        if grant is None:
            return False
        try:
            target: Target = grant.target  # type: ignore[assignment]  # a known head is of one device
            intake = take_at_once(post, target, body, datetime.now(UTC))
            rate = self.limiter.spend(grant.holder)
            if rate is None or not intake.rows.payload:
                return False
            self.writer.submit(intake, None, partial(self.settle_known, connection, rate))
            self.refusals.note_readings(201, intake.refused)
        except (InvalidItems, BatchTooLong, NeedsThread, RateExceeded, NotStored):
            return False
        return True

    def settle_known(self, connection: KnownConnection, rate: Headers, outcome: Outcome) -> None:
        # A head with an id of its own is not remembered.
        request_id = new_request_id()
        lines = header_lines([*rate, (REQUEST_ID, request_id)])
        if isinstance(outcome, NotStored):
            body = self.problem(503, str(outcome), request_id.decode())
            connection.answer(503, self.unavailable + lines, body)
        elif isinstance(outcome, Exception):
            connection.start_over()
        else:
            connection.answer(201, self.created + lines, msgspec.json.encode(outcome))

    def refuse_connection(self, status: int, detail: str, connection: KnownConnection) -> None:
        """Answer what was no request, so that it passed along no chain."""
        request_id = new_request_id()
        lines = self.no_request + header_lines([(REQUEST_ID, request_id)])
        connection.answer(status, lines, self.problem(status, detail, request_id.decode()))

    # --- 2. An ordinary POST

    async def take_ordinary(self, post: PostHead, scope: dict, receive: Receive, send: Send) -> None:
        grant_key = post.authorization, post.device
        grant = self.grants.find(grant_key)
        if grant is None:
            seconds = self.failed_attempts.wait_seconds(post.authorization, sender_address(scope))
            if seconds:
                send = self.refusals.watch(post.device, send)
                return await self.refuse(429, FailedAttempts.REFUSAL, seconds, [], send)
            grant = await self.grants.fetch(grant_key)
        if grant is None:
            send = self.refusals.watch(post.device, send)
            send = self.failed_attempts.watch(post.authorization, sender_address(scope), send)
            return await self.behind(scope, receive, send)
        return await self.accept(post, grant, scope, receive, send)

    async def accept(self, post: PostHead, grant: Grant, scope: dict, receive: Receive, send: Send) -> None:
        try:
            rate = self.limiter.spend(grant.holder)
            if rate is None:
                rate = await self.limiter.take(grant.holder)
        except RateExceeded as error:
            send = self.refusals.watch(post.device, send)
            return await self.refuse(429, str(error), error.seconds, error.headers, send)
        # Should the request end at the view, it must not be counted again.
        request_state(scope).rate = rate
        body = await self.behind.read(scope, receive)
        if body is None:
            return None
        # The permission may have been revoked while the body came.
        if self.grants.find((post.authorization, post.device)) != grant:
            send = self.refusals.watch(post.device, send)
            return await self.behind(scope, receive, send)
        try:
            receipt = await self.store(post, grant, body)
        except (InvalidItems, BatchTooLong, IdempotencyConflict, LimitReached, DatabaseError, InterfaceError):
            # Nothing was stored; the view describes the error.
            send = self.refusals.watch(post.device, send)
            await self.behind(scope, receive, send)
            return self.refusals.note_readings(*request_state(scope).refused)
        except NotStored as error:
            return await self.refuse(503, str(error), 1, rate, send)
        if len(body) <= SMALL_BYTES:
            self.heads.remember(scope, post, len(body))
        return await self.answer(201, msgspec.json.encode(receipt), [JSON, *rate], send)

    async def store(self, post: PostHead, grant: Grant, body: bytes) -> dict[str, Any]:
        """Decode and store; returns the receipt. Raises also DatabaseError, of the look-up of sensors."""
        now = datetime.now(UTC)
        if grant.target is None:
            sensors = OwnSensors(cast(int, grant.user_id))
            options: dict[str, Any] = {"skip_bad": post.is_partial, "unit": post.unit}
            intake = await self.in_thread(partial(take_sensors, sensors, body, now, **options))
        else:
            intake = await self.take_readings(post, grant.target, body, now)
        claim = None
        if post.key:
            claim = IdempotencyClaim.of(grant.holder, post.key, post.path, body, post.unit)
        receipt = await self.writer.store(intake, claim)
        self.refusals.note_readings(201, intake.refused)
        return receipt

    async def take_readings(self, post: PostHead, target: Target, body: bytes, now: datetime) -> Intake:
        """Decode readings of one device: here if that takes no time, else on a thread."""
        if len(body) <= SMALL_BYTES:
            with suppress(NeedsThread):
                return take_at_once(post, target, body, now)
        return await self.in_thread(take_readings, post, target, body, now)

    # --- 3. Everything else

    async def pass_to_view(self, scope: dict, receive: Receive, send: Send) -> None:
        """Leave the request to the view: on the event loop if all it needs is cached, else on a thread."""
        sender = post_head.small_post_sender(scope, SMALL_BYTES)
        grant = self.grants.find(sender) if sender is not None else None
        try:
            rate = self.limiter.spend(grant.holder) if grant is not None else None
        except RateExceeded as error:
            return await self.refuse(429, str(error), error.seconds, error.headers, send)
        if sender is None or grant is None or rate is None:
            return await self.behind(scope, receive, send)
        request_state(scope).rate = rate
        if await self.behind.read(scope, receive) is None:
            return None
        # The permission may have been revoked while the body came.
        if self.grants.find(sender) == grant and await self.run_view(grant, scope, receive, send):
            return None
        return await self.behind(scope, receive, send)

    async def run_view(self, grant: Grant, scope: dict, receive: Receive, send: Send) -> bool:
        """Run the view on the event loop, store the rows it leaves, and send its answer.

        False if the request needs a thread after all: nothing was stored and nothing sent.
        """
        state, deferred = request_state(scope), DeferredStore()
        answer: list[dict] = []
        state.grant, state.deferred = grant, deferred
        await self.behind(scope, receive, partial(collect_message, answer))
        state.deferred = None
        is_answer = bool(answer) and answer[0]["status"] < 500
        intake = deferred.intake
        if intake is not None:
            try:
                # An Idempotency-Key's first receipt may differ: then the view answers again, on a thread.
                is_answer = await self.writer.store(intake, deferred.claim) == intake.receipt
            except (IdempotencyConflict, DatabaseError, InterfaceError):
                return False
            except NotStored as error:
                await self.refuse(503, str(error), 1, state.rate or [], send)
                return True
        for message in answer if is_answer else ():
            await send(message)
        return is_answer

    # --- Threads and answers

    async def close(self) -> None:
        await self.writer.loop.run_in_executor(None, self.refusals.close)

    async def in_thread(self, work: Callable, *arguments: object) -> Any:
        return await self.writer.loop.run_in_executor(self.threads, with_live_connection, work, *arguments)

    async def refuse(self, status: int, detail: str, seconds: int, headers: Headers, send: Send) -> None:
        headers = [PROBLEM, (b"retry-after", b"%d" % seconds), *headers]
        await self.answer(status, self.problem(status, detail), headers, send)

    async def answer(self, status: int, body: bytes, headers: Headers, send: Send) -> None:
        headers = [*self.headers, *headers, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def header_lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])


def take_readings(post: PostHead, target: Target, body: bytes, now: datetime) -> Intake:
    """Decode readings of one device. Raises InvalidItems, BatchTooLong."""
    if post.is_batch:
        return take_batch(target, body, now, skip_bad=post.is_partial, unit=post.unit)
    return take_one(target, body, now, unit=post.unit)


def take_at_once(post: PostHead, target: Target, body: bytes, now: datetime) -> Intake:
    """Do the same on the event loop. Raises NeedsThread, too."""
    if post.is_batch:
        return take_batch_at_once(target, body, now, unit=post.unit)
    return take_one(target, body, now, unit=post.unit)


def with_live_connection(work: Callable, *arguments: object) -> Any:
    """Check this thread's connections first, as Django does at the start of a request."""
    close_old_connections()
    return work(*arguments)
