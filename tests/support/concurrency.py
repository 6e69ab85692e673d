"""Two at the same moment: jobs on threads, and other connections to the database.

What they are to see must be committed, as in tests with `django_db(transaction=True)`.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, connections

from devices.locks import AdvisoryLock


def at_the_same_time(job: Callable[[], Any], *, times: int) -> list[Any]:
    """What `times` runs of the job return, none of which begins before all are ready."""
    barrier = Barrier(times)

    def run(_: int) -> Any:
        connection.ensure_connection()
        barrier.wait(timeout=10)
        return job()

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(own_connection(run), range(times)))


def own_connection(job: Callable[..., Any]) -> Callable[..., Any]:
    """The job, for a thread: its connections are closed behind it."""

    def run(*arguments: Any) -> Any:
        try:
            return job(*arguments)
        finally:
            connections.close_all()

    return run


def wait_until_blocked() -> None:
    """Until a statement of another connection waits for this one's transaction."""
    deadline = time.monotonic() + 10
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT FROM pg_locks WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))")
            if cursor.rowcount:
                return
            time.sleep(0.01)
    pytest.fail("Nobody waits.")


@contextmanager
def another_connection() -> Iterator[Any]:
    """A cursor on a second connection to the database of the tests."""
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            yield cursor
    finally:
        other.close()


@contextmanager
def held_by_another(lock: AdvisoryLock) -> Iterator[None]:
    """An advisory lock, held by another connection."""
    with another_connection() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [lock])
        yield
        # Not by the end of the connection, which the server notices later.
        cursor.execute("SELECT pg_advisory_unlock(%s)", [lock])
