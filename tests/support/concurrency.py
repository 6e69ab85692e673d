"""Concurrency in tests: jobs on threads, and further connections to the database.

They see committed rows only, so tests need `django_db(transaction=True)`.
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
    """Run the job on `times` threads, starting all at once; return the results."""
    barrier = Barrier(times)

    def run(_: int) -> Any:
        connection.ensure_connection()
        barrier.wait(timeout=60)
        return job()

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(own_connection(run), range(times)))


def own_connection(job: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a job for a thread, so that it closes its database connections at the end."""

    def run(*arguments: Any) -> Any:
        try:
            return job(*arguments)
        finally:
            connections.close_all()

    return run


def wait_until_blocked() -> None:
    """Wait until another connection's statement is blocked by this one's transaction."""
    deadline = time.monotonic() + 10
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT FROM pg_locks WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))")
            if cursor.rowcount:
                return
            time.sleep(0.01)
    pytest.fail("No statement was blocked within 10 s.")


@contextmanager
def another_connection() -> Iterator[Any]:
    """A cursor on a second connection to the test database."""
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
        # Explicitly, as the server notices a closed connection only later.
        cursor.execute("SELECT pg_advisory_unlock(%s)", [lock])
