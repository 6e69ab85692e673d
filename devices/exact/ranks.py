"""Exact percentiles of values that lie in many sorted arrays and in loose rows; few blocks are looked into.

How a median joins segments and rows. Each segment has a channel's values as one sorted array, packed in
blocks of BLOCK; the first value of every block, its sample, is at hand. The values of rows outside of
segments are loose: few, and all at hand. `SortedUnion` is all of them together, and `rank` says at which two
places of that union, once sorted, the percentile lies. `RankSearch` then finds the values there:

1. Bounds. Samples and loose values tell between which two values, low and high, the sought ones must be. A
   guess gives narrower bounds than the certain ones.
2. Blocks. In each array only the blocks that can hold a value from low to high are needed, some two per
   array. The caller fetches them and passes them to `resolve`.
3. Count. All blocks before the needed ones hold values below low. So the number of skipped values tells at
   which places the sought ones are among the values of the needed blocks, joined with the loose ones from low
   to high. If the values found there are between low and high, they are the answer; if not, the guess was
   wrong, and the search begins again with certain bounds.

Only arithmetic: no database, no clock. Values are handled as keys, see `devices.exact.keys`.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from decimal import Decimal
from math import ceil, floor, isfinite, sqrt
from typing import NamedTuple

import numpy as np

from devices.exact.keys import LARGEST_KEY, Keys
from devices.exact.packing import BLOCK, Bytes, Integers, blocks_of, unpack

# --- The places of a percentile


class Rank(NamedTuple):
    """A percentile lies between the sorted values at the places `low` and `high`, counted from 0, at the
    fraction `part` of the way."""

    low: int
    high: int
    part: float


def fraction_of_percentile(percentile: float | str) -> float:
    """Return 0.05 for 5 and 0.999 for "99.9": the double that the percentile's decimal text means."""
    return float(Decimal(str(percentile)) / 100)


def rank(share: float, count: int) -> Rank:
    """Source: percentile_cont_final_common in PostgreSQL's orderedsetaggs.c."""
    place = share * (count - 1)
    return Rank(floor(place), ceil(place), place - floor(place))


def interpolate(low: float, high: float, part: float) -> float:
    """Source: float8_lerp in PostgreSQL. Where the gap overflows, weighted parts are added."""
    gap = high - low
    return low + part * gap if isfinite(gap) else (1 - part) * low + part * high


# --- The union of sorted arrays and loose values


@dataclass
class SortedUnion:
    """Sorted arrays in blocks, of which only the samples are at hand, and loose values, all as keys.

    `counts` has the length of each array, `samples` the first key of each block, array after array; `loose`
    is sorted.
    """

    counts: Integers
    samples: Keys
    loose: Keys

    def __post_init__(self) -> None:
        self.size = int(self.counts.sum()) + len(self.loose)
        self.sorted_samples = np.sort(self.samples)
        self.blocks = blocks_of(self.counts)
        # Where each array's blocks begin among all blocks, and where the last array's end.
        self.first_blocks: Integers = np.concatenate(([0], np.cumsum(self.blocks)))

    def bounds(self, low: int, high: int, *, is_certain: bool) -> tuple[int, int]:
        """Return keys between which the values at the places `low` to `high` are, or probably are.

        If s samples are < v, at most BLOCK·s values of the arrays are < v. If s samples are ≤ v, at least
        BLOCK·s − (BLOCK − 1)·m values of the m arrays are ≤ v. A guess takes the middle between these two
        bounds, ± 4 standard deviations.
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

    def blocks_within(self, low: int, high: int) -> tuple[Integers, int]:
        """Find the blocks that can hold a key from `low` to `high`.

        Returns their numbers among all blocks, and how many values stand before them in their arrays, each
        of them below `low`.
        """
        of_array = np.repeat(np.arange(len(self.counts)), self.blocks)
        below = np.bincount(of_array[self.samples < np.uint64(low)], minlength=len(self.counts))
        upto = np.bincount(of_array[self.samples <= np.uint64(high)], minlength=len(self.counts))
        # The last block whose sample is below `low` can reach it.
        start = np.maximum(below - 1, 0)
        stop = np.maximum(upto, start)
        sizes = stop - start
        first = self.first_blocks[:-1] + start
        # The ranges first[i] … first[i] + sizes[i] of all arrays in turn.
        chosen = np.repeat(first - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        return chosen, int(start.sum()) * BLOCK

    def block_counts(self, chosen: Integers) -> Integers:
        """Return how many values each of these blocks has: BLOCK, but for the last block of an array."""
        array = np.searchsorted(self.first_blocks, chosen, "right") - 1
        place = chosen - self.first_blocks[array]
        counts: Integers = np.minimum(self.counts[array] - place * BLOCK, BLOCK)
        return counts

    def loose_within(self, low: int, high: int) -> tuple[Keys, int]:
        """Return the loose keys from `low` to `high`, and how many are below."""
        first = int(self.loose.searchsorted(np.array([low], np.uint64), "left")[0])
        last = int(self.loose.searchsorted(np.array([high], np.uint64), "right")[0])
        return self.loose[first:last], first


# --- The search


@dataclass
class RankSearch:
    """Looks for the values at two neighbouring places of a union.

    While `answer` is None, `needed` has the numbers of the blocks that `resolve` waits for.
    """

    union: SortedUnion
    low: int
    high: int
    is_certain: bool = False

    def __post_init__(self) -> None:
        self.answer: tuple[int, int] | None = None
        self.plan()

    def plan(self) -> None:
        """Choose bounds and blocks, or answer at once where no block is needed."""
        union = self.union
        self.needed: Integers = np.empty(0, np.int64)
        if len(union.counts) == 0:
            self.answer = (int(union.loose[self.low]), int(union.loose[self.high]))
            return
        certain = union.bounds(self.low, self.high, is_certain=True)
        if certain[0] == certain[1]:
            self.answer = certain
            return
        self.bounds = certain if self.is_certain else union.bounds(self.low, self.high, is_certain=False)
        self.needed, self.before = union.blocks_within(*self.bounds)

    def resolve(self, widths: Bytes, data: Bytes) -> bool:
        """Look into the needed blocks: their widths, and their bytes one after the other.

        Returns whether `answer` is found. If not, `needed` are new blocks, by certain bounds.
        """
        union, (low, high) = self.union, self.bounds
        counts = union.block_counts(self.needed)
        samples = union.samples[self.needed]
        # A block of one value is that value, repeated: nothing to unpack, however many such blocks there are.
        flat = widths == 0
        table = unpack(samples[~flat], widths[~flat], data)
        in_blocks = table[np.arange(BLOCK) < counts[~flat][:, None]]
        loose, loose_before = union.loose_within(low, high)
        skipped = self.before + loose_before
        keys = select(
            np.concatenate((in_blocks, loose)),
            samples[flat],
            counts[flat],
            (self.low - skipped, self.high - skipped),
        )
        if keys is not None and low <= keys[0] and keys[1] <= high:
            self.answer = keys
            return True
        if self.is_certain:
            raise AssertionError("A rank lies outside its certain bounds.")
        self.is_certain = True
        self.plan()
        return self.answer is not None


def select(single: Keys, repeated: Keys, times: Integers, places: tuple[int, int]) -> tuple[int, int] | None:
    """Return the keys at two places of the sorted union of single keys and of keys repeated so many times.

    None if the union has no such places.
    """
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
