"""Segments as rows of their table, devices_segment: written and read whole, for building."""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from django.db import connection

from devices.storage import row_codec
from devices.storage.postgresql import copy
from devices.storage.postgresql.quantiles import SegmentReplaced
from devices.storage.postgresql.segment_contents import NUMBERS, BuiltSegment, StoredContents, run_type
from devices.storage.postgresql.segment_lookup import VALID
from devices.timeline.instants import PgMicroseconds, pg_from_bytes, pg_literal

COLUMNS = (
    *("device_id", "level", "start_time", "end_time", "count", "excluded", "low_time", "high_time"),
    *("first_time", "last_time", "intervals", "longest_start", "longest"),
    *("totals", "sample", "widths", "packed", "interval_sums", "runs"),
)
# The cluster 0 does not exist: the segment is valid nowhere.
UNBUILT = """
    INSERT INTO devices_segment
    (cluster, device_id, start_time, end_time, level, count, excluded, low_time, high_time, first_time,
        last_time, intervals, longest_start, longest, totals, sample, widths, packed, interval_sums, runs)
    VALUES (0, %s, %s, %s, 0, 0, 0, 'infinity', '-infinity', 'infinity', '-infinity',
        0, 'infinity', 0, '', '', '', '', '', '')
"""
COPY_IN = f"COPY devices_segment ({', '.join(COLUMNS)}) FROM STDIN (FORMAT binary)"
# Field count, then each numeric field after its length.
ROW = struct.Struct(">h ii ih iq iq ii ii iq iq iq iq ii iq iq")
# The fields of NUMBERS, and the contents.
CONTENTS = """
    SELECT timestamptz_send(low_time) || timestamptz_send(high_time) || timestamptz_send(first_time)
        || timestamptz_send(last_time) || timestamptz_send(longest_start) || int8send(longest)
        || int4send(count) || int4send(excluded) || int4send(intervals), totals, sample, widths, packed, runs
    FROM devices_segment WHERE id = ANY(%s) ORDER BY start_time
"""


class SegmentRow(NamedTuple):
    id: int
    start: PgMicroseconds
    end: PgMicroseconds
    rows: int  # excluded ones included
    age_seconds: float
    is_valid: bool


# --- Reading


def segment_rows(
    cursor: Any, device_id: int, condition: str, parameters: Sequence[object] = ()
) -> list[SegmentRow]:
    """Return the device's segments `s` that fulfil the condition, which may end in an order and a limit."""
    cursor.execute(
        f"""
        SELECT id, timestamptz_send(start_time), timestamptz_send(end_time), count + excluded,
            extract(epoch FROM now() - built_at)::float8, {VALID}
        FROM devices_segment AS s WHERE device_id = %s AND {condition}
        """,
        [device_id, *parameters],
    )
    return [
        SegmentRow(id_, pg_from_bytes(start), pg_from_bytes(end), *rest)
        for id_, start, end, *rest in cursor.fetchall()
    ]


def read_contents(ids: Sequence[int], channels: int) -> list[StoredContents]:
    """Return the contents of segments in the order of time. Raises SegmentReplaced."""
    found = [
        StoredContents(
            np.frombuffer(numbers, NUMBERS)[0],
            bytes(totals),
            np.frombuffer(sample, "<u8"),
            np.frombuffer(widths, np.uint8),
            np.frombuffer(packed, np.uint8),
            np.frombuffer(runs, run_type(channels)),
        )
        for numbers, totals, sample, widths, packed, runs in copy.binary_rows(CONTENTS, [list(ids)])
    ]
    if len(found) != len(ids):
        raise SegmentReplaced
    return found


# --- Writing


class PlacedSegment(NamedTuple):
    """A segment and its stretch of the time line."""

    segment: BuiltSegment
    start: PgMicroseconds
    end: PgMicroseconds


def insert_segments(device_id: int, segments: Sequence[PlacedSegment]) -> None:
    rows = b"".join(copy_row(device_id, *placed) for placed in segments)
    with connection.cursor() as cursor:
        copy.copy_expert(cursor, COPY_IN, row_codec.copy_stream([rows]))


def insert_unbuilt(cursor: Any, device_id: int, start: PgMicroseconds, end: PgMicroseconds) -> None:
    """Fill a stretch with a segment that is valid nowhere: base segments must tile time without holes."""
    cursor.execute(UNBUILT, [device_id, pg_literal(start), pg_literal(end)])


def delete_touching(cursor: Any, device_id: int, start: PgMicroseconds, end: PgMicroseconds) -> None:
    """Delete the segments of all levels that touch a stretch."""
    cursor.execute(
        "DELETE FROM devices_segment WHERE device_id = %s AND end_time > %s AND start_time < %s",
        [device_id, pg_literal(start), pg_literal(end)],
    )


def copy_row(device_id: int, segment: BuiltSegment, start: PgMicroseconds, end: PgMicroseconds) -> bytes:
    """Write a segment as a row of binary COPY."""
    numbers = (
        *((4, device_id), (2, segment.level), (8, start), (8, end)),
        *((4, segment.count), (4, segment.excluded)),
        *((8, segment.low), (8, segment.high), (8, segment.first), (8, segment.last)),
        *((4, segment.interval_count), (8, segment.longest_start), (8, segment.longest)),
    )
    packed = [*segment.values, segment.intervals]
    contents = (
        segment.totals,
        b"".join(part.sample.astype("<u8").tobytes() for part in packed),
        b"".join(part.widths.tobytes() for part in packed),
        b"".join(part.data for part in packed),
        segment.interval_sums.astype("<u8").tobytes(),
        segment.runs,
    )
    head = ROW.pack(len(COLUMNS), *(part for number in numbers for part in number))
    return head + b"".join(struct.pack(">i", len(part)) + part for part in contents)
