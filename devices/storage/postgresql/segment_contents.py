"""The contents of a segment, computed from readings or from smaller segments: no database, no clock."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from devices.exact.keys import Doubles, Keys, keys_of
from devices.exact.packing import BLOCK, Bytes, Integers, Packed, block_bytes, blocks_of, pack, unpack
from devices.exact.sums import exact_sum, pack_sum, unpack_sum
from devices.storage.exclusion_rules import CountedReadings
from devices.timeline.instants import INFINITY, MINUS_INFINITY, PgMicroseconds, PgTimes

BASE, UPPER = 0, 1


@dataclass
class BuiltSegment:
    """The contents of a segment. Without readings, times are INFINITY or MINUS_INFINITY.

    `low` and `high` are the first and the last time of all readings, `first` and `last` those of the readings
    that are not excluded. `longest_start` and `longest` are the start and the length of the longest interval.
    """

    level: int
    count: int
    excluded: int
    low: PgMicroseconds
    high: PgMicroseconds
    first: PgMicroseconds
    last: PgMicroseconds
    longest_start: PgMicroseconds
    longest: int
    totals: bytes
    values: Sequence[Packed]
    intervals: Packed
    interval_count: int
    interval_sums: Keys  # one for each block of intervals
    runs: bytes


def run_type(channels: int) -> np.dtype:
    """Return the layout of a run: readings that follow each other in time, summed up for charts."""
    channel = np.dtype([("low", "<f8"), ("high", "<f8"), ("mean", "<f8")])
    return np.dtype([("first", "<i8"), ("last", "<i8"), ("count", "<i8"), ("channels", channel, (channels,))])


# --- Base segments


def base_segment(
    counted: CountedReadings, low: PgMicroseconds, high: PgMicroseconds, run_size: int
) -> BuiltSegment:
    """Make a segment of readings; `low` and `high` bound the excluded ones too."""
    times, values, excluded = counted
    steps = np.diff(times)
    longest = int(steps.argmax()) if len(steps) else None
    intervals = np.sort(steps[steps > 0].astype(np.uint64))
    totals = b"".join(
        struct.pack("<dd", channel.min(), channel.max()) + pack_sum(exact_sum(channel))
        for channel in (values if len(times) else ())
    )
    return BuiltSegment(
        level=BASE,
        count=len(times),
        excluded=excluded,
        low=low,
        high=high,
        first=PgMicroseconds(int(times[0])) if len(times) else INFINITY,
        last=PgMicroseconds(int(times[-1])) if len(times) else MINUS_INFINITY,
        longest_start=INFINITY if longest is None else PgMicroseconds(int(times[longest])),
        longest=0 if longest is None else int(steps[longest]),
        totals=totals,
        values=[pack(np.sort(keys_of(channel))) for channel in values],
        intervals=pack(intervals),
        interval_count=len(intervals),
        interval_sums=block_sums(intervals),
        runs=runs_of(times, values, run_size),
    )


def block_sums(intervals: Keys) -> Keys:
    return np.add.reduceat(intervals, np.arange(0, len(intervals), BLOCK)) if len(intervals) else intervals


def runs_of(times: PgTimes, values: Doubles, size: int) -> bytes:
    starts = np.arange(0, len(times), size)
    runs = np.zeros(len(starts), run_type(len(values)))
    if len(starts):
        counts = np.diff(starts, append=len(times))
        runs["first"], runs["last"], runs["count"] = times[starts], times[starts + counts - 1], counts
        shares = np.repeat(1 / counts, counts)
        runs["channels"]["low"] = np.minimum.reduceat(values, starts, axis=1).T
        runs["channels"]["high"] = np.maximum.reduceat(values, starts, axis=1).T
        # Divided before they are added: the sum cannot exceed the largest double.
        runs["channels"]["mean"] = np.add.reduceat(values * shares, starts, axis=1).T
    return runs.tobytes()


def cut_places(times: PgTimes, size: int) -> list[int]:
    """Return where to cut readings into parts of about `size`: only between different times."""
    places = []
    start = 0
    while start + size < len(times):
        time = times[start + size]
        place = int(np.searchsorted(times, time))
        if place <= start:
            place = int(np.searchsorted(times, time, "right"))
        if place >= len(times):
            break
        places.append(place)
        start = place
    return places


# --- Reading totals


# Of one channel: the least values, the largest values and the exact sums, one for each segment.
SegmentTotals = tuple[list[float], list[float], list[int]]


def totals_of(data: bytes, channels: int) -> list[SegmentTotals]:
    """Read the totals of segments, which follow each other; a segment without readings has none."""
    found: list[SegmentTotals] = [([], [], []) for _ in range(channels)]
    place = 0
    while place < len(data):
        for lows, highs, sums in found:
            low, high = np.frombuffer(data, "<f8", 2, place).tolist()
            total, place = unpack_sum(data, place + 16)
            lows.append(low)
            highs.append(high)
            sums.append(total)
    return found


# --- Larger segments


NUMBERS = np.dtype(
    [
        *((name, ">i8") for name in ("low", "high", "first", "last", "longest_start", "longest")),
        *((name, ">i4") for name in ("count", "excluded", "intervals")),
    ]
)


class StoredContents(NamedTuple):
    """A base segment as it is read to be merged."""

    numbers: npt.NDArray[Any]  # of NUMBERS
    totals: bytes
    samples: Keys
    widths: Bytes
    packed: Bytes
    runs: npt.NDArray[Any]  # of run_type


def upper_segment(parts: Sequence[StoredContents], channels: int, run_fan: int) -> BuiltSegment:
    """Merge base segments that follow each other; `run_fan` of their runs become one."""
    numbers = np.array([part.numbers for part in parts], NUMBERS)
    filled = numbers[numbers["count"] > 0]
    firsts, lasts = filled["first"].astype(np.int64), filled["last"].astype(np.int64)
    between = firsts[1:] - lasts[:-1]
    longest_start, longest = longest_interval(filled, lasts[:-1], between)
    sorted_parts = [sorted_columns(part, channels) for part in parts]
    columns = [np.sort(np.concatenate(arrays)) for arrays in zip(*sorted_parts, strict=True)]
    intervals = np.sort(np.concatenate((columns.pop(), between[between > 0].astype(np.uint64))))
    return BuiltSegment(
        level=UPPER,
        count=int(numbers["count"].sum()),
        excluded=int(numbers["excluded"].sum()),
        low=PgMicroseconds(int(numbers["low"].min())),
        high=PgMicroseconds(int(numbers["high"].max())),
        first=PgMicroseconds(int(numbers["first"].min())),
        last=PgMicroseconds(int(numbers["last"].max())),
        longest_start=longest_start,
        longest=longest,
        totals=merged_totals([part.totals for part in parts], channels),
        values=[pack(column) for column in columns],
        intervals=pack(intervals),
        interval_count=len(intervals),
        interval_sums=block_sums(intervals),
        runs=merged_runs(np.concatenate([part.runs for part in parts]), run_fan),
    )


def longest_interval(
    filled: npt.NDArray[Any], ends: Integers, between: Integers
) -> tuple[PgMicroseconds, int]:
    """Return start and length of the longest interval, the first of equals.

    It is within one of the `filled` segments, or `between` two: from the end of one to the next.
    """
    starts = np.concatenate((filled["longest_start"], ends)).astype(np.int64)
    lengths = np.concatenate((filled["longest"], between)).astype(np.int64)
    if not len(lengths):
        return INFINITY, 0
    longest = int(np.lexsort((starts, -lengths))[0])
    return PgMicroseconds(int(starts[longest])), int(lengths[longest])


def sorted_columns(part: StoredContents, channels: int) -> list[Keys]:
    """Unpack the sorted keys of each channel and, last, the sorted intervals."""
    found, block, place = [], 0, 0
    for count in [int(part.numbers["count"])] * channels + [int(part.numbers["intervals"])]:
        chosen = slice(block, block + blocks_of(count))
        widths = part.widths[chosen]
        size = int(block_bytes(widths).sum())
        table = unpack(part.samples[chosen], widths, part.packed[place : place + size])
        found.append(table.ravel()[:count])
        block, place = chosen.stop, place + size
    return found


def merged_totals(totals: Sequence[bytes], channels: int) -> bytes:
    merged = totals_of(b"".join(totals), channels)
    return b"".join(
        struct.pack("<dd", min(lows), max(highs)) + pack_sum(sum(sums))
        for lows, highs, sums in merged
        if lows
    )


def merged_runs(runs: npt.NDArray[Any], size: int) -> bytes:
    starts = np.arange(0, len(runs), size)
    merged = np.zeros(len(starts), runs.dtype)
    if len(starts):
        counts = np.add.reduceat(runs["count"], starts)
        shares = runs["count"] / np.repeat(counts, np.diff(starts, append=len(runs)))
        merged["first"], merged["count"] = runs["first"][starts], counts
        merged["last"] = np.maximum.reduceat(runs["last"], starts)
        channels = runs["channels"]
        merged["channels"]["low"] = np.minimum.reduceat(channels["low"], starts)
        merged["channels"]["high"] = np.maximum.reduceat(channels["high"], starts)
        merged["channels"]["mean"] = np.add.reduceat(channels["mean"] * shares[:, None], starts)
    return merged.tobytes()
