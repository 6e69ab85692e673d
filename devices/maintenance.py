"""Periodic jobs on readings and Idempotency-Keys. Each may run twice, also at the same time."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction

from devices import storage
from devices.locks import AdvisoryLock, single_run
from devices.models import Device, Erasure
from devices.storage import change_log
from devices.timeline.periods import Period

# A request accepted before its device was erased may store a reading up to LATE_REQUESTS later.
LATE_REQUESTS = timedelta(minutes=10)
KEYS_KEPT = timedelta(days=7)
BIN_KEPT = timedelta(days=7)
KEY_BATCH = 10_000


def empty_bin(now: datetime) -> int:
    """Erase the devices that have been in the bin for BIN_KEPT; return their number."""
    devices = list(Device.everything.filter(binned_at__lt=now - BIN_KEPT))
    for device in devices:
        with transaction.atomic():
            # It may have been brought back meanwhile.
            locked = Device.everything.select_for_update().filter(pk=device.pk, binned_at=device.binned_at)
            for each in locked:
                each.erase()
    return len(devices)


def erase_readings(now: datetime) -> int:
    """Delete the readings of erased devices; return their number."""
    total = 0
    with single_run(AdvisoryLock.ERASE_READINGS) as is_ours:
        for erasure in Erasure.objects.all() if is_ours else ():
            total += erase_readings_of(erasure)
            if erasure.asked_at < now - LATE_REQUESTS:
                erasure.delete()
    return total


def erase_readings_of(erasure: Erasure) -> int:
    """Delete the readings, and write down how far it is; return their number."""
    if not erasure.readings:
        erasure.readings = storage.current().counts([erasure.device_id], Period())[erasure.device_id]
        erasure.save(update_fields=["readings"])

    def report(erased: int) -> None:
        Erasure.objects.filter(pk=erasure.pk).update(erased=erased)

    return storage.current().erase(erasure.device_id, report)


def forget_keys(now: datetime) -> int:
    """Delete Idempotency-Keys that are old, or too many of one holder; return their number."""
    with single_run(AdvisoryLock.FORGET_KEYS) as is_ours:
        if not is_ours:
            return 0
        total = delete_keys("created_at < %s", now - KEYS_KEPT)
        for holder, newest in holders_of_many_keys(settings.IDEMPOTENCY_KEYS):
            total += delete_keys("created_at <= %s AND holder = %s", newest, holder)
        return total


def delete_keys(condition: str, *parameters: str | datetime) -> int:
    """Delete the keys with this condition of SQL, KEY_BATCH at a time; return their number."""
    step = f"""
        DELETE FROM devices_idempotencykey WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM devices_idempotencykey WHERE {condition} LIMIT %s
        ))
    """
    total = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(step, [*parameters, KEY_BATCH])
            total += cursor.rowcount
            if cursor.rowcount < KEY_BATCH:
                return total


def holders_of_many_keys(most: int) -> list[tuple[str, datetime]]:
    """Holders of more than `most` keys, each with the time of the newest key beyond them."""
    many = """
        SELECT holder, (
            SELECT created_at FROM devices_idempotencykey k WHERE k.holder = h.holder
            ORDER BY created_at DESC OFFSET %s LIMIT 1
        )
        FROM devices_idempotencykey h GROUP BY holder HAVING count(*) > %s
    """
    with connection.cursor() as cursor:
        cursor.execute(many, [most, most])
        return cursor.fetchall()


def compact_changes() -> int:
    """Bound the change log by merging entries; return the number of entries that were merged away."""
    with single_run(AdvisoryLock.COMPACT_CHANGES) as is_ours:
        return change_log.compact() if is_ours else 0
