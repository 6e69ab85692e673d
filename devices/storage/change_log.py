"""The change log: which stretches of a device's data were changed otherwise than by fresh readings.

Segments and stored results are about a state of the data. Each late reading, deletion and correction leaves
an entry here in its own transaction; what is about a state that has not seen an entry of its stretch is
stale. Fresh readings leave none: nothing is built of them, and they are noticed by their number.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from django.db import connection, transaction

from devices.timeline.instants import INFINITY
from devices.timeline.spans import Span, array_literal, span_arrays

# Readings with older stamps are late. Segments are made of readings that are older by far (rollups.SETTLED):
# all that is to be fresh for one and settled for the other must happen between.
LATE_AFTER_SECONDS = 60
# What an entry of late readings stands for lies within one hour...
HOUR = 3_600_000_000
# ...unless one transaction brings a device more of them: then there is one for all, a wide one.
MAX_HOURS = 100
MAX_WIDE = 100
CLOCK_SECONDS = 60

# Conditions on a row `s` with device_id, start_time, end_time, and a snapshot: that no change of the stretch
# was made since. Each is an index scan: not to be made a join of.
UNCHANGED = """
    (
        SELECT true FROM devices_change AS c
        WHERE NOT c.is_wide AND c.device_id = s.device_id AND c.first_time < s.end_time
            AND c.first_time >= s.start_time - interval '1 hour' AND c.last_time >= s.start_time
            AND NOT pg_visible_in_snapshot(c.xid, {snapshot})
        LIMIT 1
    ) IS NULL AND (
        SELECT true FROM devices_change AS c
        WHERE c.is_wide AND c.device_id = s.device_id AND c.first_time < s.end_time
            AND c.last_time >= s.start_time AND NOT pg_visible_in_snapshot(c.xid, {snapshot})
        LIMIT 1
    ) IS NULL
"""
CLUSTER = "(SELECT system_identifier FROM pg_control_system())"


class DatabaseClock:
    """The database's: hosts may disagree about what is late, and builders go by the database's."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.known_until = 0.0

    def now(self, cursor: Any) -> float:
        """Seconds since 1970; asks the database once in a while."""
        if time.monotonic() >= self.known_until:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
            self.ahead = cursor.fetchone()[0] - time.time()
            self.known_until = time.monotonic() + CLOCK_SECONDS
        return time.time() + self.ahead


clock = DatabaseClock()


def late_before(cursor: Any) -> int:
    """Readings with a stamp before this, in microseconds since 1970, are late."""
    return int((clock.now(cursor) - LATE_AFTER_SECONDS) * 1_000_000)


def note_change(span: Span) -> None:
    """In the transaction that changes something of the span."""
    # The log names the last time that is touched.
    last = span.end if span.end == INFINITY else span.end - 1
    with connection.cursor() as cursor:
        write(cursor, [span._replace(end=last)])


def note_late_readings(cursor: Any, device_ids: np.ndarray, times: np.ndarray) -> None:
    """In the transaction that stores late readings; `times`: microseconds since 2000."""
    if len(times):
        write(cursor, stretches(device_ids, times))


def stretches(device_ids: np.ndarray, times: np.ndarray) -> list[Span]:
    """What these readings touch, both ends included: a stretch per device and hour, or one for a device."""
    order = np.lexsort((times, device_ids))
    device_ids, times = device_ids[order], times[order]
    hours = times // HOUR
    is_new_device = np.diff(device_ids, prepend=device_ids[0] - 1) != 0
    is_new = is_new_device | (np.diff(hours, prepend=hours[0]) != 0)
    hours_of_device = np.add.reduceat(is_new.astype(np.int64), np.flatnonzero(is_new_device))
    many = np.repeat(hours_of_device > MAX_HOURS, np.diff(np.flatnonzero(is_new_device), append=len(times)))
    firsts = np.flatnonzero(is_new_device | (is_new & ~many))
    lasts = np.append(firsts[1:], len(times)) - 1
    return [
        Span(*found)
        for found in zip(
            device_ids[firsts].tolist(), times[firsts].tolist(), times[lasts].tolist(), strict=True
        )
    ]


def write(cursor: Any, touched: Sequence[Span]) -> None:
    cursor.execute(
        """
        INSERT INTO devices_change (device_id, first_time, last_time, is_wide)
        SELECT * FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[], %s::bool[])
        """,
        [*span_arrays(touched), array_literal(span.start // HOUR != span.end // HOUR for span in touched)],
    )


@contextmanager
def repeatable_read() -> Iterator[None]:
    """All statements within see the same state of the portal's database.

    Within somebody's transaction it is that one's state, which may move on between two statements.
    """
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def snapshot() -> str:
    """The state of the database as this transaction sees it."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {CLUSTER} || '/' || pg_current_snapshot()")
        return cursor.fetchone()[0]


def changed_since(spans: Sequence[Span], snapshot: str) -> set[int]:
    """The devices of the spans in which something was changed that was not visible in the snapshot."""
    cluster, _, state = snapshot.partition("/")
    if not spans:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT s.device_id
            FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[])
                AS s (device_id, start_time, end_time)
            WHERE {CLUSTER} <> %s OR NOT ({UNCHANGED.format(snapshot="%s::pg_snapshot")})
            """,
            [*span_arrays(spans), int(cluster), state, state],
        )
        return {row[0] for row in cursor.fetchall()}


def forget(cursor: Any, device_id: int) -> None:
    """Of a device that is no more."""
    cursor.execute("DELETE FROM devices_change WHERE device_id = %s", [device_id])


def compact() -> int:
    """Leave one entry per device and hour, the newest change counting for all of it, and a bounded number of
    wide ones per device; returns how many went. One process at a time."""
    with connection.cursor() as cursor:
        # Numbers that this cluster has not given yet come from another, which was dumped and restored here.
        cursor.execute(
            "UPDATE devices_change SET xid = pg_current_xact_id()"
            " WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())"
        )
        cursor.execute(
            """
            WITH merged AS (
                SELECT device_id, is_wide,
                    CASE WHEN NOT is_wide THEN date_bin('1 hour', first_time, '2000-01-01Z') END AS hour,
                    min(first_time) AS first_time, max(last_time) AS last_time, max(xid) AS xid,
                    count(*) AS entries
                FROM devices_change WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
                GROUP BY device_id, is_wide, hour HAVING count(*) > CASE WHEN is_wide THEN %(wide)s ELSE 1 END
            ), gone AS (
                DELETE FROM devices_change AS c USING merged AS m
                WHERE c.device_id = m.device_id AND c.is_wide = m.is_wide
                    AND c.first_time BETWEEN m.first_time AND m.last_time AND c.last_time <= m.last_time
                    AND c.xid <= m.xid
            ), kept AS (
                INSERT INTO devices_change (device_id, first_time, last_time, is_wide, xid)
                SELECT device_id, first_time, last_time, is_wide, xid FROM merged
            )
            SELECT coalesce(sum(entries - 1), 0)::bigint FROM merged
            """,
            {"wide": MAX_WIDE},
        )
        return cursor.fetchone()[0]
