"""PostgreSQL's advisory locks, all in one list: two jobs with the same number would block each other."""

import enum
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@enum.unique
class AdvisoryLock(enum.IntEnum):
    """The locks' numbers. Never change one: during an upgrade an old and a new version run side by side."""

    # Taken by `migrate`, in each database.
    MIGRATE = 7_586_201
    # Taken to create a partition of the readings table.
    MAKE_PARTITION = 7_586_202
    # Taken by the job that deletes the readings of erased devices.
    ERASE_READINGS = 7_586_203
    # Taken by the job that queues lost analyses and calculations again.
    RECONCILE_RUNS = 7_586_204
    # Taken by the job that deletes old Idempotency-Keys.
    FORGET_KEYS = 7_586_205
    # Taken by the job that bounds the change log.
    COMPACT_CHANGES = 7_586_206
    # Taken to append events to the logs in ClickHouse.
    APPEND_EVENTS = 7_586_207
    # Taken by the job that moves events from the outbox to the logs.
    DELIVER_EVENTS = 7_586_208
    # Taken by the job that deletes analyses whose results have expired.
    EXPIRE_RESULTS = 7_586_209
    # Taken for a turn of work on uploaded files: two would not see each other's readings.
    RUN_IMPORTS = 7_586_210
    # Taken by the job that queues lost imports again.
    RECONCILE_IMPORTS = 7_586_211
    # Taken by the job that deletes the rows of old imports.
    FORGET_IMPORTS = 7_586_212
    # Taken by `copy_readings`: two at a time would both copy the missing readings.
    COPY_READINGS = 7_586_230
    # Taken to count the open runs of a person: the first of two keys; the second is the user's id.
    PERSONS_RUNS = 75_863
    # Taken to count the devices of an owner: the first of two keys; the second is the user's id.
    OWNERS_DEVICES = 75_864
    # Taken to build a device's segments: the first of two keys; the second is the device's id.
    BUILD_SEGMENTS = 75_862


@contextmanager
def single_run(lock: AdvisoryLock, *part: int) -> Iterator[bool]:
    """Try to take the advisory lock; yield False if another process holds it and does the job already.

    A `part` is a second key of 32 bits, such as a device's id: then the job is single for that part only.
    """
    keys = [lock, *part]
    arguments = ", ".join(["%s"] * len(keys))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_try_advisory_lock({arguments})", keys)
        is_ours = cursor.fetchone()[0]
    try:
        yield is_ours
    finally:
        if is_ours:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT pg_advisory_unlock({arguments})", keys)
