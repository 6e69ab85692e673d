"""What answers a question about a span: segments whose stretch is still as they have it, and rows outside.

A segment is used if all its readings are within the span and nothing of its stretch was changed since it was
built. The stretches of the segments that are used leave holes in the span; those are read from rows.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from django.db import connection

from devices import journal, store
from devices.columns import Column, fetch
from devices.segments import (
    BLOCK,
    block_bytes,
    blocks_of,
    concatenated,
    exact_sums,
    keys_of,
    unpack,
    unpack_sum,
)
from devices.spans import Span, array, arrays, literal

# The fields of a segment that are numbers, as the `…send` functions below write them.
HEAD = np.dtype(
    [
        *((name, ">i8") for name in ("id", "start", "end", "first", "last", "longest_start", "longest")),
        *((name, ">i4") for name in ("count", "excluded", "intervals")),
    ]
)
HEADS = """string_agg(
    int8send(id) || timestamptz_send(start_time) || timestamptz_send(end_time) || timestamptz_send(first_time)
    || timestamptz_send(last_time) || timestamptz_send(longest_start) || int8send(longest)
    || int4send(count) || int4send(excluded) || int4send(intervals), ''::bytea ORDER BY start_time)"""
CONTENTS = "".join(
    f", string_agg({name}, ''::bytea ORDER BY start_time)" for name in ("totals", "sample", "widths")
)
RUNS = ", string_agg(runs, ''::bytea ORDER BY start_time)"
VALID = f"s.cluster = {journal.CLUSTER} AND {journal.UNCHANGED.format(snapshot='s.built_in')}"
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
INTERVAL_SUMS = """
    SELECT string_agg(substring(s.interval_sums FROM q.start), ''::bytea)
    FROM unnest(%s::bigint[], %s::int[]) AS q (id, start) JOIN devices_segment AS s ON s.id = q.id
"""
# So few rows are read at once with the question whether there is more to be heeded than rows.
FEW_ROWS = 1000
FEW = "SELECT * FROM devices_few_readings(%s, %s, %s, %s)"
Bounds = tuple[int, int]


@dataclass(frozen=True)
class Held:
    """The segments that answer for a part of a span, in the order of time."""

    heads: np.ndarray
    totals: bytes
    samples: np.ndarray
    widths: np.ndarray

    def holes(self, span: Span) -> list[Span]:
        """What they leave of the span."""
        starts = np.append(self.heads["start"], span.end)
        ends = np.maximum.accumulate(np.append(span.start, self.heads["end"]))
        return [
            Span(span.device_id, start, end)
            for start, end in zip(ends.tolist(), starts.tolist(), strict=True)
            if start < end
        ]


NOTHING = Held(np.empty(0, HEAD), b"", np.empty(0, np.uint64), np.empty(0, np.uint8))


@dataclass
class Part:
    """What is at hand to answer a question about one span. `times`, of its rows, are in order."""

    held: Held
    times: np.ndarray
    values: np.ndarray
    rows_read: int

    @property
    def segments_used(self) -> int:
        return len(self.held.heads)

    @cached_property
    def readings(self) -> int:
        return int(self.held.heads["count"].sum()) + len(self.times)

    @property
    def excluded(self) -> int:
        return int(self.held.heads["excluded"].sum()) + self.rows_read - len(self.times)

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """First and last times of the segments and of the single rows, in the order of time."""
        heads = self.held.heads[self.held.heads["count"] > 0]
        if not len(heads):
            return self.times, self.times
        firsts = np.concatenate((heads["first"].astype(np.int64), self.times))
        lasts = np.concatenate((heads["last"].astype(np.int64), self.times))
        order = np.argsort(firsts, kind="stable")
        return firsts[order], lasts[order]

    @property
    def first(self) -> int:
        """Of a part with readings."""
        return int(self.bounds[0][0])

    @property
    def last(self) -> int:
        return int(self.bounds[1][-1])

    @cached_property
    def loose_intervals(self) -> np.ndarray:
        """Between rows, between segments, and between both."""
        firsts, lasts = self.bounds
        return firsts[1:] - lasts[:-1]

    @property
    def longest(self) -> Bounds:
        """The longest interval, the first of equals; of a part with readings."""
        firsts, lasts = self.bounds
        found = [(self.first, self.first)]
        if len(self.loose_intervals):
            place = int(self.loose_intervals.argmax())
            found.append((int(lasts[place]), int(firsts[place + 1])))
        if len(self.held.heads):
            head = self.held.heads[self.held.heads["longest"].argmax()]
            found.append((int(head["longest_start"]), int(head["longest_start"] + head["longest"])))
        return max(sorted(found), key=lambda bounds: bounds[1] - bounds[0])

    @cached_property
    def columns(self) -> list[Column]:
        """Of the channels."""
        return self.all_columns[:-1]

    @property
    def intervals(self) -> Column:
        """The intervals between readings of different stamps, in microseconds."""
        return self.all_columns[-1]

    @cached_property
    def all_columns(self) -> list[Column]:
        held, channels = self.held, len(self.values)
        steps = self.loose_intervals
        loose = [*keys_of(self.values), steps[steps > 0].astype(np.uint64)]
        totals = self.totals(channels)
        if not len(held.heads):
            return [Column.of_loose(keys, *total) for keys, total in zip(loose, totals, strict=True)]
        heads = held.heads
        counts = np.empty((len(heads), channels + 1), np.int64)
        counts[:, :channels] = heads["count"][:, None]
        counts[:, channels] = heads["intervals"]
        blocks = blocks_of(counts).ravel()
        channel = np.repeat(np.tile(np.arange(channels + 1), len(heads)), blocks)
        segment = np.repeat(np.repeat(np.arange(len(heads)), channels + 1), blocks)
        sizes = block_bytes(held.widths)
        of_segment = np.bincount(segment, sizes, len(heads)).astype(np.int64)
        offsets = (
            np.cumsum(sizes)
            - sizes
            - np.repeat(
                np.cumsum(of_segment) - of_segment, blocks.reshape(len(heads), channels + 1).sum(axis=1)
            )
        )
        owners = heads["id"].astype(np.int64)[segment]
        columns = []
        for place in range(channels + 1):
            chosen = channel == place
            columns.append(
                Column(
                    counts[:, place],
                    held.samples[chosen],
                    held.widths[chosen],
                    owners[chosen],
                    offsets[chosen],
                    loose[place],
                    *totals[place],
                )
            )
        return columns

    def totals(self, channels: int) -> list[tuple[int, float | None, float | None]]:
        """Exact sum, least and largest value of each channel; none of the intervals."""
        segments = totals_of(self.held.totals, channels)
        sums = exact_sums(self.values)
        if not len(self.times):
            rows = [([], [], [total]) for total in sums]
        else:
            lows, highs = self.values.min(axis=1).tolist(), self.values.max(axis=1).tolist()
            rows = [([low], [high], [total]) for low, high, total in zip(lows, highs, sums, strict=True)]
        found = [
            (sum(a[2] + b[2]), min(a[0] + b[0], default=None), max(a[1] + b[1], default=None))
            for a, b in zip(segments, rows, strict=True)
        ]
        return [*found, (0, None, None)]


def totals_of(data: bytes, channels: int) -> list[tuple[list[float], list[float], list[int]]]:
    """Least and largest values and exact sums of each channel, by segment; nothing of empty segments."""
    found: list[tuple[list[float], list[float], list[int]]] = [([], [], []) for _ in range(channels)]
    place = 0
    while place < len(data):
        for lows, highs, sums in found:
            low, high = np.frombuffer(data, "<f8", 2, place).tolist()
            total, place = unpack_sum(data, place + 16)
            lows.append(low)
            highs.append(high)
            sums.append(total)
    return found


def few_rows(span: Span, width: int) -> tuple[str, Part] | None:
    """Of a device with neither segments nor exclusions, and few readings: the state of the database, and all
    that there is. One statement, which sees one state by itself."""
    with connection.cursor() as cursor:
        cursor.execute(FEW, [span.device_id, literal(span.start), literal(span.end), FEW_ROWS + 1])
        state, data = cursor.fetchone()
    if state is None:
        return None
    times, values = store.decode_rows(data or b"", width)
    return None if len(times) > FEW_ROWS else (state, Part(NOTHING, times, values, len(times)))


def gather(spans: Sequence[Span], widths: Sequence[int]) -> list[Part]:
    """`widths`: how many channels each has."""
    held = find(spans)
    holes = [(i, hole) for i, found in enumerate(held) for hole in found.holes(spans[i])]
    rows = rows_of([hole for _, hole in holes], [widths[i] for i, _ in holes])
    pieces: dict[int, list[store.Counted]] = defaultdict(list)
    for (i, _), piece in zip(holes, rows, strict=True):
        pieces[i].append(piece)
    return [
        Part(
            found,
            concatenated([piece.times for piece in pieces[i]], np.int64),
            np.concatenate([np.empty((widths[i], 0)), *(piece.values for piece in pieces[i])], axis=1),
            sum(len(piece.times) + piece.excluded for piece in pieces[i]),
        )
        for i, found in enumerate(held)
    ]


def find(spans: Sequence[Span], *, with_contents: bool = True) -> list[Held]:
    """The segments that answer for each of the spans."""
    held = [NOTHING] * len(spans)
    if not have_segments(spans):
        return held
    query = FIND.format(contents=CONTENTS if with_contents else "", condition="true")
    for n, heads, *contents in store.binary_rows(query, arrays(spans)):
        place = int.from_bytes(n, "big") - 1
        totals, samples, widths = contents or (b"", b"", b"")
        held[place] = Held(
            np.frombuffer(heads, HEAD),
            bytes(totals),
            np.frombuffer(samples, "<u8").astype(np.uint64, copy=False),
            np.frombuffer(widths, np.uint8),
        )
    return held


def find_runs(span: Span, condition: str) -> tuple[Held, bytes]:
    """The segments `s` that answer for the span and fulfil the condition, and their runs."""
    query = FIND.format(contents=RUNS, condition=condition)
    for _, heads, runs in store.binary_rows(query, arrays([span])):
        return replace(NOTHING, heads=np.frombuffer(heads, HEAD)), bytes(runs)
    return NOTHING, b""


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
            [array(span.device_id for span in spans)],
        )
        return cursor.fetchone()[0]


def rows_of(spans: Sequence[Span], widths: Sequence[int]) -> list[store.Counted]:
    """The readings of each span that are not excluded, and how many are."""
    rules = store.exclusions([span.device_id for span in spans])
    by_width: dict[int, list[int]] = defaultdict(list)
    for i, width in enumerate(widths):
        by_width[width].append(i)
    found: dict[int, store.Counted] = {}
    for width, chosen in by_width.items():
        rows = store.read([spans[i] for i in chosen], width)
        for i, (times, values) in zip(chosen, rows, strict=True):
            found[i] = rules.applied(spans[i].device_id, times, values)
    return [found[i] for i in range(len(spans))]


def counts(spans: Sequence[Span]) -> list[int]:
    """How many readings each span has, excluded ones too."""
    held = find(spans, with_contents=False)
    holes = [(i, hole) for i, found in enumerate(held) for hole in found.holes(spans[i])]
    totals = [int(found.heads["count"].sum()) + int(found.heads["excluded"].sum()) for found in held]
    for (i, _), rows in zip(holes, store.counts([hole for _, hole in holes]), strict=True):
        totals[i] += rows
    return totals


def long_intervals(parts: Sequence[Part], limits: Sequence[float | None]) -> list[tuple[int, int]]:
    """How many intervals of each part are longer than its limit, in microseconds, and their total length."""
    found = []
    for part, limit in zip(parts, limits, strict=True):
        if limit is None or not part.readings:
            found.append((0, 0))
            continue
        loose = part.loose_intervals[part.loose_intervals > limit]
        number, length = long_intervals_held(part, int(limit))
        found.append((len(loose) + number, int(loose.sum()) + length))
    return found


def long_intervals_held(part: Part, limit: int) -> tuple[int, int]:
    """The same of those within segments: blocks whose first is longer count whole, by their sums; the one
    before them in each segment is looked into."""
    chosen = np.flatnonzero(part.held.heads["longest"] > limit)
    if not len(chosen):
        return 0, 0
    column = part.intervals
    ends = np.cumsum(blocks_of(column.counts))
    starts = ends - blocks_of(column.counts)
    segment = np.repeat(np.arange(len(ends)), ends - starts)
    upto = np.bincount(segment[column.samples <= np.uint64(limit)], minlength=len(ends))[chosen]
    counts = column.counts[chosen]
    number = int(np.maximum(counts - upto * BLOCK, 0).sum())
    ids = part.held.heads["id"][chosen]
    [[sums]] = store.binary_rows(INTERVAL_SUMS, [array(ids.tolist()), array((upto * 8 + 1).tolist())])
    length = int(np.frombuffer(sums or b"", "<u8").sum())
    first_long = (starts[chosen] + upto)[upto > 0] - 1
    [data] = fetch([(column, first_long)])
    table = unpack(column.samples[first_long], column.widths[first_long], data)
    in_block = np.minimum((counts - (upto - 1) * BLOCK)[upto > 0], BLOCK)
    long = (table > np.uint64(limit)) & (np.arange(BLOCK) < in_block[:, None])
    return number + int(long.sum()), length + int(table[long].sum())
