"""What answers a question about a span: segments whose stretch is still as they have it, and rows outside.

A segment is used if all its readings are within the span and nothing of its stretch was changed since it was
built. The stretches of the segments that are used leave holes in the span; those are read from rows.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from django.db import connection

from devices.exact.keys import concatenate
from devices.storage import change_log, exclusion_rules, row_codec
from devices.storage.postgresql import copy, readings_table
from devices.storage.postgresql.span_data import (
    NO_SEGMENTS,
    SEGMENT_HEAD,
    SpanData,
    UsableSegments,
)
from devices.timeline.instants import pg_literal
from devices.timeline.spans import Span, array_literal, span_arrays

HEADS = """string_agg(
    int8send(id) || timestamptz_send(start_time) || timestamptz_send(end_time) || timestamptz_send(first_time)
    || timestamptz_send(last_time) || timestamptz_send(longest_start) || int8send(longest)
    || int4send(count) || int4send(excluded) || int4send(intervals), ''::bytea ORDER BY start_time)"""
CONTENTS = "".join(
    f", string_agg({name}, ''::bytea ORDER BY start_time)" for name in ("totals", "sample", "widths")
)
RUNS = ", string_agg(runs, ''::bytea ORDER BY start_time)"
VALID = f"s.cluster = {change_log.CLUSTER} AND {change_log.UNCHANGED.format(snapshot='s.built_in')}"
# The larger segments first, then the smaller ones where those leave holes.
FIND = f"""
    WITH question AS MATERIALIZED (
        SELECT * FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[])
            WITH ORDINALITY AS q (device_id, start_time, end_time, n)
    ), upper AS MATERIALIZED (
        SELECT q.n, s.* FROM question AS q CROSS JOIN LATERAL (
            SELECT * FROM devices_segment AS s
            WHERE s.device_id = q.device_id AND s.level = 1
                AND s.start_time < q.end_time AND s.end_time > q.start_time
                AND s.low_time >= q.start_time AND s.high_time < q.end_time AND {VALID} AND {{condition}}
        ) AS s
    ), mark AS (
        SELECT n, start_time, end_time FROM upper
        UNION ALL SELECT n, end_time, 'infinity' FROM question
    ), hole AS (
        SELECT q.n, q.device_id, m.start_time AS end_time, coalesce(
            lag(m.end_time) OVER (PARTITION BY q.n ORDER BY m.start_time), q.start_time
        ) AS start_time
        FROM mark AS m JOIN question AS q USING (n)
    ), base AS (
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
# So few rows are read at once with the question whether there is more to be heeded than rows.
FEW_ROWS = 1000
FEW = "SELECT * FROM devices_few_readings(%s, %s, %s, %s)"


def read_few_rows(span: Span, width: int) -> tuple[str, SpanData] | None:
    """Of a device with neither segments nor exclusions, and few readings: the state of the database, and all
    that there is. One statement, which sees one state by itself."""
    with connection.cursor() as cursor:
        cursor.execute(FEW, [span.device_id, pg_literal(span.start), pg_literal(span.end), FEW_ROWS + 1])
        state, data = cursor.fetchone()
    if state is None:
        return None
    times, values = row_codec.decode_rows(data or b"", width)
    return None if len(times) > FEW_ROWS else (state, SpanData(NO_SEGMENTS, times, values, len(times)))


def gather(spans: Sequence[Span], widths: Sequence[int]) -> list[SpanData]:
    """`widths`: how many channels each has."""
    held = find_segments(spans)
    holes = [(i, hole) for i, found in enumerate(held) for hole in found.holes(spans[i])]
    rows = counted_rows([hole for _, hole in holes], [widths[i] for i, _ in holes])
    pieces: dict[int, list[exclusion_rules.CountedReadings]] = defaultdict(list)
    for (i, _), piece in zip(holes, rows, strict=True):
        pieces[i].append(piece)
    return [
        SpanData(
            found,
            concatenate([piece.times for piece in pieces[i]], np.int64),
            np.concatenate([np.empty((widths[i], 0)), *(piece.values for piece in pieces[i])], axis=1),
            sum(len(piece.times) + piece.excluded for piece in pieces[i]),
        )
        for i, found in enumerate(held)
    ]


def find_segments(spans: Sequence[Span], *, with_contents: bool = True) -> list[UsableSegments]:
    """The segments that answer for each of the spans."""
    held = [NO_SEGMENTS] * len(spans)
    if not have_segments(spans):
        return held
    query = FIND.format(contents=CONTENTS if with_contents else "", condition="true")
    for n, heads, *contents in copy.binary_rows(query, span_arrays(spans)):
        place = int.from_bytes(n, "big") - 1
        totals, samples, widths = contents or (b"", b"", b"")
        held[place] = UsableSegments(
            np.frombuffer(heads, SEGMENT_HEAD),
            bytes(totals),
            np.frombuffer(samples, "<u8").astype(np.uint64, copy=False),
            np.frombuffer(widths, np.uint8),
        )
    return held


def find_runs(span: Span, condition: str) -> tuple[UsableSegments, bytes]:
    """The segments `s` that answer for the span and fulfil the condition, and their runs."""
    query = FIND.format(contents=RUNS, condition=condition)
    for _, heads, runs in copy.binary_rows(query, span_arrays([span])):
        return replace(NO_SEGMENTS, heads=np.frombuffer(heads, SEGMENT_HEAD)), bytes(runs)
    return NO_SEGMENTS, b""


def have_segments(spans: Sequence[Span]) -> bool:
    """Whether it is worth looking for them: planning that takes longer than reading a hundred rows."""
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


def counted_rows(spans: Sequence[Span], widths: Sequence[int]) -> list[exclusion_rules.CountedReadings]:
    """The readings of each span that are not excluded, and how many are."""
    rules = exclusion_rules.rules_in_force([span.device_id for span in spans])
    by_width: dict[int, list[int]] = defaultdict(list)
    for i, width in enumerate(widths):
        by_width[width].append(i)
    found: dict[int, exclusion_rules.CountedReadings] = {}
    for width, chosen in by_width.items():
        rows = readings_table.read([spans[i] for i in chosen], width)
        for i, (times, values) in zip(chosen, rows, strict=True):
            found[i] = rules.applied(spans[i].device_id, times, values)
    return [found[i] for i in range(len(spans))]


def counts(spans: Sequence[Span]) -> list[int]:
    """How many readings each span has, excluded ones too."""
    held = find_segments(spans, with_contents=False)
    holes = [(i, hole) for i, found in enumerate(held) for hole in found.holes(spans[i])]
    totals = [int(found.heads["count"].sum()) + int(found.heads["excluded"].sum()) for found in held]
    for (i, _), rows in zip(holes, readings_table.counts([hole for _, hole in holes]), strict=True):
        totals[i] += rows
    return totals
