"""Sorted segments: exact sums, and exact ranks of a union of sorted arrays of which little is looked at.

Only arithmetic: no database, no clock. Numbers are handled as keys: whole numbers in the doubles' order.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from decimal import Decimal
from math import ceil, floor, isfinite, sqrt
from typing import NamedTuple

import numpy as np

from devices.exact.keys import LARGEST_KEY
from devices.exact.packing import BLOCK, blocks_of, unpack

# --- Ranks


class Rank(NamedTuple):
    """Where percentile_cont looks: between the values at two places from 0, so far behind the first."""

    low: int
    high: int
    part: float


def fraction_of_percentile(percentile: float | str) -> float:
    """5 and "99.9" as 0.05 and 0.999, the doubles that these texts mean."""
    return float(Decimal(str(percentile)) / 100)


def rank(share: float, count: int) -> Rank:
    """As percentile_cont_final_common in PostgreSQL's orderedsetaggs.c."""
    place = share * (count - 1)
    return Rank(floor(place), ceil(place), place - floor(place))


def interpolate(low: float, high: float, part: float) -> float:
    """As float8_lerp in PostgreSQL; where that overflows, the parts are added."""
    gap = high - low
    return low + part * gap if isfinite(gap) else (1 - part) * low + part * high


@dataclass
class SortedUnion:
    """Sorted arrays in blocks, of which only samples are at hand, and loose values, all as keys.

    `counts`: the arrays' lengths; `samples`: of all arrays' blocks in turn; `loose`: sorted.
    """

    counts: np.ndarray
    samples: np.ndarray
    loose: np.ndarray

    def __post_init__(self) -> None:
        self.size = int(self.counts.sum()) + len(self.loose)
        self.sorted_samples = np.sort(self.samples)
        self.blocks = blocks_of(self.counts)
        self.first_blocks = np.concatenate(([0], np.cumsum(self.blocks)))

    def bounds(self, low: int, high: int, *, is_certain: bool) -> tuple[int, int]:
        """Keys between which the values at the places `low` to `high` are; if not certain, they may be not.

        With s samples below v there are at most BLOCK·s values below v, and with s samples up to v in m
        arrays at least BLOCK·s − (BLOCK − 1)·m up to v. A guess is the middle, ± 4 standard deviations.
        """
        arrays = len(self.counts)
        above, below = 0.0, float(arrays * (BLOCK - 1))
        if not is_certain:
            middle, spread = arrays * BLOCK / 2, 4 * BLOCK * sqrt(arrays / 12)
            above, below = max(middle - spread, above), min(middle + spread, below)
        samples, loose = self.sorted_samples, self.loose
        places = range(len(samples))
        start = bisect_right(
            places, low + above, key=lambda j: BLOCK * j + int(loose.searchsorted(samples[j], "left"))
        )
        end = bisect_left(
            places,
            high + 1 + below,
            key=lambda j: BLOCK * (j + 1) + int(loose.searchsorted(samples[j], "right")),
        )
        return (
            int(samples[start - 1]) if start else 0,
            int(samples[end]) if end < len(samples) else int(LARGEST_KEY),
        )

    def blocks_within(self, low: int, high: int) -> tuple[np.ndarray, int]:
        """The blocks, counted through all arrays, that can hold a key from `low` to `high`; how many values
        of the arrays, each less than `low`, stand before them in their arrays."""
        of_array = np.repeat(np.arange(len(self.counts)), self.blocks)
        below = np.bincount(of_array[self.samples < np.uint64(low)], minlength=len(self.counts))
        upto = np.bincount(of_array[self.samples <= np.uint64(high)], minlength=len(self.counts))
        start = np.maximum(below - 1, 0)
        stop = np.maximum(upto, start)
        sizes = stop - start
        first = self.first_blocks[:-1] + start
        chosen = np.repeat(first - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        return chosen, int(start.sum()) * BLOCK

    def block_counts(self, chosen: np.ndarray) -> np.ndarray:
        """How many values each of these blocks has."""
        array = np.searchsorted(self.first_blocks, chosen, "right") - 1
        place = chosen - self.first_blocks[array]
        return np.minimum(self.counts[array] - place * BLOCK, BLOCK)


@dataclass
class RankSearch:
    """For the values at two neighbouring places of a union. `needed` are the blocks to look into."""

    union: SortedUnion
    low: int
    high: int
    is_certain: bool = False

    def __post_init__(self) -> None:
        self.plan()

    def plan(self) -> None:
        union = self.union
        if len(union.counts) == 0:
            self.answer = (int(union.loose[self.low]), int(union.loose[self.high]))
            self.needed = np.empty(0, np.int64)
            return
        self.answer: tuple[int, int] | None = None
        certain = union.bounds(self.low, self.high, is_certain=True)
        if certain[0] == certain[1]:
            self.answer, self.needed = certain, np.empty(0, np.int64)
            return
        self.bounds = certain if self.is_certain else union.bounds(self.low, self.high, is_certain=False)
        self.needed, self.before = union.blocks_within(*self.bounds)

    def resolve(self, widths: np.ndarray, data: np.ndarray) -> bool:
        """Whether the values were found in the needed blocks; if not, there is a new plan, a certain one.

        `widths`: of the needed blocks; `data`: their bytes, uint8.
        """
        union, (low, high) = self.union, self.bounds
        counts = union.block_counts(self.needed)
        samples = union.samples[self.needed]
        # Blocks of one value count as that value so many times: nothing to unpack, however many they are.
        flat = widths == 0
        table = unpack(samples[~flat], widths[~flat], data)
        found = table[np.arange(BLOCK) < counts[~flat][:, None]]
        first, last = (
            union.loose.searchsorted(np.array([low], np.uint64), "left")[0],
            (union.loose.searchsorted(np.array([high], np.uint64), "right")[0]),
        )
        single = np.concatenate((found, union.loose[first:last]))
        places = self.low - self.before - int(first), self.high - self.before - int(first)
        keys = select(single, samples[flat], counts[flat], places)
        if keys is not None and low <= keys[0] and keys[1] <= high:
            self.answer = keys
            return True
        if self.is_certain:
            raise AssertionError("A rank lies outside its certain bounds.")
        self.is_certain = True
        self.plan()
        return self.answer is not None


def select(
    single: np.ndarray, repeated: np.ndarray, times: np.ndarray, places: tuple[int, int]
) -> tuple[int, int] | None:
    """The keys at two places of a union of keys and repeated keys; None if it has no such places."""
    low, high = places
    if low < 0 or high >= len(single) + int(times.sum()):
        return None
    if not len(repeated):
        ordered = np.partition(single, sorted({low, high}))
        return int(ordered[low]), int(ordered[high])
    keys = np.concatenate((single, repeated))
    weights = np.concatenate((np.ones(len(single), np.int64), times.astype(np.int64)))
    order = np.argsort(keys)
    upto = np.cumsum(weights[order])
    found = keys[order[np.searchsorted(upto, [low, high], "right")]]
    return int(found[0]), int(found[1])
