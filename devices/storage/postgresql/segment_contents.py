"""A segment made of readings, or of smaller segments: only arithmetic, no database, no clock."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from devices.exact.keys import keys_of
from devices.exact.packing import BLOCK, Packed, block_bytes, blocks_of, pack, unpack
from devices.exact.sums import exact_sum, pack_sum
from devices.storage import exclusion_rules
from devices.storage.postgresql.span_data import totals_of
from devices.timeline.instants import INFINITY, MINUS_INFINITY

BASE, UPPER = 0, 1


@dataclass
class Segment:
    """What is stored of one, but for where it ends: `start` and `end` are set by who makes it."""

    level: int
    count: int
    excluded: int
    low: int
    high: int
    first: int
    last: int
    longest_start: int
    longest: int
    totals: bytes
    values: Sequence[Packed]
    intervals: Packed
    interval_count: int
    interval_sums: np.ndarray
    runs: bytes


def run_type(channels: int) -> np.dtype:
    """A run of readings in the order of time."""
    channel = np.dtype([("low", "<f8"), ("high", "<f8"), ("mean", "<f8")])
    return np.dtype([("first", "<i8"), ("last", "<i8"), ("count", "<i8"), ("channels", channel, (channels,))])


def base_segment(counted: exclusion_rules.CountedReadings, low: int, high: int, run: int) -> Segment:
    """`low`, `high`: the stamps of the first and the last reading, excluded ones too."""
    times, values, excluded = counted
    steps = np.diff(times)
    longest = int(steps.argmax()) if len(steps) else None
    intervals = np.sort(steps[steps > 0].astype(np.uint64))
    totals = b"".join(
        struct.pack("<dd", channel.min(), channel.max()) + pack_sum(exact_sum(channel))
        for channel in (values if len(times) else ())
    )
    return Segment(
        level=BASE,
        count=len(times),
        excluded=excluded,
        low=low,
        high=high,
        first=int(times[0]) if len(times) else INFINITY,
        last=int(times[-1]) if len(times) else MINUS_INFINITY,
        longest_start=INFINITY if longest is None else int(times[longest]),
        longest=0 if longest is None else int(steps[longest]),
        totals=totals,
        values=[pack(np.sort(keys_of(channel))) for channel in values],
        intervals=pack(intervals),
        interval_count=len(intervals),
        interval_sums=block_sums(intervals),
        runs=runs_of(times, values, run),
    )


def block_sums(intervals: np.ndarray) -> np.ndarray:
    return np.add.reduceat(intervals, np.arange(0, len(intervals), BLOCK)) if len(intervals) else intervals


def runs_of(times: np.ndarray, values: np.ndarray, size: int) -> bytes:
    starts = np.arange(0, len(times), size)
    runs = np.zeros(len(starts), run_type(len(values)))
    if len(starts):
        counts = np.diff(starts, append=len(times))
        runs["first"], runs["last"], runs["count"] = times[starts], times[starts + counts - 1], counts
        shares = np.repeat(1 / counts, counts)
        runs["channels"]["low"] = np.minimum.reduceat(values, starts, axis=1).T
        runs["channels"]["high"] = np.maximum.reduceat(values, starts, axis=1).T
        # Divided first: a sum of shares is not too large for a double.
        runs["channels"]["mean"] = np.add.reduceat(values * shares, starts, axis=1).T
    return runs.tobytes()


def cut_places(times: np.ndarray, size: int) -> list[int]:
    """Where to cut readings in the order of time into about `size` each: only between different stamps."""
    places = []
    start = 0
    while start + size < len(times):
        stamp = times[start + size]
        place = int(np.searchsorted(times, stamp))
        if place <= start:
            place = int(np.searchsorted(times, stamp, "right"))
        if place >= len(times):
            break
        places.append(place)
        start = place
    return places


class StoredContents(NamedTuple):
    """A base segment as it is merged."""

    numbers: np.ndarray  # of NUMBERS
    totals: bytes
    samples: np.ndarray
    widths: np.ndarray
    packed: np.ndarray
    runs: np.ndarray  # of run_type


NUMBERS = np.dtype(
    [
        *((name, ">i8") for name in ("low", "high", "first", "last", "longest_start", "longest")),
        *((name, ">i4") for name in ("count", "excluded", "intervals")),
    ]
)


def upper_segment(parts: Sequence[StoredContents], channels: int, run_fan: int) -> Segment:
    """Of base segments that follow each other."""
    numbers = np.array([part.numbers for part in parts], NUMBERS)
    filled = numbers[numbers["count"] > 0]
    firsts, lasts = filled["first"].astype(np.int64), filled["last"].astype(np.int64)
    between = firsts[1:] - lasts[:-1]
    # As in time: an interval within a segment, or one from a segment to the next.
    starts = np.concatenate((filled["longest_start"], lasts[:-1])).astype(np.int64)
    lengths = np.concatenate((filled["longest"], between)).astype(np.int64)
    longest = int(np.lexsort((starts, -lengths))[0]) if len(lengths) else None
    sorted_parts = [keys_in(part, channels) for part in parts]
    columns = [np.sort(np.concatenate(arrays)) for arrays in zip(*sorted_parts, strict=True)]
    intervals = np.sort(np.concatenate((columns.pop(), between[between > 0].astype(np.uint64))))
    return Segment(
        level=UPPER,
        count=int(numbers["count"].sum()),
        excluded=int(numbers["excluded"].sum()),
        low=int(numbers["low"].min()),
        high=int(numbers["high"].max()),
        first=int(numbers["first"].min()),
        last=int(numbers["last"].max()),
        longest_start=INFINITY if longest is None else int(starts[longest]),
        longest=0 if longest is None else int(lengths[longest]),
        totals=merged_totals([part.totals for part in parts], channels),
        values=[pack(column) for column in columns],
        intervals=pack(intervals),
        interval_count=len(intervals),
        interval_sums=block_sums(intervals),
        runs=merged_runs(np.concatenate([part.runs for part in parts]), run_fan),
    )


def keys_in(part: StoredContents, channels: int) -> list[np.ndarray]:
    """The sorted keys of each channel, and the intervals."""
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


def merged_runs(runs: np.ndarray, size: int) -> bytes:
    """Each `size` of them made one."""
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
