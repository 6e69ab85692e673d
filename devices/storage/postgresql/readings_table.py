"""The readings table: storing, deleting, and what pages, the API and charts of hours read of it.

A reading is a row: the device's integer id, time, values in the order of the profile's channels. The table
is partitioned by time (`partitions`), has a B-tree on (device, time), and no key. Rows are never updated: so
`ctid` tells apart two readings of the same time. `readings_by_span` reads arrays for figures.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg2
from django.db import DatabaseError, connection, transaction

from devices.storage import change_log
from devices.storage.interface import Position, RepeatTransaction, Report, Rows, StoredReading
from devices.storage.late_readings import note_late, noting_late_readings, with_late_readings
from devices.storage.postgresql import partitions
from devices.storage.postgresql.copy import COPY_PIECE_BYTES, copy_expert
from devices.storage.postgresql.partitions import TABLE
from devices.storage.row_codec import copy_stream
from devices.timeline.instants import INFINITY, MINUS_INFINITY
from devices.timeline.periods import Period
from devices.timeline.spans import Span

# Readings that one step of `erase` deletes.
ERASE_BATCH = 20_000
STAGED = "staged_readings"
COPY_IN = f"COPY {TABLE} (device_id, time, values) FROM STDIN (FORMAT binary)"


# --- Storing


def append(rows: Rows) -> None:
    """Store all rows or none, in one COPY. The table refuses values that are not finite."""
    try:
        copy_in(rows)
    except DatabaseError as error:
        if not partitions.lacks_partition(error):
            raise
        partitions.make_partitions_for(rows.times)
        copy_in(rows)


def copy_in(rows: Rows) -> None:
    # In an open transaction this is a savepoint: a failed COPY must not abort it.
    with transaction.atomic(), connection.cursor() as cursor:
        note_late(cursor, with_late_readings([rows], change_log.late_before(cursor)))
        copy_expert(cursor, COPY_IN, copy_stream([rows.payload]))


def put(connection: Any, rows: Sequence[Rows]) -> None:
    """Store through a connection of psycopg2's, see `Storage.put`."""
    try:
        copy_through(connection, rows)
    except psycopg2.IntegrityError as error:
        if not partitions.lacks_partition(error):
            raise
        partitions.make_partitions_apart([time for part in rows for time in part.times])
        if not connection.autocommit:
            raise RepeatTransaction from error
        copy_through(connection, rows)


def copy_through(connection: Any, rows: Sequence[Rows]) -> None:
    with noting_late_readings(connection, rows) as cursor:
        cursor.copy_expert(COPY_IN, copy_stream([part.payload for part in rows]), COPY_PIECE_BYTES)


# --- Deleting


def clear(device_id: int) -> None:
    """Delete all readings of a device in one transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        change_log.note_change(Span(device_id, MINUS_INFINITY, INFINITY))
        cursor.execute("DELETE FROM devices_segment WHERE device_id = %s", [device_id])
        cursor.execute(f"DELETE FROM {TABLE} WHERE device_id = %s", [device_id])


def erase(device_id: int, report: Report) -> int:
    """Delete all readings of a device in bounded steps, each a transaction; returns their number."""
    # A step ends with the time of the first reading behind the batch: readings of one time go together.
    last = f"SELECT time FROM {TABLE} WHERE device_id = %(device)s ORDER BY time OFFSET %(batch)s LIMIT 1"
    step = f"DELETE FROM {TABLE} WHERE device_id = %(device)s AND time <= coalesce(({last}), 'infinity')"
    total = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(step, {"device": device_id, "batch": ERASE_BATCH})
            total += cursor.rowcount
            report(total)
            if cursor.rowcount <= ERASE_BATCH:
                return total


def take_back(rows: Rows) -> int:
    """Delete one reading for each of these rows, see `Storage.take_back`."""
    if not rows.payload:
        return 0
    with staged(rows) as cursor:
        note_late(cursor, [rows])
        # Rows are found by the index and deleted one by one: a join of ctids would scan every partition.
        cursor.execute("SET LOCAL enable_hashjoin = off")
        cursor.execute("SET LOCAL enable_mergejoin = off")
        cursor.execute(
            f"""
            WITH chosen AS MATERIALIZED (
                SELECT r.* FROM (
                    SELECT device_id, time, values, count(*) AS copies FROM {STAGED} GROUP BY 1, 2, 3
                ) AS s CROSS JOIN LATERAL (
                    SELECT tableoid, ctid, device_id, time FROM {TABLE}
                    WHERE device_id = s.device_id AND time = s.time AND values = s.values LIMIT s.copies
                ) AS r
            )
            DELETE FROM {TABLE} AS r USING chosen AS c
            WHERE r.device_id = c.device_id AND r.time = c.time
                AND r.tableoid = c.tableoid AND r.ctid = c.ctid
            """
        )
        return cursor.rowcount


def present(rows: Rows) -> npt.NDArray[np.bool_]:
    """Tell which of these rows are stored, see `Storage.present`."""
    found = np.zeros(len(rows.times), bool)
    if not rows.payload:
        return found
    with staged(rows) as cursor:
        # LIMIT makes the planner ask the index for each row.
        cursor.execute(
            f"""
            SELECT s.number FROM {STAGED} AS s CROSS JOIN LATERAL (
                SELECT FROM {TABLE}
                WHERE device_id = s.device_id AND time = s.time AND values = s.values LIMIT 1
            ) AS r
            """
        )
        found[[number - 1 for (number,) in cursor.fetchall()]] = True
    return found


@contextmanager
def staged(rows: Rows) -> Iterator[Any]:
    """Copy rows to a temporary table, numbered from 1, for one transaction; yields a cursor."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMPORARY TABLE {STAGED} (number int GENERATED ALWAYS AS IDENTITY,"
            " device_id int, time timestamptz, values float8[]) ON COMMIT DROP"
        )
        copy_expert(
            cursor,
            f"COPY {STAGED} (device_id, time, values) FROM STDIN (FORMAT binary)",
            copy_stream([rows.payload]),
        )
        yield cursor
        # The transaction may be part of a longer one.
        cursor.execute(f"DROP TABLE {STAGED}")


# --- Reading


def page(
    device_ids: Sequence[int], period: Period, *, limit: int, after: Position | None = None
) -> list[StoredReading]:
    bounds, parameters = conditions(period)
    if after is not None:
        bounds += " AND time <= %s AND (time, device_id, ctid) < (%s, %s, %s::tid)"
        parameters += [after.time, *after]
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT r.device_id, r.time, r.values, r.ctid::text
            FROM unnest(%s::int[]) AS d (id) CROSS JOIN LATERAL (
                SELECT device_id, time, values, ctid FROM {TABLE}
                WHERE device_id = d.id{bounds}
                ORDER BY time DESC, ctid DESC LIMIT %s
            ) AS r
            ORDER BY r.time DESC, r.device_id DESC, r.ctid DESC LIMIT %s
            """,
            [list(device_ids), *parameters, limit, limit],
        )
        return [StoredReading(*row) for row in cursor.fetchall()]


def latest(device_ids: Sequence[int]) -> dict[int, StoredReading]:
    return {device_id: readings[0] for device_id, readings in newest(device_ids, 1).items()}


def newest(device_ids: Sequence[int], limit: int) -> dict[int, list[StoredReading]]:
    found: dict[int, list[StoredReading]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT r.device_id, r.time, r.values, r.ctid::text
            FROM unnest(%s::int[]) AS d (id) CROSS JOIN LATERAL (
                SELECT device_id, time, values, ctid FROM {TABLE}
                WHERE device_id = d.id ORDER BY time DESC, ctid DESC LIMIT %s
            ) AS r
            ORDER BY r.time DESC, r.ctid DESC
            """,
            [list(device_ids), limit],
        )
        for row in cursor.fetchall():
            found.setdefault(row[0], []).append(StoredReading(*row))
    return found


def sent_since(device_ids: Sequence[int], time: datetime) -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT d.id FROM unnest(%s::int[]) AS d (id) CROSS JOIN LATERAL (
                SELECT FROM {TABLE} WHERE device_id = d.id AND time >= %s LIMIT 1
            ) AS r
            """,
            [list(device_ids), time],
        )
        return {row[0] for row in cursor.fetchall()}


def count(device_ids: Sequence[int], period: Period) -> int:
    """Count the readings of all the devices in the period; reads the index only."""
    bounds, parameters = conditions(period)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM {TABLE} WHERE device_id = ANY(%s){bounds}", [list(device_ids), *parameters]
        )
        return cursor.fetchone()[0]


def has(device_id: int, time: datetime, values: Sequence[float]) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT FROM {TABLE} WHERE device_id = %s AND time = %s AND values = %s::float8[] LIMIT 1",
            [device_id, time, list(values)],
        )
        return cursor.rowcount == 1


def first_time(device_ids: Sequence[int]) -> datetime | None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT min(r.time) FROM unnest(%s::int[]) AS d (id) CROSS JOIN LATERAL (
                SELECT time FROM {TABLE} WHERE device_id = d.id ORDER BY time LIMIT 1
            ) AS r
            """,
            [list(device_ids)],
        )
        return cursor.fetchone()[0]


def hourly_means(device_id: int, channel: int, period: Period) -> list[tuple[datetime, float]]:
    """Return the mean of a channel in each hour, without excluded readings, see `Storage.hourly_means`."""
    bounds, parameters = conditions(period)
    with connection.cursor() as cursor:
        # Summed in a fixed order: the same readings give the same means to the last bit.
        cursor.execute(
            f"""
            SELECT date_trunc('hour', time, 'UTC') AS hour, sum(value ORDER BY time, value) / count(*)
            FROM (
                SELECT time, values[%s] AS value FROM {TABLE} AS r WHERE device_id = %s{bounds}
                AND NOT EXISTS (
                    SELECT FROM devices_exclusion AS e
                    WHERE e.device_id = r.device_id AND e.lifted_at IS NULL
                        AND r.time >= e.start_time AND r.time < e.end_time
                        AND (e.values IS NULL OR e.values = r.values)
                )
            ) AS readings
            GROUP BY hour ORDER BY hour
            """,
            [channel + 1, device_id, *parameters],
        )
        return cursor.fetchall()


def conditions(period: Period) -> tuple[str, list[Any]]:
    """Return SQL that follows a condition of WHERE, and its parameters."""
    bounds, parameters = "", list[Any]()
    if period.start is not None:
        bounds += " AND time >= %s"
        parameters.append(period.start)
    if period.end is not None:
        bounds += " AND time < %s"
        parameters.append(period.end)
    return bounds, parameters
