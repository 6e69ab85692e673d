"""Group commit: the rows of all requests under way go into one COPY and one commit.

A request is answered only after its rows are committed. While one group is written the next one gathers, so
groups grow with the load. A second group is written at the same time only while commits are slow: on a fast
disk it would merely make groups smaller.
"""

import asyncio
import concurrent.futures
import time
from collections import deque
from functools import partial
from typing import Any

from django.db import connection, transaction

from devices import storage
from devices.ingestion import stored
from devices.ingestion.flusher import Flusher, NotStored, Outcome, PendingWrite, Settle
from devices.ingestion.idempotency import IdempotencyClaim, write_claimed
from devices.ingestion.intake import Intake
from devices.storage.interface import RepeatTransaction

# Rows that may wait in one process; beyond that a request is answered 503 at once.
MAX_WAITING_BYTES = 32 * 1024 * 1024
MAX_GROUP_BYTES = 8 * 1024 * 1024
FLUSHERS = 2
SLOW_COMMIT_SECONDS = 0.004
# The cost of a byte of rows beside the commit, approximately.
COPY_SECONDS = 50e-9
# LARGE_BYTES of waiting rows are worth a second COPY at the same time, no fewer: up to a quarter of a COPY of
# 1,000 rows is bookkeeping that further rows do not need again.
LARGE_BYTES = 100 * 1024
# With ALONE_BYTES waiting, a request waits PATIENCE_SECONDS for company if others were about.
ALONE_BYTES = 32 * 1024
PATIENCE_SECONDS = 0.001
# The share of the latest commit in the mean of `commit_seconds`.
LATEST_SHARE = 0.2


class GroupCommit:
    """The group commit of one server process. Only `store_from_thread` may be called off its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: deque[PendingWrite] = deque()
        self.waiting_bytes = 0
        self.idle = [Flusher() for _ in range(FLUSHERS)]
        self.commit_seconds = 0.0
        self.tasks: set[asyncio.Task] = set()
        # Other requests came while the last group was written.
        self.has_company = False
        self.patience: asyncio.TimerHandle | None = None
        self.listeners = stored.ListenerThread()

    async def store(self, intake: Intake, claim: IdempotencyClaim | None) -> dict[str, Any]:
        """Return the receipt once the rows are committed. Raises NotStored, IdempotencyConflict."""
        if not intake.rows.payload and claim is None:
            return intake.receipt
        answer = self.loop.create_future()
        self.submit(intake, claim, partial(settle_future, answer))
        return await answer

    def submit(self, intake: Intake, claim: IdempotencyClaim | None, settle: Settle) -> None:
        """Queue the rows; `settle` is called with the outcome. Raises NotStored."""
        size = len(intake.rows.payload)
        if self.waiting_bytes + size > MAX_WAITING_BYTES:
            raise NotStored("Too many readings wait to be stored.")
        self.waiting.append(PendingWrite(intake, claim, settle))
        self.waiting_bytes += size
        if len(self.waiting) == 1 or self.patience is not None:
            # Not now: requests that this turn of the loop still brings belong to the same group.
            self.loop.call_soon(self.start)

    def store_from_thread(self, intake: Intake, claim: IdempotencyClaim | None) -> dict[str, Any]:
        if not intake.rows.payload and claim is None:
            return intake.receipt
        answer: concurrent.futures.Future = concurrent.futures.Future()
        self.loop.call_soon_threadsafe(self.submit_or_refuse, intake, claim, partial(settle_future, answer))
        return answer.result()

    def submit_or_refuse(self, intake: Intake, claim: IdempotencyClaim | None, settle: Settle) -> None:
        try:
            self.submit(intake, claim, settle)
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
        self.commit_seconds += LATEST_SHARE * (seconds - self.commit_seconds)
        self.idle.append(flusher)
        self.has_company = len(group) > 1 or bool(self.waiting)
        for request, outcome in zip(group, outcomes, strict=True):
            request.settle(outcome)
        if stored.LISTENERS:
            self.listeners.call([request.taken.rows for request in group if request.is_stored])
        self.start()

    async def close(self) -> None:
        self.start_now()
        while self.tasks:
            await asyncio.wait(self.tasks)
        for flusher in self.idle:
            await self.loop.run_in_executor(flusher.executor, flusher.disconnect)
            flusher.executor.shutdown()
        await self.loop.run_in_executor(None, self.listeners.close)


def settle_future(answer: asyncio.Future | concurrent.futures.Future, outcome: Outcome) -> None:
    if answer.done():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


# The group commit of this server process; None in commands, tasks and tests without a server.
current: GroupCommit | None = None


def store_now(intake: Intake, claim: IdempotencyClaim | None = None) -> dict[str, Any]:
    """Store from a thread: of a server through its group commit, elsewhere on Django's own connection.

    Returns the receipt once the rows are committed. Raises NotStored, IdempotencyConflict.
    """
    if current is not None:
        return current.store_from_thread(intake, claim)
    if claim is None:
        storage.current().append(intake.rows)
        stored.call_after_commit([intake.rows])
        return intake.receipt
    try:
        outcome = store_claimed(intake, claim)
    except RepeatTransaction:
        outcome = store_claimed(intake, claim)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def store_claimed(intake: Intake, claim: IdempotencyClaim) -> Outcome:
    with transaction.atomic(), connection.cursor() as cursor:
        [outcome], new = write_claimed(cursor, [PendingWrite(intake, claim)])
        stored.call_after_commit([request.taken.rows for request in new])
    return outcome
