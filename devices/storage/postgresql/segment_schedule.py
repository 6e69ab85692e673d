"""When and where segments are built of readings that have come to rest: base ones, and larger ones of those.

The base segments of a device tile its time line without holes from -infinity to where they end so far, each
beginning where the one before ends, cut only between different stamps. All is derived: what is wrong, or was
dropped, is built anew.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import IntegrityError, OperationalError, connection, transaction

from devices.locks import AdvisoryLock
from devices.storage.postgresql.quantiles import SegmentReplaced
from devices.storage.postgresql.segment_builder import (
    LATEST_SECONDS,
    SETTLED_SECONDS,
    SIZES,
    BuildProgress,
    SegmentBuilder,
    SegmentSizes,
)

logger = logging.getLogger(__name__)


@contextmanager
def held_by_us(device_id: int) -> Iterator[bool]:
    """Whether the device is ours to build; another process may be at it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [AdvisoryLock.BUILD_SEGMENTS, device_id])
        is_ours = cursor.fetchone()[0]
    try:
        yield is_ours
    finally:
        if is_ours:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [AdvisoryLock.BUILD_SEGMENTS, device_id])


def build(
    device_id: int,
    channels: int,
    *,
    until: float = float("inf"),
    sizes: SegmentSizes = SIZES,
    settled_seconds: float = SETTLED_SECONDS,
) -> BuildProgress:
    """Bring the segments of a device up to date, if nobody else is at it.

    What fails because data change at this moment is left for the next time.
    """
    with held_by_us(device_id) as is_ours:
        if not is_ours:
            return BuildProgress(0, False, 0.0)
        builder = SegmentBuilder(device_id, channels, sizes=sizes, settled_seconds=settled_seconds)
        try:
            return builder.visit(until)
        except (OperationalError, IntegrityError, SegmentReplaced) as error:
            logger.info("Segments of device %d are left for later: %s", device_id, error)
        except ValueError as error:
            # Of another number of values than its profile has channels: nobody but a hand in the database.
            logger.warning("Device %d cannot have segments: %s", device_id, error)
            builder.note_visit(builder.state(), LATEST_SECONDS)
        return BuildProgress(builder.readings, False, 0.0)


# --- Maintenance

DUE = """
    SELECT d.id, (SELECT count(*) FROM devices_channel AS c WHERE c.profile_id = d.profile_id)
    FROM devices_device AS d LEFT JOIN devices_rollup AS r ON r.device_id = d.id
    WHERE r.device_id IS NULL OR r.next_check <= now() OR EXISTS (
        SELECT FROM devices_change AS c
        WHERE c.device_id = d.id AND c.xid >= pg_snapshot_xmin(r.checked_in)
    )
    ORDER BY r.next_check NULLS FIRST, random() LIMIT %s
"""
AT_ONCE = 500


def build_due(seconds: float) -> int:
    """Build for the devices that are due, for so long; returns the number of readings built of. Several
    processes may do so at a time: each device is one's at a time."""
    until = time.monotonic() + seconds
    total = 0
    with connection.cursor() as cursor:
        cursor.execute(DUE, [AT_ONCE])
        due = cursor.fetchall()
    for device_id, channels in due:
        if time.monotonic() >= until:
            break
        total += build(device_id, channels, until=until).readings
    return total


def drop(device_ids: Sequence[int]) -> None:
    """Forget the segments of these devices: they are due to be built anew."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM devices_segment WHERE device_id = ANY(%s)", [list(device_ids)])
        cursor.execute("DELETE FROM devices_rollup WHERE device_id = ANY(%s)", [list(device_ids)])


def sweep() -> int:
    """Delete what devices that are no more have left behind; returns the number of rows."""
    gone = "WHERE NOT EXISTS (SELECT FROM devices_device AS d WHERE d.id = t.device_id)"
    total = 0
    with connection.cursor() as cursor:
        for table in ("devices_segment", "devices_change", "devices_rollup"):
            cursor.execute(f"DELETE FROM {table} AS t {gone}")
            total += cursor.rowcount
    return total
