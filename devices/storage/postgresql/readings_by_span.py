"""Readings of spans: as arrays for figures, as rows and checksums for copying to another storage."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from django.db import connection, transaction

from devices.exact.keys import Doubles
from devices.storage import change_log
from devices.storage.interface import DayChecksum, DevicesAndTimes, Rows
from devices.storage.postgresql.copy import binary_copy
from devices.storage.postgresql.partitions import TABLE
from devices.storage.row_codec import copied_rows, decode_binary_copy, devices_and_times, times_and_values
from devices.timeline.instants import PgTimes, pg_literal, pg_to_unix
from devices.timeline.spans import Span, span_arrays

# A row of a binary COPY of (int4, timestamptz).
DEVICE_AND_TIME = np.dtype(
    [("fields", ">i2"), ("l1", ">i4"), ("device", ">i4"), ("l2", ">i4"), ("time", ">i8")]
)


def read(
    spans: Sequence[Span], channel_count: int, *, limit: int | None = None
) -> list[tuple[PgTimes, Doubles]]:
    """Return the times and values of each span's readings in the order of time.

    Values are float64 of shape (channel_count, readings). With `limit` only the first readings of each span.
    Raises ValueError if a stored reading has another number of values.
    """
    if not spans:
        return []
    if len(spans) == 1:
        # The planner sees the bounds and leaves out the other partitions.
        query = f"SELECT 1, time, values FROM {TABLE} WHERE device_id = %s AND time >= %s AND time < %s"
        parameters: list[Any] = [spans[0].device_id, pg_literal(spans[0].start), pg_literal(spans[0].end)]
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
    table = decode_binary_copy(binary_copy(query, parameters), channel_count)
    return [times_and_values(rows) for rows in by_span(table, len(spans))]


def newest_times(device_ids: Sequence[int], limit: int) -> DevicesAndTimes:
    query = f"""
        SELECT d.id, r.time FROM unnest(%s::int[]) AS d (id) CROSS JOIN LATERAL (
            SELECT time FROM {TABLE} WHERE device_id = d.id ORDER BY time DESC LIMIT %s
        ) AS r
    """
    rows = np.frombuffer(copied_rows(binary_copy(query, [list(device_ids), limit])), DEVICE_AND_TIME)
    return rows["device"].astype(np.int64), PgTimes(rows["time"].astype(np.int64))


def by_span(table: np.ndarray, spans: int) -> list[np.ndarray]:
    """Split rows by the number of their span, each part in the order of time."""
    number, time = table["device"], table["time"]
    # The index nearly always gives the rows in this order.
    ordered = number[1:] > number[:-1]
    ordered |= (number[1:] == number[:-1]) & (time[1:] >= time[:-1])
    if not ordered.all():
        table = table[np.lexsort((time, number))]
        number = table["device"]
    return np.split(table, np.searchsorted(number, np.arange(2, spans + 1)))


def counts(spans: Sequence[Span]) -> list[int]:
    """Count the readings of each span; reads the index only."""
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


def count_up_to(cursor: Any, span: Span, limit: int) -> int:
    """Count the readings of a span, but stop at `limit`."""
    cursor.execute(
        f"""
        SELECT count(*) FROM (
            SELECT FROM {TABLE} WHERE device_id = %s AND time >= %s AND time < %s LIMIT %s
        ) AS r
        """,
        [span.device_id, pg_literal(span.start), pg_literal(span.end), limit],
    )
    return cursor.fetchone()[0]


# --- Copying


def days(device_id: int) -> dict[int, DayChecksum]:
    """Return the checksums of a device's days, see `Storage.days`."""
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
    query = f"SELECT device_id, time, values FROM {TABLE} WHERE device_id = %s AND time >= %s AND time < %s"
    data = binary_copy(query, [span.device_id, pg_literal(span.start), pg_literal(span.end)])
    payload = bytes(copied_rows(data))
    return Rows(payload, pg_to_unix(devices_and_times(payload)[1]) if payload else ())


def remove(span: Span) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        change_log.note_change(span)
        cursor.execute(
            f"DELETE FROM {TABLE} WHERE device_id = %s AND time >= %s AND time < %s",
            [span.device_id, pg_literal(span.start), pg_literal(span.end)],
        )
