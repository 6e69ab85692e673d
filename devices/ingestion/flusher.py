"""Stores a group of requests, on a thread and a connection of its own."""

import logging
import select
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import psycopg2
from django.db import DatabaseError, InterfaceError, connection

from devices import storage
from devices.ingestion.idempotency import IdempotencyClaim, write_claimed
from devices.ingestion.intake import Intake
from devices.storage.interface import RepeatTransaction, StorageUnavailable

logger = logging.getLogger(__name__)

# A connection that was idle for longer is probed before readings are sent through it.
IDLE_SECONDS = 0.5
STATEMENT_TIMEOUT_MS = 20_000
LOCK_TIMEOUT_MS = 2_000
# Errors of the portal's database, or of the storage of readings, that say nothing about the rows.
AWAY = (psycopg2.Error, DatabaseError, InterfaceError, StorageUnavailable)


class NotStored(Exception):
    """The rows were not stored, or that is unknown: to be sent again, best with an Idempotency-Key."""


# The receipt, the request's own or the first one of its Idempotency-Key; or why nothing was stored.
Outcome = dict[str, Any] | Exception
Outcomes = list[Outcome]
Settle = Callable[[Outcome], None]
Claim = TypeVar("Claim", bound=IdempotencyClaim | None)


def ignore_outcome(_: Outcome) -> None:
    pass


@dataclass(slots=True, eq=False)
class PendingWrite(Generic[Claim]):
    """An intake that waits to be stored; `settle` is called with the outcome."""

    taken: Intake
    once: Claim
    settle: Settle = field(default=ignore_outcome, repr=False)
    # The rows are committed. False if an earlier request had stored them under the same Idempotency-Key.
    is_stored: bool = False


class Flusher:
    """Writes groups of requests, one after the other, on a connection of its own."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="flusher")
        self.connection: Any = None
        self.used_at = 0.0

    def flush(self, requests: Sequence[PendingWrite]) -> Outcomes:
        """Write the group; returns an outcome for each request, in their order."""
        plain = [request for request in requests if request.once is None]
        claimed = [request for request in requests if request.once is not None]
        # Two commits: a failure of one leaves the other's requests alone.
        outcomes = dict(zip(map(id, plain), self.attempt(self.write_plain, plain), strict=True))
        outcomes |= dict(zip(map(id, claimed), self.attempt(self.write_claimed, claimed), strict=True))
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
        except Exception as error:  # the waiting requests must be answered after any error
            # The rows may be committed or not, so this server never sends them again.
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
            # The rows of one request were refused: store the others without it.
            return [outcome for request in requests for outcome in self.write_plain([request])]
        for request in requests:
            request.is_stored = True
        return [request.taken.receipt for request in requests]

    def write_claimed(self, requests: Sequence[PendingWrite]) -> Outcomes:
        self.connection.autocommit = False
        try:
            return self.in_transaction(requests)
        except RepeatTransaction:
            return self.in_transaction(requests)
        finally:
            if not self.connection.closed:
                self.connection.autocommit = True

    def in_transaction(self, requests: Sequence[PendingWrite]) -> Outcomes:
        with self.connection, self.connection.cursor() as cursor:
            outcomes, stored = write_claimed(cursor, requests)
        for request in stored:
            request.is_stored = True
        return outcomes

    def connect(self) -> None:
        if self.connection is not None and not self.is_alive():
            self.disconnect()
        if self.connection is None:
            self.connection = psycopg2.connect(**connection.get_connection_params())
            self.connection.autocommit = True
            with self.connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = %s", [STATEMENT_TIMEOUT_MS])
                # A key that another transaction has locked must not hold up all other readings.
                cursor.execute("SET lock_timeout = %s", [LOCK_TIMEOUT_MS])

    def is_alive(self) -> bool:
        # An idle connection becomes readable only by its end, as when the server has just restarted.
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
