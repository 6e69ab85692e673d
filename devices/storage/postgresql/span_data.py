from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from devices.exact.keys import keys_of
from devices.exact.packing import BLOCK, block_bytes, blocks_of, unpack
from devices.exact.sums import exact_sums, unpack_sum
from devices.storage.postgresql import copy
from devices.storage.postgresql.quantiles import ChannelData, fetch_blocks
from devices.timeline.spans import Span, array_literal

# The fields of a segment that are numbers, as the `…send` functions below write them.
SEGMENT_HEAD = np.dtype(
    [
        *((name, ">i8") for name in ("id", "start", "end", "first", "last", "longest_start", "longest")),
        *((name, ">i4") for name in ("count", "excluded", "intervals")),
    ]
)
INTERVAL_SUMS = """
    SELECT string_agg(substring(s.interval_sums FROM q.start), ''::bytea)
    FROM unnest(%s::bigint[], %s::int[]) AS q (id, start) JOIN devices_segment AS s ON s.id = q.id
"""
Bounds = tuple[int, int]


@dataclass(frozen=True)
class UsableSegments:
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


NO_SEGMENTS = UsableSegments(np.empty(0, SEGMENT_HEAD), b"", np.empty(0, np.uint64), np.empty(0, np.uint8))


@dataclass
class SpanData:
    """What is at hand to answer a question about one span. `times`, of its rows, are in order."""

    held: UsableSegments
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
    def columns(self) -> list[ChannelData]:
        """Of the channels."""
        return self.all_columns[:-1]

    @property
    def intervals(self) -> ChannelData:
        """The intervals between readings of different stamps, in microseconds."""
        return self.all_columns[-1]

    @cached_property
    def all_columns(self) -> list[ChannelData]:
        held, channels = self.held, len(self.values)
        steps = self.loose_intervals
        loose = [*keys_of(self.values), steps[steps > 0].astype(np.uint64)]
        totals = self.totals(channels)
        if not len(held.heads):
            return [ChannelData.of_loose(keys, *total) for keys, total in zip(loose, totals, strict=True)]
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
                ChannelData(
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


def long_intervals(parts: Sequence[SpanData], limits: Sequence[float | None]) -> list[tuple[int, int]]:
    """How many intervals of each part are longer than its limit, in microseconds, and their total length."""
    found = []
    for part, limit in zip(parts, limits, strict=True):
        if limit is None or not part.readings:
            found.append((0, 0))
            continue
        loose = part.loose_intervals[part.loose_intervals > limit]
        number, length = long_intervals_in_segments(part, int(limit))
        found.append((len(loose) + number, int(loose.sum()) + length))
    return found


def long_intervals_in_segments(part: SpanData, limit: int) -> tuple[int, int]:
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
    [[sums]] = copy.binary_rows(
        INTERVAL_SUMS, [array_literal(ids.tolist()), array_literal((upto * 8 + 1).tolist())]
    )
    length = int(np.frombuffer(sums or b"", "<u8").sum())
    first_long = (starts[chosen] + upto)[upto > 0] - 1
    [data] = fetch_blocks([(column, first_long)])
    table = unpack(column.samples[first_long], column.widths[first_long], data)
    in_block = np.minimum((counts - (upto - 1) * BLOCK)[upto > 0], BLOCK)
    long = (table > np.uint64(limit)) & (np.arange(BLOCK) < in_block[:, None])
    return number + int(long.sum()), length + int(table[long].sum())
