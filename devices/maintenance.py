"""Periodic jobs on readings and Idempotency-Keys. Each may run twice, also at the same time."""

from datetime import datetime, timedelta

from django.db import connection

from devices import storage
from devices.locks import AdvisoryLock, single_run
from devices.models import Erasure
from devices.storage import change_log

# A request accepted before its device was erased may store a reading up to LATE_REQUESTS later.
LATE_REQUESTS = timedelta(minutes=10)
KEYS_KEPT = timedelta(days=7)
KEY_BATCH = 10_000


def erase_readings(now: datetime) -> int:
    """Delete the readings of erased devices; return their number."""
    total = 0
    with single_run(AdvisoryLock.ERASE_READINGS) as is_ours:
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
    with single_run(AdvisoryLock.FORGET_KEYS) as is_ours:
        while is_ours:
            with connection.cursor() as cursor:
                cursor.execute(step, [now - KEYS_KEPT, KEY_BATCH])
                total += cursor.rowcount
                if cursor.rowcount < KEY_BATCH:
                    break
    return total


def compact_changes() -> int:
    """Bound the change log by merging entries; return the number of entries that were merged away."""
    with single_run(AdvisoryLock.COMPACT_CHANGES) as is_ours:
        return change_log.compact() if is_ours else 0
