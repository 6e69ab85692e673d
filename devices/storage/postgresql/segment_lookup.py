"""Finds what answers for a span: segments that are still valid, and the rows outside of them.

A segment is usable if all its readings are within the span and nothing in its stretch was changed since it
was built. The stretches of the usable segments leave holes in the span; their readings are read from rows.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from django.db import connection

from devices.exact.keys import concatenate
from devices.storage import change_log, exclusion_rules, row_codec
from devices.storage.exclusion_rules import CountedReadings
from devices.storage.postgresql import copy, readings_by_span
from devices.storage.postgresql.span_data import NO_SEGMENTS, SEGMENT_HEAD, SpanData, UsableSegments
from devices.timeline.instants import PgTimes, pg_literal
from devices.timeline.spans import Span, array_literal, span_arrays

# The fields of SEGMENT_HEAD.
HEADS = """string_agg(
    int8send(id) || timestamptz_send(start_time) || timestamptz_send(end_time) || timestamptz_send(first_time)
    || timestamptz_send(last_time) || timestamptz_send(longest_start) || int8send(longest)
    || int4send(count) || int4send(excluded) || int4send(intervals), ''::bytea ORDER BY start_time)"""
CONTENTS = "".join(
    f", string_agg({name}, ''::bytea ORDER BY start_time)" for name in ("totals", "sample", "widths")
)
RUNS = ", string_agg(runs, ''::bytea ORDER BY start_time)"
# A condition on a segment `s`: it was built in this cluster, from data that have not been changed since.
VALID = f"s.cluster = {change_log.CLUSTER} AND {change_log.UNCHANGED.format(snapshot='s.built_in')}"
# One row for each span with usable segments: the span's number, the heads, and contents as chosen.
FIND = f"""
    WITH question AS MATERIALIZED (
        -- The spans, numbered from 1.
        SELECT * FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[])
            WITH ORDINALITY AS q (device_id, start_time, end_time, n)
    ), upper AS MATERIALIZED (
        -- The usable larger segments of each span. Their stretch may reach beyond it, their readings may not.
        SELECT q.n, s.* FROM question AS q CROSS JOIN LATERAL (
            SELECT * FROM devices_segment AS s
            WHERE s.device_id = q.device_id AND s.level = 1
                AND s.start_time < q.end_time AND s.end_time > q.start_time
                AND s.low_time >= q.start_time AND s.high_time < q.end_time AND {VALID} AND {{condition}}
        ) AS s
    ), mark AS (
        -- Where holes end: at each larger segment, and at the end of the span.
        SELECT n, start_time, end_time FROM upper
        UNION ALL SELECT n, end_time, 'infinity' FROM question
    ), hole AS (
        -- What larger segments leave: from the end of the one before, or the start of the span, to a mark.
        SELECT q.n, q.device_id, m.start_time AS end_time, coalesce(
            lag(m.end_time) OVER (PARTITION BY q.n ORDER BY m.start_time), q.start_time
        ) AS start_time
        FROM mark AS m JOIN question AS q USING (n)
    ), base AS (
        -- The usable base segments in the holes. They tile time without gaps: so the first that touches a
        -- hole is the last that starts before it, which an index finds; no index has the end_time.
        SELECT h.n, s.* FROM hole AS h CROSS JOIN LATERAL (
            SELECT * FROM devices_segment AS s
            WHERE s.device_id = h.device_id AND s.level = 0 AND s.start_time < h.end_time
                AND s.start_time >= coalesce((
                    SELECT max(p.start_time) FROM devices_segment AS p
                    WHERE p.device_id = h.device_id AND p.level = 0 AND p.start_time <= h.start_time
                ), '-infinity')
                AND s.low_time >= h.start_time AND s.high_time < h.end_time AND {VALID} AND {{condition}}
        ) AS s
        WHERE h.start_time < h.end_time
    )
    SELECT n::int, {HEADS}{{contents}} FROM (SELECT * FROM upper UNION ALL SELECT * FROM base) AS s GROUP BY n
"""
# Up to FEW_ROWS rows are read in one statement that also finds out whether there is anything but rows.
FEW_ROWS = 1000
FEW = "SELECT * FROM devices_few_readings(%s, %s, %s, %s)"


# --- Segments and rows


def gather(spans: Sequence[Span], channels: Sequence[int]) -> list[SpanData]:
    """Return the data of each span; `channels` has the number of channels of its readings."""
    segments = find_segments(spans)
    holes = [(i, hole) for i, found in enumerate(segments) for hole in found.holes(spans[i])]
    rows = counted_rows([hole for _, hole in holes], [channels[i] for i, _ in holes])
    pieces: dict[int, list[CountedReadings]] = defaultdict(list)
    for (i, _), piece in zip(holes, rows, strict=True):
        pieces[i].append(piece)
    return [
        SpanData(
            found,
            PgTimes(concatenate([piece.times for piece in pieces[i]], np.int64)),
            np.concatenate([np.empty((channels[i], 0)), *(piece.values for piece in pieces[i])], axis=1),
            sum(len(piece.times) + piece.excluded for piece in pieces[i]),
        )
        for i, found in enumerate(segments)
    ]


def counts(spans: Sequence[Span]) -> list[int]:
    """Count the readings of each span, excluded ones included."""
    segments = find_segments(spans, with_contents=False)
    holes = [(i, hole) for i, found in enumerate(segments) for hole in found.holes(spans[i])]
    totals = [int(found.heads["count"].sum()) + int(found.heads["excluded"].sum()) for found in segments]
    for (i, _), rows in zip(holes, readings_by_span.counts([hole for _, hole in holes]), strict=True):
        totals[i] += rows
    return totals


def read_few_rows(span: Span, channels: int) -> tuple[str, SpanData] | None:
    """Return a snapshot and the data of a span; None if the device has segments, exclusions or many readings.

    It is one statement, which sees one state of the data by itself.
    """
    with connection.cursor() as cursor:
        cursor.execute(FEW, [span.device_id, pg_literal(span.start), pg_literal(span.end), FEW_ROWS + 1])
        snapshot, data = cursor.fetchone()
    if snapshot is None:
        return None
    times, values = row_codec.decode_rows(data or b"", channels)
    return None if len(times) > FEW_ROWS else (snapshot, SpanData(NO_SEGMENTS, times, values, len(times)))


# --- Segments


def find_segments(spans: Sequence[Span], *, with_contents: bool = True) -> list[UsableSegments]:
    segments = [NO_SEGMENTS] * len(spans)
    if not have_segments(spans):
        return segments
    query = FIND.format(contents=CONTENTS if with_contents else "", condition="true")
    for n, heads, *contents in copy.binary_rows(query, span_arrays(spans)):
        totals, samples, widths = contents or (b"", b"", b"")
        segments[int.from_bytes(n, "big") - 1] = UsableSegments(
            np.frombuffer(heads, SEGMENT_HEAD),
            bytes(totals),
            np.frombuffer(samples, "<u8").astype(np.uint64, copy=False),
            np.frombuffer(widths, np.uint8),
        )
    return segments


def find_runs(span: Span, condition: str) -> tuple[UsableSegments, bytes]:
    """Return the usable segments `s` that fulfil the condition, and their runs."""
    query = FIND.format(contents=RUNS, condition=condition)
    for _, heads, runs in copy.binary_rows(query, span_arrays([span])):
        return replace(NO_SEGMENTS, heads=np.frombuffer(heads, SEGMENT_HEAD)), bytes(runs)
    return NO_SEGMENTS, b""


def have_segments(spans: Sequence[Span]) -> bool:
    """Tell whether FIND can find any: its planning takes longer than reading a hundred rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT EXISTS (
                SELECT FROM unnest(%s::int[]) AS d (id)
                WHERE EXISTS (SELECT FROM devices_segment AS s WHERE s.device_id = d.id)
            )
            """,
            [array_literal(span.device_id for span in spans)],
        )
        return cursor.fetchone()[0]


# --- Rows


def counted_rows(spans: Sequence[Span], channels: Sequence[int]) -> list[CountedReadings]:
    """Read the rows of each span and leave out the excluded ones."""
    rules = exclusion_rules.rules_in_force([span.device_id for span in spans])
    by_channels: dict[int, list[int]] = defaultdict(list)
    for i, number in enumerate(channels):
        by_channels[number].append(i)
    found: dict[int, CountedReadings] = {}
    for number, chosen in by_channels.items():
        rows = readings_by_span.read([spans[i] for i in chosen], number)
        for i, (times, values) in zip(chosen, rows, strict=True):
            found[i] = rules.applied(spans[i].device_id, times, values)
    return [found[i] for i in range(len(spans))]
