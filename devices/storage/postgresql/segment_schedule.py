"""When segments are built, and of which devices: once a minute by a worker, of devices that are due.

The base segments of a device tile its time line from -infinity to where they end so far: each begins where
the one before ends, and cuts are between different times only. Larger segments are merged from them. All of
it is derived from readings: segments that are wrong or were dropped are built again.
"""

import logging
import time
from collections.abc import Sequence

from django.db import IntegrityError, OperationalError, connection, transaction

from devices.locks import AdvisoryLock, single_run
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

# A device is due if it was never visited, if the wait that its last visit expected is over, or if the change
# log has entries that the last visit may not have seen.
DUE = """
    SELECT d.id, (SELECT count(*) FROM devices_channel AS c WHERE c.profile_id = d.profile_id)
    FROM devices_device AS d LEFT JOIN devices_rollup AS r ON r.device_id = d.id
    WHERE r.device_id IS NULL OR r.next_check <= now() OR EXISTS (
        SELECT FROM devices_change AS c
        WHERE c.device_id = d.id AND c.xid >= pg_snapshot_xmin(r.checked_in)
    )
    ORDER BY r.next_check NULLS FIRST, random() LIMIT %s
"""
DEVICES_AT_ONCE = 500


# --- Building


def build_due(seconds: float) -> int:
    """Build for some seconds for the devices that are due; returns the number of readings processed.

    Several processes may do so at a time, each for other devices.
    """
    until = time.monotonic() + seconds
    total = 0
    with connection.cursor() as cursor:
        cursor.execute(DUE, [DEVICES_AT_ONCE])
        due = cursor.fetchall()
    for device_id, channels in due:
        if time.monotonic() >= until:
            break
        total += build(device_id, channels, until=until).readings
    return total


def build(
    device_id: int,
    channels: int,
    *,
    until: float = float("inf"),
    sizes: SegmentSizes = SIZES,
    settled_seconds: float = SETTLED_SECONDS,
) -> BuildProgress:
    """Bring the segments of a device up to date, unless another process is doing it.

    Errors that come from data changing meanwhile are logged and left to the next visit.
    """
    with single_run(AdvisoryLock.BUILD_SEGMENTS, device_id) as is_ours:
        if not is_ours:
            return BuildProgress(0, False, 0.0)
        builder = SegmentBuilder(device_id, channels, sizes=sizes, settled_seconds=settled_seconds)
        try:
            snapshot = current_snapshot()
            progress = builder.visit(until)
            if progress.is_done:
                note_visit(device_id, snapshot, progress.wait_seconds)
            return progress
        except (OperationalError, IntegrityError, SegmentReplaced) as error:
            logger.info("Segments of device %d are left for later: %s", device_id, error)
        except ValueError as error:
            # A reading has not as many values as its profile has channels: made by hand in the database.
            logger.warning("Device %d cannot have segments: %s", device_id, error)
            note_visit(device_id, current_snapshot(), LATEST_SECONDS)
        return BuildProgress(builder.readings, False, 0.0)


# --- Noting visits


def current_snapshot() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_snapshot()::text")
        return cursor.fetchone()[0]


def note_visit(device_id: int, snapshot: str, wait_seconds: float) -> None:
    """Note a visit that began in the state of `snapshot`: later changes make the device due again."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO devices_rollup (device_id, checked_in, next_check)
            VALUES (%s, %s, now() + make_interval(secs => %s))
            ON CONFLICT (device_id) DO UPDATE
            SET checked_at = now(), checked_in = excluded.checked_in, next_check = excluded.next_check
            """,
            [device_id, snapshot, wait_seconds],
        )


# --- Dropping


def drop(device_ids: Sequence[int]) -> None:
    """Delete the segments of these devices, which are then due to be built again."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM devices_segment WHERE device_id = ANY(%s)", [list(device_ids)])
        cursor.execute("DELETE FROM devices_rollup WHERE device_id = ANY(%s)", [list(device_ids)])


def sweep() -> int:
    """Delete what devices that no longer exist left behind; returns the number of deleted rows."""
    orphaned = "WHERE NOT EXISTS (SELECT FROM devices_device AS d WHERE d.id = t.device_id)"
    total = 0
    with connection.cursor() as cursor:
        for table in ("devices_segment", "devices_change", "devices_rollup"):
            cursor.execute(f"DELETE FROM {table} AS t {orphaned}")
            total += cursor.rowcount
    return total
