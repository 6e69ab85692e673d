"""The readings store: the one module that touches the readings table in bulk.

A reading is a row (device's integer id, time, values in the order of the profile's channels). The table is
partitioned by month, has a B-tree on (device, time), and no key: rows come and go but never change, so
`ctid` tells apart two readings of the same stamp.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from django.db import DatabaseError, connection, transaction

from devices.storage import change_log
from devices.storage.interface import DayChecksum, Position, Rows, StoredReading
from devices.storage.late_readings import note_late, with_late_readings
from devices.storage.postgresql.copy import binary_copy, copy_expert
from devices.storage.postgresql.partitions import TABLE, lacks_partition, make_partitions_for
from devices.storage.row_codec import copy_stream, decode_binary_copy, devices_and_times
from devices.timeline.instants import INFINITY, MINUS_INFINITY, PG_EPOCH_IN_UNIX, pg_literal
from devices.timeline.periods import Period
from devices.timeline.spans import Span, span_arrays

ERASE_BATCH = 20_000
COPY_IN = f"COPY {TABLE} (device_id, time, values) FROM STDIN (FORMAT binary)"


def append(rows: Rows) -> None:
    """Store all of them or none, in one COPY. Values must be finite: the table refuses others."""
    try:
        copy_in(rows)
    except DatabaseError as error:
        if not lacks_partition(error):
            raise
        make_partitions_for(rows.times)
        copy_in(rows)


def copy_in(rows: Rows) -> None:
    # A savepoint where a transaction is open already: a failed COPY must not end it.
    with transaction.atomic(), connection.cursor() as cursor:
        note_late(cursor, with_late_readings([rows], change_log.late_before(cursor)))
        copy_expert(cursor, COPY_IN, copy_stream([rows.payload]))


def page(
    device_ids: Sequence[int], period: Period, *, limit: int, after: Position | None = None
) -> list[StoredReading]:
    """Up to `limit` readings of these devices, newest first, from behind `after` on."""
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
    """The reading with the largest stamp of each device that has one."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT r.device_id, r.time, r.values, r.ctid::text
            FROM unnest(%s::int[]) AS d (id) CROSS JOIN LATERAL (
                SELECT device_id, time, values, ctid FROM {TABLE}
                WHERE device_id = d.id ORDER BY time DESC, ctid DESC LIMIT 1
            ) AS r
            """,
            [list(device_ids)],
        )
        return {row[0]: StoredReading(*row) for row in cursor.fetchall()}


def sent_since(device_ids: Sequence[int], time: datetime) -> set[int]:
    """Those of the devices that have a reading at `time` or later."""
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
    """How many readings the devices have in the period; reads the index only."""
    bounds, parameters = conditions(period)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM {TABLE} WHERE device_id = ANY(%s){bounds}", [list(device_ids), *parameters]
        )
        return cursor.fetchone()[0]


def has(device_id: int, time: datetime, values: Sequence[float]) -> bool:
    """Whether there is a reading of exactly this stamp and these values."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT FROM {TABLE} WHERE device_id = %s AND time = %s AND values = %s::float8[] LIMIT 1",
            [device_id, time, list(values)],
        )
        return cursor.rowcount == 1


def first_time(device_ids: Sequence[int]) -> datetime | None:
    """The smallest stamp of the devices' readings."""
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


def read(
    spans: Sequence[Span], channel_count: int, *, limit: int | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each span the times, int64 microseconds since 2000 of shape (n,), and the values, float64 of shape
    (channel_count, n), of its readings in the order of time. With `limit`: its first ones.

    Raises ValueError if a stored reading has another number of values.
    """
    if not spans:
        return []
    if len(spans) == 1:
        # The planner sees the bounds, and leaves partitions out.
        query = f"SELECT 1, time, values FROM {TABLE} WHERE device_id = %s AND time >= %s AND time < %s"
        parameters: list = [spans[0].device_id, pg_literal(spans[0].start), pg_literal(spans[0].end)]
        if limit is not None:
            query += " ORDER BY time LIMIT %s"
            parameters.append(limit)
    else:
        query = f"""
            SELECT s.n::int, r.time, r.values
            FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[])
                WITH ORDINALITY AS s (device_id, start_time, end_time, n)
            CROSS JOIN LATERAL (
                SELECT time, values FROM {TABLE}
                WHERE device_id = s.device_id AND time >= s.start_time AND time < s.end_time
                ORDER BY time LIMIT %s
            ) AS r
        """
        parameters = [*span_arrays(spans), limit]
    tables = by_span(decode_binary_copy(binary_copy(query, parameters), channel_count), len(spans))
    return [(rows["time"].astype(np.int64), rows["items"]["value"].astype(np.float64).T) for rows in tables]


def by_span(table: np.ndarray, spans: int) -> list[np.ndarray]:
    """The rows of each span in the order of time; as they come they nearly always are in it."""
    number, time = table["device"], table["time"]
    ordered = number[1:] > number[:-1]
    ordered |= (number[1:] == number[:-1]) & (time[1:] >= time[:-1])
    if not ordered.all():
        table = table[np.lexsort((time, number))]
        number = table["device"]
    return np.split(table, np.searchsorted(number, np.arange(2, spans + 1)))


def counts(spans: Sequence[Span]) -> list[int]:
    """How many readings each span has; reads the index only."""
    if not spans:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT r.count
            FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[])
                WITH ORDINALITY AS s (device_id, start_time, end_time, n)
            CROSS JOIN LATERAL (
                SELECT count(*) FROM {TABLE}
                WHERE device_id = s.device_id AND time >= s.start_time AND time < s.end_time
            ) AS r
            ORDER BY s.n
            """,
            span_arrays(spans),
        )
        return [row[0] for row in cursor.fetchall()]


def clear(device_id: int) -> None:
    """Delete all readings of a device in one step."""
    with transaction.atomic(), connection.cursor() as cursor:
        change_log.note_change(Span(device_id, MINUS_INFINITY, INFINITY))
        cursor.execute("DELETE FROM devices_segment WHERE device_id = %s", [device_id])
        cursor.execute(f"DELETE FROM {TABLE} WHERE device_id = %s", [device_id])


def erase(device_id: int) -> int:
    """Delete all readings of a device in bounded steps, a transaction each; returns how many there were."""
    # Up to the stamp of the first reading behind the batch; readings that share it enlarge the step.
    last = f"SELECT time FROM {TABLE} WHERE device_id = %(device)s ORDER BY time OFFSET %(batch)s LIMIT 1"
    step = f"DELETE FROM {TABLE} WHERE device_id = %(device)s AND time <= coalesce(({last}), 'infinity')"
    total = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(step, {"device": device_id, "batch": ERASE_BATCH})
            total += cursor.rowcount
            if cursor.rowcount <= ERASE_BATCH:
                return total


def days(device_id: int) -> dict[int, DayChecksum]:
    """By days since 1970, in UTC; see `storage.Storage.days`."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT (time AT TIME ZONE 'UTC')::date - '1970-01-01', count(*), sum(
                ('x' || left(md5(timestamptz_send(time) || array_send(values)), 16))::bit(64)::bigint
            )
            FROM {TABLE} WHERE device_id = %s GROUP BY 1
            """,
            [device_id],
        )
        return {day: DayChecksum(count, int(total) % 2**64) for day, count, total in cursor.fetchall()}


def rows(span: Span) -> Rows:
    """The device's readings of a span that has both bounds."""
    query = f"SELECT device_id, time, values FROM {TABLE} WHERE device_id = %s AND time >= %s AND time < %s"
    data = binary_copy(query, [span.device_id, pg_literal(span.start), pg_literal(span.end)])
    payload = bytes(data[19:-2])
    return Rows(payload, devices_and_times(payload)[1] + PG_EPOCH_IN_UNIX if payload else ())


def remove(span: Span) -> None:
    """Delete the readings of a span that has both bounds."""
    with transaction.atomic(), connection.cursor() as cursor:
        change_log.note_change(span)
        cursor.execute(
            f"DELETE FROM {TABLE} WHERE device_id = %s AND time >= %s AND time < %s",
            [span.device_id, pg_literal(span.start), pg_literal(span.end)],
        )


def conditions(period: Period) -> tuple[str, list]:
    """SQL that follows a WHERE condition, and its parameters."""
    bounds, parameters = "", []
    if period.start is not None:
        bounds += " AND time >= %s"
        parameters.append(period.start)
    if period.end is not None:
        bounds += " AND time < %s"
        parameters.append(period.end)
    return bounds, parameters
