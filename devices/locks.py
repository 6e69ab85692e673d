"""PostgreSQL's advisory locks, all in one list: two jobs with the same number would shut each other out."""

import enum
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@enum.unique
class AdvisoryLock(enum.IntEnum):
    """Numbers stay as they are: an old and a new version run side by side during an upgrade."""

    # `migrate` takes it, in each database.
    MIGRATE = 7_586_201
    # Whoever makes a partition of the readings table takes it.
    MAKE_PARTITION = 7_586_202
    # The job that deletes the readings of erased devices takes it.
    ERASE_READINGS = 7_586_203
    # The job that queues lost analyses and calculations again takes it.
    RECONCILE_RUNS = 7_586_204
    # The job that deletes old Idempotency-Keys takes it.
    FORGET_KEYS = 7_586_205
    # The job that bounds the change log takes it.
    COMPACT_CHANGES = 7_586_206
    # Whoever appends events to the logs in ClickHouse takes it.
    APPEND_EVENTS = 7_586_207
    # The job that brings events from the outbox into the logs takes it.
    DELIVER_EVENTS = 7_586_208
    # `copy_readings` takes it: two at a time would each bring what is missing.
    COPY_READINGS = 7_586_230
    # Whoever builds a device's segments takes it: the first of two keys, the second is the device's number.
    BUILD_SEGMENTS = 75_862


@contextmanager
def single_run(lock: AdvisoryLock) -> Iterator[bool]:
    """Whether this process got the advisory lock; another that holds it does the job already."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [lock])
        is_ours = cursor.fetchone()[0]
    try:
        yield is_ours
    finally:
        if is_ours:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [lock])
