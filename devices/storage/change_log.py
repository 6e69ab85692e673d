"""The change log: the spans of devices whose data were changed by anything but fresh readings.

Segments and stored results are about one state of the data, a snapshot. Each late reading, deletion and
correction writes an entry here in its own transaction; a segment or result is stale if its snapshot does not
see an entry of its span. Fresh readings write none: no segment is built of them, and stored results notice
them by the number of readings.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from django.db import connection, transaction

from devices.timeline.instants import (
    INFINITY,
    MICROSECONDS_PER_HOUR,
    MICROSECONDS_PER_SECOND,
    PgMicroseconds,
    PgTimes,
    UnixMicroseconds,
    pg_from_bytes,
    pg_literal,
)
from devices.timeline.spans import Span, array_literal, span_arrays

# A reading is late if it is stored more than LATE_AFTER_SECONDS after its time. Segments are built of
# older ones only (`settled_before`): whoever stored them as fresh has committed by then.
LATE_AFTER_SECONDS = 60
# An entry of late readings covers at most one hour, unless one transaction touches more than MAX_HOURS of a
# device: then one wide entry covers all of it.
MAX_HOURS = 100
# Segments are built of readings that are older than the oldest open transaction by this margin at least: the
# transaction may store readings that were fresh when it began.
TRANSACTION_MARGIN_SECONDS = 5 * 60
# `compact` merges the wide entries of a device if there are more than MAX_WIDE.
MAX_WIDE = 100
# The offset of the database's clock is measured again after CLOCK_SECONDS.
CLOCK_SECONDS = 60

# A condition on a row `s` with device_id, start_time and end_time: every change of this span is visible in
# the snapshot. The planner answers each subquery by an index scan; it would not do so for a join.
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
    """The database's clock: those of the hosts may differ, and segment builders go by the database's."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.known_until = 0.0

    def now(self, cursor: Any) -> float:
        """Return seconds since 1970; queries the database once in CLOCK_SECONDS."""
        if time.monotonic() >= self.known_until:
            # Read before the database's: while the answer takes time, more readings count as late, not fewer.
            asked_at = time.time()
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
            self.ahead = cursor.fetchone()[0] - asked_at
            self.known_until = time.monotonic() + CLOCK_SECONDS
        return time.time() + self.ahead


clock = DatabaseClock()


# --- Writing


class TouchedSpan(NamedTuple):
    """A changed stretch of a device's time, both ends included."""

    device_id: int
    first: PgMicroseconds
    last: PgMicroseconds


def late_before(cursor: Any) -> UnixMicroseconds:
    """Return the time before which a reading that is stored now is late."""
    return UnixMicroseconds(int((clock.now(cursor) - LATE_AFTER_SECONDS) * MICROSECONDS_PER_SECOND))


def note_change(span: Span) -> None:
    """Log a change of the span, within the transaction that makes it."""
    last = span.end if span.end == INFINITY else PgMicroseconds(span.end - 1)
    with connection.cursor() as cursor:
        write_entries(cursor, [TouchedSpan(span.device_id, span.start, last)])


def note_late_readings(cursor: Any, device_ids: npt.NDArray[np.int64], times: PgTimes) -> None:
    """Log late readings, within the transaction that stores them."""
    if len(times):
        write_entries(cursor, touched_spans(device_ids, times))


def touched_spans(device_ids: npt.NDArray[np.int64], times: PgTimes) -> list[TouchedSpan]:
    """Return a span for each device and hour with readings, or one for a device with more than MAX_HOURS."""
    order = np.lexsort((times, device_ids))
    device_ids, ordered = device_ids[order], times[order]
    hours = ordered // MICROSECONDS_PER_HOUR
    is_new_device = np.diff(device_ids, prepend=device_ids[0] - 1) != 0
    is_new_hour = is_new_device | (np.diff(hours, prepend=hours[0]) != 0)
    device_starts = np.flatnonzero(is_new_device)
    hours_of_device = np.add.reduceat(is_new_hour.astype(np.int64), device_starts)
    is_wide = np.repeat(hours_of_device > MAX_HOURS, np.diff(device_starts, append=len(ordered)))
    firsts = np.flatnonzero(is_new_device | (is_new_hour & ~is_wide))
    lasts = np.append(firsts[1:], len(ordered)) - 1
    fields = device_ids[firsts].tolist(), ordered[firsts].tolist(), ordered[lasts].tolist()
    return [TouchedSpan(*found) for found in zip(*fields, strict=True)]


def write_entries(cursor: Any, touched: Sequence[TouchedSpan]) -> None:
    cursor.execute(
        """
        INSERT INTO devices_change (device_id, first_time, last_time, is_wide)
        SELECT * FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[], %s::bool[])
        """,
        [
            array_literal(span.device_id for span in touched),
            array_literal(pg_literal(span.first) for span in touched),
            array_literal(pg_literal(span.last) for span in touched),
            array_literal(is_wide(span) for span in touched),
        ],
    )


def is_wide(span: TouchedSpan) -> bool:
    return span.first // MICROSECONDS_PER_HOUR != span.last // MICROSECONDS_PER_HOUR


# --- Reading


@contextmanager
def repeatable_read() -> Iterator[None]:
    """Show all statements in this block the same state of the portal's database.

    In a transaction that is open already nothing changes: if it reads committed data, as is the default, two
    statements may see two states.
    """
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def snapshot() -> str:
    """Return the state of the portal's database that this transaction sees, as text."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {CLUSTER} || '/' || pg_current_snapshot()")
        return cursor.fetchone()[0]


def settled_before(settled_seconds: float) -> PgMicroseconds:
    """Return a time before which no fresh reading will be stored any more.

    Fresh readings leave no entry in the change log, so segments may only be built of readings before it.

    Fresh readings are stored within LATE_AFTER_SECONDS of their time and the duration of a transaction. So
    the time is `settled_seconds` ago, or earlier if the oldest open transaction began long ago.

    A segment builder calls it before its own transaction begins: a writer that is under way then is either
    among the open transactions here, or has committed by the time the builder's begins.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT timestamptz_send(least(
                clock_timestamp() - make_interval(secs => %s),
                min(xact_start) - make_interval(secs => %s)
            ))
            FROM pg_stat_activity
            WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
            """,
            [settled_seconds, min(TRANSACTION_MARGIN_SECONDS, settled_seconds)],
        )
        return pg_from_bytes(cursor.fetchone()[0])


def changed_since(spans: Sequence[Span], snapshot: str) -> set[int]:
    """Return the devices whose spans have a change that the snapshot does not see."""
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


def compact() -> int:
    """Merge entries to one per device and hour and at most MAX_WIDE wide ones per device.

    The newest change stands for all merged ones. Returns how many entries went. Only one process may run it.
    """
    with connection.cursor() as cursor:
        # Transaction ids that this cluster has not given yet come from a dump of another cluster.
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
            ), deleted AS (
                DELETE FROM devices_change AS c USING merged AS m
                WHERE c.device_id = m.device_id AND c.is_wide = m.is_wide
                    AND c.first_time BETWEEN m.first_time AND m.last_time AND c.last_time <= m.last_time
                    AND c.xid <= m.xid
            ), inserted AS (
                INSERT INTO devices_change (device_id, first_time, last_time, is_wide, xid)
                SELECT device_id, first_time, last_time, is_wide, xid FROM merged
            )
            SELECT coalesce(sum(entries - 1), 0)::bigint FROM merged
            """,
            {"wide": MAX_WIDE},
        )
        return cursor.fetchone()[0]
