"""The data that answer for one span: its usable segments, and the rows outside of them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from devices.exact.keys import Doubles, Keys, keys_of
from devices.exact.packing import Bytes, Integers, block_bytes, blocks_of
from devices.exact.sums import exact_sums
from devices.storage.postgresql.quantiles import ColumnData
from devices.storage.postgresql.segment_contents import SegmentTotals, totals_of
from devices.timeline.instants import PgMicroseconds, PgTimes
from devices.timeline.spans import Span

# The numeric fields of a segment, as `segment_lookup.HEADS` has them sent.
SEGMENT_HEAD = np.dtype(
    [
        *((name, ">i8") for name in ("id", "start", "end", "first", "last", "longest_start", "longest")),
        *((name, ">i4") for name in ("count", "excluded", "intervals")),
    ]
)


@dataclass(frozen=True)
class UsableSegments:
    """The segments that answer for a part of a span, in the order of time.

    `heads` are of SEGMENT_HEAD. `totals`, `samples` and `widths` are the contents of the segments one after
    the other; `samples` and `widths` have one entry for each block, see `BlockLayout`.
    """

    heads: npt.NDArray[Any]
    totals: bytes
    samples: Keys
    widths: Bytes

    def holes(self, span: Span) -> list[Span]:
        """Return the parts of the span that no segment covers."""
        starts = np.append(self.heads["start"], span.end)
        ends = np.maximum.accumulate(np.append(span.start, self.heads["end"]))
        return [
            Span(span.device_id, start, end)
            for start, end in zip(ends.tolist(), starts.tolist(), strict=True)
            if start < end
        ]


NO_SEGMENTS = UsableSegments(np.empty(0, SEGMENT_HEAD), b"", np.empty(0, np.uint64), np.empty(0, np.uint8))


# --- Where the blocks of segments belong


class BlockLayout(NamedTuple):
    """Tells for each block of the usable segments to which column and segment it belongs.

    Blocks come segment after segment, within a segment channel after channel, the intervals last. Of two
    segments of a device with two channels, where [ ] is a block of up to BLOCK keys:

                 segment 0                         segment 1
                 channel 0   channel 1  intervals  channel 0  channel 1  intervals
        blocks   [ ][ ][ ]   [ ][ ][ ]  [ ][ ]     [ ][ ]     [ ][ ]     [ ]
        column    0  0  0     1  1  1    2  2       0  0       1  1       2
        segment   0  0  0     0  0  0    0  0       1  1       1  1       1

    A column of the span is all blocks with its number, in this order. Samples and widths are in memory. The
    other keys of a block are in its segment's row, in the bytes of `packed` from the block's offset on, which
    is the total length of the blocks before it in the same segment.
    """

    counts: Integers  # keys, of shape (segments, columns)
    column: Integers
    segment: Integers
    offset: Integers

    @classmethod
    def of(cls, heads: npt.NDArray[Any], widths: Bytes, channels: int) -> "BlockLayout":
        segments, columns = len(heads), channels + 1
        counts = np.empty((segments, columns), np.int64)
        counts[:, :channels] = heads["count"][:, None]
        counts[:, channels] = heads["intervals"]
        blocks = blocks_of(counts)
        column = np.repeat(np.tile(np.arange(columns), segments), blocks.ravel())
        segment = np.repeat(np.arange(segments), blocks.sum(axis=1))
        return cls(counts, column, segment, offsets_within(segment, block_bytes(widths), segments))


def offsets_within(segment: Integers, sizes: Integers, segments: int) -> Integers:
    """Return where each block begins in its segment, given the segment and the size of each."""
    begins = np.cumsum(sizes) - sizes
    segment_sizes = np.bincount(segment, sizes, segments).astype(np.int64)
    segment_begins = np.cumsum(segment_sizes) - segment_sizes
    offsets: Integers = begins - segment_begins[segment]
    return offsets


# --- A span


class ChannelTotals(NamedTuple):
    total: int  # exact, in units
    low: float | None
    high: float | None


@dataclass
class SpanData:
    """Segments and rows of one span.

    `times` and `values`, float64 of shape (channels, rows), are of the rows outside of segments that are not
    excluded, in the order of time; `rows_read` counts the excluded ones too.
    """

    segments: UsableSegments
    times: PgTimes
    values: Doubles
    rows_read: int

    @property
    def segments_used(self) -> int:
        return len(self.segments.heads)

    @cached_property
    def readings(self) -> int:
        return int(self.segments.heads["count"].sum()) + len(self.times)

    @property
    def excluded(self) -> int:
        return int(self.segments.heads["excluded"].sum()) + self.rows_read - len(self.times)

    # Times and intervals

    @cached_property
    def bounds(self) -> tuple[Integers, Integers]:
        """First and last times of segments and of single rows, in the order of time."""
        heads = self.segments.heads[self.segments.heads["count"] > 0]
        if not len(heads):
            return self.times, self.times
        firsts = np.concatenate((heads["first"].astype(np.int64), self.times))
        lasts = np.concatenate((heads["last"].astype(np.int64), self.times))
        order = np.argsort(firsts, kind="stable")
        return firsts[order], lasts[order]

    @property
    def first(self) -> PgMicroseconds:
        """The time of the first reading, of which there must be one."""
        return PgMicroseconds(int(self.bounds[0][0]))

    @property
    def last(self) -> PgMicroseconds:
        return PgMicroseconds(int(self.bounds[1][-1]))

    @cached_property
    def loose_intervals(self) -> Integers:
        """Intervals outside of segments: between rows, between segments, and from one to the other."""
        firsts, lasts = self.bounds
        return firsts[1:] - lasts[:-1]

    @property
    def longest(self) -> tuple[PgMicroseconds, PgMicroseconds]:
        """Bounds of the longest interval, the first of equals. There must be a reading."""
        firsts, lasts = self.bounds
        found = [(self.first, self.first)]
        if len(self.loose_intervals):
            place = int(self.loose_intervals.argmax())
            found.append((PgMicroseconds(int(lasts[place])), PgMicroseconds(int(firsts[place + 1]))))
        if len(self.segments.heads):
            head = self.segments.heads[self.segments.heads["longest"].argmax()]
            start, length = int(head["longest_start"]), int(head["longest"])
            found.append((PgMicroseconds(start), PgMicroseconds(start + length)))
        return max(sorted(found), key=lambda bounds: bounds[1] - bounds[0])

    # Columns

    @cached_property
    def channels(self) -> list[ColumnData]:
        return self.columns[:-1]

    @property
    def intervals(self) -> ColumnData:
        """The intervals between readings of different times, in microseconds."""
        return self.columns[-1]

    @cached_property
    def columns(self) -> list[ColumnData]:
        """The channels and, last, the intervals; each joins its part of all segments with loose keys."""
        steps = self.loose_intervals
        loose = [*keys_of(self.values), steps[steps > 0].astype(np.uint64)]
        totals = [*self.channel_totals(), ChannelTotals(0, None, None)]
        heads = self.segments.heads
        if not len(heads):
            return [ColumnData.of_rows(keys, *total) for keys, total in zip(loose, totals, strict=True)]
        layout = BlockLayout.of(heads, self.segments.widths, len(self.values))
        segment_ids = heads["id"].astype(np.int64)[layout.segment]
        columns = []
        for number, (keys, total) in enumerate(zip(loose, totals, strict=True)):
            chosen = layout.column == number
            columns.append(
                ColumnData(
                    layout.counts[:, number],
                    self.segments.samples[chosen],
                    self.segments.widths[chosen],
                    segment_ids[chosen],
                    layout.offset[chosen],
                    keys,
                    *total,
                )
            )
        return columns

    def channel_totals(self) -> list[ChannelTotals]:
        channels = len(self.values)
        of_segments = totals_of(self.segments.totals, channels)
        sums = exact_sums(self.values)
        if not len(self.times):
            of_rows: list[SegmentTotals] = [([], [], [total]) for total in sums]
        else:
            lows, highs = self.values.min(axis=1).tolist(), self.values.max(axis=1).tolist()
            of_rows = [([low], [high], [total]) for low, high, total in zip(lows, highs, sums, strict=True)]
        return [
            ChannelTotals(sum(a[2] + b[2]), min(a[0] + b[0], default=None), max(a[1] + b[1], default=None))
            for a, b in zip(of_segments, of_rows, strict=True)
        ]
