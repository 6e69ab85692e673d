"""Group commit: the rows of all requests that are under way go into one COPY and one commit.

A request is answered only after its rows are committed. While one group is being written the next gathers,
so groups grow with the load by themselves. A second group is written at the same time only while commits are
slow: on a fast disk it would merely make groups smaller.
"""

import asyncio
import concurrent.futures
import logging
import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import psycopg2
from django.db import DatabaseError, InterfaceError, connection, transaction

from devices import storage
from devices.ingestion.idempotency import (
    IdempotencyClaim,
    Outcome,
    first_receipt,
)
from devices.ingestion.intake import Intake
from devices.storage import interface

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
STATEMENT_TIMEOUT_MS = 20_000
LOCK_TIMEOUT_MS = 2_000


class NotStored(Exception):
    """The rows were not stored, or nobody can say: to be sent again, best with an Idempotency-Key."""


Settle = Callable[[Outcome], None]


@dataclass(slots=True, eq=False)
class PendingWrite:
    taken: Intake
    once: IdempotencyClaim | None
    settle: Settle | None = field(default=None, repr=False)


Outcomes = list[Outcome]
# Of the portal's database, or of where the readings are.
AWAY = (psycopg2.Error, DatabaseError, InterfaceError, interface.StorageUnavailable)


class Flusher:
    """One connection of its own and the thread that uses it."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="flusher")
        self.connection: Any = None
        self.used_at = 0.0

    def flush(self, requests: Sequence[PendingWrite]) -> Outcomes:
        """Write the group; an outcome for each request, in their order."""
        plain = [request for request in requests if request.once is None]
        keyed = [request for request in requests if request.once is not None]
        # Each has a commit of its own: what becomes of the second is nothing to those of the first.
        outcomes = dict(zip(map(id, plain), self.attempt(self.write_plain, plain), strict=True))
        outcomes |= dict(zip(map(id, keyed), self.attempt(self.in_transaction, keyed), strict=True))
        return [outcomes[id(request)] for request in requests]

    def attempt(
        self, write: Callable[[Sequence[PendingWrite]], Outcomes], requests: Sequence[PendingWrite]
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
            return [NotStored("The database did not confirm.")] * len(requests)
        self.used_at = time.monotonic()
        return outcomes

    def write_plain(self, requests: Sequence[PendingWrite]) -> Outcomes:
        try:
            storage.current().put(self.connection, [request.taken.rows for request in requests])
        except psycopg2.IntegrityError as error:
            if len(requests) == 1:
                return [error]
            # One request's rows are refused: the others must not suffer for them.
            return [outcome for request in requests for outcome in self.write_plain([request])]
        return [request.taken.receipt for request in requests]

    def in_transaction(self, requests: Sequence[PendingWrite]) -> Outcomes:
        self.connection.autocommit = False
        try:
            return self.write_once(requests)
        except interface.RepeatTransaction:
            return self.write_once(requests)
        finally:
            if not self.connection.closed:
                self.connection.autocommit = True

    def write_once(self, requests: Sequence[PendingWrite]) -> Outcomes:
        with self.connection, self.connection.cursor() as cursor:
            return write_claimed(cursor, requests)

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


def write_claimed(cursor: Any, requests: Sequence[PendingWrite]) -> Outcomes:
    """Within a transaction: store each Idempotency-Key's first use; later uses get the first receipt."""
    first: dict[tuple[str, str], PendingWrite] = {}
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
    if stored:
        tokens = [request.once.token for request in stored]
        storage.current().put(cursor.connection, [request.taken.rows for request in stored], tokens)
    cursor.execute(
        "SELECT holder, key, digest, receipt FROM devices_idempotencykey WHERE (holder, key) IN %s",
        [tuple(first)],
    )
    known = {
        (holder, key): (bytes(digest), bytes(receipt)) for holder, key, digest, receipt in cursor.fetchall()
    }
    return [first_receipt(request.once, *known[request.once[:2]]) for request in requests]


class GroupCommit:
    """The group commit of one server process. All but `store_from_thread` belongs to its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: deque[PendingWrite] = deque()
        self.waiting_bytes = 0
        self.idle = [Flusher() for _ in range(FLUSHERS)]
        self.commit_seconds = 0.0
        self.tasks: set[asyncio.Task] = set()
        # While the last group was written others came.
        self.has_company = False
        self.patience: asyncio.TimerHandle | None = None

    async def store(self, taken: Intake, once: IdempotencyClaim | None) -> dict[str, Any]:
        """The receipt, once the rows are committed. Raises Unavailable, KeyConflict."""
        if not taken.rows.payload and once is None:
            return taken.receipt
        answer = self.loop.create_future()
        self.submit(taken, once, partial(settle_future, answer))
        return await answer

    def submit(self, taken: Intake, once: IdempotencyClaim | None, settle: Settle) -> None:
        """Have the rows stored; `settle` is called with the outcome. Raises Unavailable."""
        size = len(taken.rows.payload)
        if self.waiting_bytes + size > MAX_WAITING_BYTES:
            raise NotStored("Too many readings wait to be stored.")
        self.waiting.append(PendingWrite(taken, once, settle))
        self.waiting_bytes += size
        if len(self.waiting) == 1 or self.patience is not None:
            # What else this turn of the loop brings is to be in the group.
            self.loop.call_soon(self.start)

    def store_from_thread(self, taken: Intake, once: IdempotencyClaim | None) -> dict[str, Any]:
        """As `store`. Raises Unavailable, KeyConflict."""
        if not taken.rows.payload and once is None:
            return taken.receipt
        answer: concurrent.futures.Future = concurrent.futures.Future()
        self.loop.call_soon_threadsafe(self.submit_or_refuse, taken, once, partial(settle_future, answer))
        return answer.result()

    def submit_or_refuse(self, taken: Intake, once: IdempotencyClaim | None, settle: Settle) -> None:
        try:
            self.submit(taken, once, settle)
        except NotStored as error:
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

    def next_group(self) -> list[PendingWrite]:
        group, size = [], 0
        while self.waiting and size < MAX_GROUP_BYTES:
            request = self.waiting.popleft()
            size += len(request.taken.rows.payload)
            group.append(request)
        self.waiting_bytes -= size
        return group

    async def flush(self, flusher: Flusher, group: list[PendingWrite]) -> None:
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
current: GroupCommit | None = None


def store_now(taken: Intake, once: IdempotencyClaim | None = None) -> dict[str, Any]:
    """From a thread of the server through its group commit, elsewhere on Django's own connection.

    The receipt, once the rows are committed. Raises Unavailable, KeyConflict.
    """
    if current is not None:
        return current.store_from_thread(taken, once)
    if once is None:
        storage.current().append(taken.rows)
        return taken.receipt
    try:
        outcome = store_claimed(taken, once)
    except interface.RepeatTransaction:
        outcome = store_claimed(taken, once)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def store_claimed(taken: Intake, once: IdempotencyClaim) -> Outcome:
    with transaction.atomic(), connection.cursor() as cursor:
        return write_claimed(cursor, [PendingWrite(taken, once)])[0]
