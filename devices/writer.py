"""Group commit: the rows of all requests that are under way go into one COPY and one commit.

A request is answered only after its rows are committed. While one group is being written the next gathers,
so groups grow with the load by themselves. A second group is written at the same time only while commits are
slow: on a fast disk it would merely make groups smaller.
"""

import asyncio
import concurrent.futures
import hashlib
import logging
import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import msgspec
import psycopg2
from django.db import DatabaseError, InterfaceError, close_old_connections, connection, transaction

from devices import journal, storage, store
from devices.ingest import Taken

logger = logging.getLogger(__name__)

# Readings that may wait in one process; beyond it a request is answered 503 at once.
MAX_WAITING_BYTES = 32 * 1024 * 1024
MAX_GROUP_BYTES = 8 * 1024 * 1024
SLOW_COMMIT_SECONDS = 0.004
# What a byte of rows costs beside the commit, about.
COPY_SECONDS = 50e-9
FLUSHERS = 2
# So much is worth a second COPY at the same time. Of large requests several must wait for it: up to a quarter
# of a COPY of 1,000 rows is bookkeeping that further rows do not need again.
LARGE_BYTES = 100 * 1024
# So a single large request waits a moment for another, where others are about.
ALONE_BYTES = 32 * 1024
PATIENCE_SECONDS = 0.001
# A connection that lay idle for longer is tried before readings are entrusted to it.
IDLE_SECONDS = 0.5
MAX_KEY = 255
STATEMENT_TIMEOUT_MS = 20_000
LOCK_TIMEOUT_MS = 2_000


class Unavailable(Exception):
    """The rows were not stored, or nobody can say: to be sent again, best with an Idempotency-Key."""


class KeyConflict(Exception):
    """The Idempotency-Key was used for another body."""


class Once(NamedTuple):
    """An Idempotency-Key: whose, which, and a digest of the path and the body that it stands for."""

    holder: str
    key: str
    digest: bytes

    @classmethod
    def of(cls, holder: str, key: str, path: str, body: bytes) -> "Once":
        return cls(holder, key, hashlib.sha256(path.rstrip("/").encode() + b"\0" + body).digest())

    @property
    def token(self) -> str:
        """For a storage that cannot store the rows in the transaction that keeps the key."""
        return hashlib.sha256(b"\0".join((self.holder.encode(), self.key.encode(), self.digest))).hexdigest()


def is_key(text: str) -> bool:
    """Whether the text may be an Idempotency-Key."""
    return 0 < len(text) <= MAX_KEY and text.isascii() and text.isprintable()


# The request's own receipt or the first one of its Idempotency-Key; or why it was not stored.
Outcome = dict[str, Any] | Exception
Settle = Callable[[Outcome], None]


@dataclass(slots=True)
class Later:
    """What a view that must not wait leaves to be stored before its answer is sent."""

    taken: Taken | None = None
    once: Once | None = None


@dataclass(slots=True, eq=False)
class Request:
    taken: Taken
    once: Once | None
    settle: Settle | None = field(default=None, repr=False)


Outcomes = list[Outcome]
# Of the portal's database, or of where the readings are.
AWAY = (psycopg2.Error, DatabaseError, InterfaceError, storage.Unavailable)


class Flusher:
    """One connection of its own and the thread that uses it."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="flusher")
        self.connection: Any = None
        self.used_at = 0.0

    def flush(self, requests: Sequence[Request]) -> Outcomes:
        """Write the group; an outcome for each request, in their order."""
        plain = [request for request in requests if request.once is None]
        keyed = [request for request in requests if request.once is not None]
        # Each has a commit of its own: what becomes of the second is nothing to those of the first.
        outcomes = dict(zip(map(id, plain), self.attempt(self.write_plain, plain), strict=True))
        outcomes |= dict(zip(map(id, keyed), self.attempt(self.in_transaction, keyed), strict=True))
        return [outcomes[id(request)] for request in requests]

    def attempt(
        self, write: Callable[[Sequence[Request]], Outcomes], requests: Sequence[Request]
    ) -> Outcomes:
        if not requests:
            return []
        try:
            self.connect()
            outcomes = write(requests)
        except psycopg2.IntegrityError as error:
            return [error] * len(requests)
        except Exception as error:  # whatever it is, it is for the requests that wait
            # Whether the rows were stored nobody can know, so they are never sent again from here.
            is_new = not isinstance(error, AWAY)
            logger.warning("A group of %d requests was not stored: %s", len(requests), error, exc_info=is_new)
            self.disconnect()
            return [Unavailable("The database did not confirm.")] * len(requests)
        self.used_at = time.monotonic()
        return outcomes

    def write_plain(self, requests: Sequence[Request]) -> Outcomes:
        try:
            with self.connection.cursor() as cursor:
                late = late_rows(cursor, requests)
                if not late:
                    put(cursor, requests)
            if late:
                # Begins a transaction: late readings are noted in the one that stores them.
                with self.connection, self.connection.cursor() as cursor:
                    store.note_late(cursor, late)
                    put(cursor, requests)
        except psycopg2.IntegrityError as error:
            if store.lacks_partition(error):
                make_partitions(requests)
                return self.write_plain(requests)
            if len(requests) == 1:
                raise
            # One request's rows are refused: the others must not suffer for them.
            return [outcome for request in requests for outcome in self.write_alone(request)]
        return [request.taken.receipt for request in requests]

    def write_alone(self, request: Request) -> Outcomes:
        try:
            return self.write_plain([request])
        except psycopg2.IntegrityError as error:
            return [error]

    def in_transaction(self, requests: Sequence[Request]) -> Outcomes:
        self.connection.autocommit = False
        try:
            with self.connection, self.connection.cursor() as cursor:
                return write_once(cursor, requests)
        except psycopg2.IntegrityError as error:
            if not store.lacks_partition(error):
                raise
            make_partitions(requests)
            with self.connection, self.connection.cursor() as cursor:
                return write_once(cursor, requests)
        finally:
            if not self.connection.closed:
                self.connection.autocommit = True

    def connect(self) -> None:
        if self.connection is not None and not self.is_alive():
            self.disconnect()
        if self.connection is None:
            self.connection = psycopg2.connect(**connection.get_connection_params())
            self.connection.autocommit = True
            with self.connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = %s", [STATEMENT_TIMEOUT_MS])
                # Somebody's key that another transaction holds must not hold up everybody's readings.
                cursor.execute("SET lock_timeout = %s", [LOCK_TIMEOUT_MS])

    def is_alive(self) -> bool:
        # An idle connection has nothing to read but its end, such as of a server that restarted just now.
        waiting = select.poll()
        waiting.register(self.connection, select.POLLIN)
        if waiting.poll(0):
            return False
        if time.monotonic() - self.used_at > IDLE_SECONDS:
            try:
                with self.connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
            except psycopg2.Error:
                return False
        return True

    def disconnect(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None


def put(cursor: Any, requests: Sequence[Request], tokens: Sequence[str] | None = None) -> None:
    storage.current().put(cursor, [request.taken.rows for request in requests], tokens)


def late_rows(cursor: Any, requests: Sequence[Request]) -> list[store.Rows]:
    rows = (request.taken.rows for request in requests)
    return store.late(rows, journal.late_before(cursor))


def make_partitions(requests: Sequence[Request]) -> None:
    """On this thread's connection of Django's, which nobody else checks: its last use may be months ago."""
    close_old_connections()
    store.make_partitions_for([stamp for request in requests for stamp in request.taken.rows.times])


def write_once(cursor: Any, requests: Sequence[Request]) -> Outcomes:
    """Within a transaction: store each Idempotency-Key's first use; later uses get the first receipt."""
    first: dict[tuple[str, str], Request] = {}
    for request in requests:
        first.setdefault(request.once[:2], request)
    # In one order everywhere: two groups that wait for each other's keys would be a deadlock.
    rows = [
        (*at, first[at].once.digest, msgspec.json.encode(first[at].taken.receipt)) for at in sorted(first)
    ]
    cursor.execute(
        "INSERT INTO devices_idempotencykey (holder, key, digest, receipt, created_at)"
        f" VALUES {', '.join(['(%s, %s, %s, %s, now())'] * len(rows))}"
        " ON CONFLICT DO NOTHING RETURNING holder, key",
        [value for row in rows for value in row],
    )
    new = set(cursor.fetchall())
    stored = [request for at, request in first.items() if at in new]
    store.note_late(cursor, late_rows(cursor, stored))
    put(cursor, stored, [request.once.token for request in stored])
    cursor.execute(
        "SELECT holder, key, digest, receipt FROM devices_idempotencykey WHERE (holder, key) IN %s",
        [tuple(first)],
    )
    known = {
        (holder, key): (bytes(digest), bytes(receipt)) for holder, key, digest, receipt in cursor.fetchall()
    }
    return [first_receipt(request.once, *known[request.once[:2]]) for request in requests]


def first_receipt(once: Once, digest: bytes, receipt: bytes) -> Outcome:
    if digest != once.digest:
        return KeyConflict("This Idempotency-Key was used for another request.")
    return msgspec.json.decode(receipt)


class Writer:
    """The group commit of one server process. All but `store_from_thread` belongs to its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: deque[Request] = deque()
        self.waiting_bytes = 0
        self.idle = [Flusher() for _ in range(FLUSHERS)]
        self.commit_seconds = 0.0
        self.tasks: set[asyncio.Task] = set()
        # While the last group was written others came.
        self.has_company = False
        self.patience: asyncio.TimerHandle | None = None

    async def store(self, taken: Taken, once: Once | None) -> dict[str, Any]:
        """The receipt, once the rows are committed. Raises Unavailable, KeyConflict."""
        if not taken.rows.payload and once is None:
            return taken.receipt
        answer = self.loop.create_future()
        self.submit(taken, once, partial(settle_future, answer))
        return await answer

    def submit(self, taken: Taken, once: Once | None, settle: Settle) -> None:
        """Have the rows stored; `settle` is called with the outcome. Raises Unavailable."""
        size = len(taken.rows.payload)
        if self.waiting_bytes + size > MAX_WAITING_BYTES:
            raise Unavailable("Too many readings wait to be stored.")
        self.waiting.append(Request(taken, once, settle))
        self.waiting_bytes += size
        if len(self.waiting) == 1 or self.patience is not None:
            # What else this turn of the loop brings is to be in the group.
            self.loop.call_soon(self.start)

    def store_from_thread(self, taken: Taken, once: Once | None) -> dict[str, Any]:
        """As `store`. Raises Unavailable, KeyConflict."""
        if not taken.rows.payload and once is None:
            return taken.receipt
        answer: concurrent.futures.Future = concurrent.futures.Future()
        self.loop.call_soon_threadsafe(self.submit_or_refuse, taken, once, partial(settle_future, answer))
        return answer.result()

    def submit_or_refuse(self, taken: Taken, once: Once | None, settle: Settle) -> None:
        try:
            self.submit(taken, once, settle)
        except Unavailable as error:
            settle(error)

    def start(self) -> None:
        if self.has_company and ALONE_BYTES <= self.waiting_bytes < LARGE_BYTES:
            self.patience = self.patience or self.loop.call_later(PATIENCE_SECONDS, self.start_now)
        else:
            self.start_now()

    def start_now(self) -> None:
        if self.patience is not None:
            self.patience.cancel()
            self.patience = None
        while self.waiting and self.idle and (len(self.idle) == FLUSHERS or self.needs_second):
            task = self.loop.create_task(self.flush(self.idle.pop(), self.next_group()))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    @property
    def needs_second(self) -> bool:
        return self.commit_seconds > SLOW_COMMIT_SECONDS or self.waiting_bytes >= LARGE_BYTES

    def next_group(self) -> list[Request]:
        group, size = [], 0
        while self.waiting and size < MAX_GROUP_BYTES:
            request = self.waiting.popleft()
            size += len(request.taken.rows.payload)
            group.append(request)
        self.waiting_bytes -= size
        return group

    async def flush(self, flusher: Flusher, group: list[Request]) -> None:
        began = time.perf_counter()
        outcomes = await self.loop.run_in_executor(flusher.executor, flusher.flush, group)
        seconds = time.perf_counter() - began - COPY_SECONDS * sum(len(r.taken.rows.payload) for r in group)
        self.commit_seconds += 0.2 * (seconds - self.commit_seconds)
        self.idle.append(flusher)
        self.has_company = len(group) > 1 or bool(self.waiting)
        for request, outcome in zip(group, outcomes, strict=True):
            request.settle(outcome)
        self.start()

    async def close(self) -> None:
        """Write what waits, then let go of the connections."""
        self.start_now()
        while self.tasks:
            await asyncio.wait(self.tasks)
        for flusher in self.idle:
            await self.loop.run_in_executor(flusher.executor, flusher.disconnect)
            flusher.executor.shutdown()


def settle_future(answer: asyncio.Future | concurrent.futures.Future, outcome: Outcome) -> None:
    if answer.done():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


# The server process's writer; none in commands, tasks and tests without a server.
current: Writer | None = None


def store_now(taken: Taken, once: Once | None = None) -> dict[str, Any]:
    """From a thread of the server through its group commit, elsewhere on Django's own connection.

    The receipt, once the rows are committed. Raises Unavailable, KeyConflict.
    """
    if current is not None:
        return current.store_from_thread(taken, once)
    if once is None:
        storage.current().append(taken.rows)
        return taken.receipt
    storage.current().expect(taken.rows)
    with transaction.atomic(), connection.cursor() as cursor:
        outcome = write_once(cursor, [Request(taken, once)])[0]
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
