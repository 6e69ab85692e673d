"""Periodic jobs on readings and Idempotency-Keys. Each may run twice, also at the same time."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import connection

from devices import storage
from devices.models import Erasure
from devices.storage import change_log

ERASE_LOCK = 7_586_203
# A request accepted before its device was erased may store a reading up to LATE_REQUESTS later.
LATE_REQUESTS = timedelta(minutes=10)
KEYS_LOCK = 7_586_205
KEYS_KEPT = timedelta(days=7)
KEY_BATCH = 10_000
COMPACT_LOCK = 7_586_206


def erase_readings(now: datetime) -> int:
    """Delete the readings of erased devices; return their number."""
    total = 0
    with single_run(ERASE_LOCK) as is_ours:
        for erasure in Erasure.objects.all() if is_ours else ():
            total += storage.current().erase(erasure.device_id)
            if erasure.asked_at < now - LATE_REQUESTS:
                erasure.delete()
    return total


def forget_keys(now: datetime) -> int:
    """Delete Idempotency-Keys older than KEYS_KEPT in batches of KEY_BATCH; return their number."""
    step = """
        DELETE FROM devices_idempotencykey WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM devices_idempotencykey WHERE created_at < %s LIMIT %s
        ))
    """
    total = 0
    with single_run(KEYS_LOCK) as is_ours:
        while is_ours:
            with connection.cursor() as cursor:
                cursor.execute(step, [now - KEYS_KEPT, KEY_BATCH])
                total += cursor.rowcount
                if cursor.rowcount < KEY_BATCH:
                    break
    return total


def compact_changes() -> int:
    """Bound the change log by merging entries; return the number of entries that were merged away."""
    with single_run(COMPACT_LOCK) as is_ours:
        return change_log.compact() if is_ours else 0


@contextmanager
def single_run(lock: int) -> Iterator[bool]:
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
