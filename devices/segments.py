"""Sorted segments: exact sums, and exact ranks of a union of sorted arrays of which little is looked at.

Only arithmetic: no database, no clock. Numbers are handled as keys: whole numbers in the doubles' order.
"""

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil, floor, isfinite, sqrt
from typing import NamedTuple

import numpy as np

# Values in a block: one of them is its sample, the others are packed as differences.
BLOCK = 256
SIGN = np.uint64(1 << 63)
LARGEST_KEY = np.uint64(2**64 - 1)
# Every double is a whole multiple of the smallest one, which is 1 / UNITS.
UNITS = 2**1074
# So many halves of 27 bits add up in a double without rounding.
SUM_CHUNK = 2**25
LOW_BITS = 27
LOW_MASK = 2**LOW_BITS - 1
FEW = 1024
# Exponents of doubles as frexp gives them: subnormal ones down to here.
LEAST_EXPONENT = -1073
EXPONENTS = 1024 - LEAST_EXPONENT + 1


def keys_of(values: np.ndarray) -> np.ndarray:
    """uint64 in the order of the doubles; -0.0 comes before 0.0, and every bit is kept."""
    bits = np.ascontiguousarray(values, np.float64).view(np.uint64)
    return bits ^ np.where(bits >> np.uint64(63), LARGEST_KEY, SIGN)


def values_of(keys: np.ndarray) -> np.ndarray:
    """The doubles that these keys stand for."""
    keys = np.ascontiguousarray(keys, np.uint64)
    return (keys ^ np.where(keys >> np.uint64(63), SIGN, LARGEST_KEY)).view(np.float64)


def value_of(key: int) -> float:
    """Of one."""
    bits = key ^ (1 << 63 if key >> 63 else 2**64 - 1)
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


# --- Exact sums


def exact_sums(table: np.ndarray) -> list[int]:
    """Of each row of a table of finite doubles its sum in units of the smallest double: nothing is rounded,
    in whatever order."""
    rows, columns = table.shape
    if not table.size:
        return [0] * rows
    if columns <= FEW:
        fractions, exponents = np.frexp(table)
        least = int(exponents.min())
        shifts = exponents - least
        if shifts.max() < LOW_BITS:
            # Halves of so few, so little shifted, add up in 64 bits.
            mantissas = np.ldexp(fractions, 53).astype(np.int64)
            highs = ((mantissas >> LOW_BITS) << shifts).sum(axis=1).tolist()
            lows = ((mantissas & LOW_MASK) << shifts).sum(axis=1).tolist()
            totals = [(high << LOW_BITS) + low for high, low in zip(highs, lows, strict=True)]
            return [in_units(total << (least - LEAST_EXPONENT)) for total in totals]
    return [exact_sum(row) for row in table]


def exact_sum(values: np.ndarray) -> int:
    """The sum of finite doubles, likewise."""
    return sum(chunk_sum(values[i : i + SUM_CHUNK]) for i in range(0, len(values), SUM_CHUNK))


def chunk_sum(values: np.ndarray) -> int:
    fractions, exponents = np.frexp(values)
    mantissas = np.ldexp(fractions, 53).astype(np.int64)
    places = exponents - LEAST_EXPONENT
    # Sums of one exponent, each in two halves that no double rounds.
    high = np.bincount(places, mantissas >> LOW_BITS, EXPONENTS)
    low = np.bincount(places, mantissas & LOW_MASK, EXPONENTS)
    total = 0
    for place in np.flatnonzero((high != 0) | (low != 0)).tolist():
        total += ((int(high[place]) << LOW_BITS) + int(low[place])) << place
    return in_units(total)


def in_units(total: int) -> int:
    """Of mantissas shifted by their exponents less LEAST_EXPONENT."""
    # A mantissa of exponent e counts 2^(e - 53), which is 2^(e + 1074 - 53) units.
    return total >> (53 - 1074 - LEAST_EXPONENT)


def pack_sum(total: int) -> bytes:
    """Few bytes for a sum of numbers of similar size: its trailing zero bits are counted only."""
    zeros = (total & -total).bit_length() - 1 if total else 0
    digits = total >> zeros
    size = digits.bit_length() // 8 + 1
    return struct.pack("<HH", zeros, size) + digits.to_bytes(size, "little", signed=True)


def unpack_sum(data: bytes, start: int) -> tuple[int, int]:
    """The sum that begins at `start`, and where it ends."""
    zeros, size = struct.unpack_from("<HH", data, start)
    end = start + 4 + size
    return int.from_bytes(data[start + 4 : end], "little", signed=True) << zeros, end


def rounded(total: int, divisor: int = 1) -> float | None:
    """The nearest double to a sum in units, divided; None beyond the largest double."""
    try:
        # Dividing whole numbers rounds correctly.
        return total / (UNITS * divisor)
    except OverflowError:
        return None


# --- Packing


class Packed(NamedTuple):
    """A sorted array in blocks of BLOCK. The first of each block stands in `sample`, the others in `data`, as
    differences to the one before, each of as many little-endian bytes as the block's `width` says."""

    sample: np.ndarray  # uint64, a key per block
    widths: np.ndarray  # uint8, 0 to 8
    data: bytes


def blocks_of(count: int | np.ndarray) -> int | np.ndarray:
    return -(-count // BLOCK)


def pack(keys: np.ndarray) -> Packed:
    """`keys`: sorted uint64."""
    blocks = blocks_of(len(keys))
    if not blocks:
        return Packed(np.empty(0, np.uint64), np.empty(0, np.uint8), b"")
    padded = np.full(blocks * BLOCK, keys[-1], np.uint64)
    padded[: len(keys)] = keys
    table = padded.reshape(blocks, BLOCK)
    steps = table[:, 1:] - table[:, :-1]
    largest = steps.max(axis=1)
    limits = np.uint64(1) << (np.uint64(8) * np.arange(8, dtype=np.uint64))
    widths = np.searchsorted(limits, largest, "right").astype(np.uint8)
    small = steps.view(np.uint8).reshape(blocks, BLOCK - 1, 8)
    ends = np.flatnonzero(np.diff(widths, append=9)) + 1
    parts, start = [], 0
    for end in ends.tolist():
        if widths[start]:
            parts.append(small[start:end, :, : widths[start]].tobytes())
        start = end
    return Packed(table[:, 0].copy(), widths, b"".join(parts))


def block_bytes(widths: np.ndarray) -> np.ndarray:
    """How many bytes each block has."""
    return widths.astype(np.int64) * (BLOCK - 1)


def unpack(sample: np.ndarray, widths: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Keys of shape (blocks, BLOCK) of whole blocks; `data`: uint8. The last of an array ends in copies."""
    table = np.zeros((len(widths), BLOCK), np.uint64)
    table[:, 0] = sample
    ends = np.cumsum(block_bytes(widths))
    for width in np.unique(widths).tolist():
        if not width:
            continue
        chosen = np.flatnonzero(widths == width)
        starts = ends[chosen] - width * (BLOCK - 1)
        if chosen[-1] - chosen[0] + 1 == len(chosen):
            raw = data[starts[0] : ends[chosen[-1]]]
        else:
            raw = data[starts[:, None] + np.arange(width * (BLOCK - 1))]
        wide = np.zeros((len(chosen), BLOCK - 1, 8), np.uint8)
        wide[:, :, :width] = raw.reshape(len(chosen), BLOCK - 1, width)
        table[chosen, 1:] = wide.view(np.uint64)[:, :, 0]
    return np.cumsum(table, axis=1, dtype=np.uint64)


# --- Ranks


class Rank(NamedTuple):
    """Where percentile_cont looks: between the values at two places from 0, so far behind the first."""

    low: int
    high: int
    part: float


def fraction(percentile: float | str) -> float:
    """5 and "99.9" as 0.05 and 0.999, the doubles that these texts mean."""
    return float(Decimal(str(percentile)) / 100)


def rank(share: float, count: int) -> Rank:
    """As percentile_cont_final_common in PostgreSQL's orderedsetaggs.c."""
    place = share * (count - 1)
    return Rank(floor(place), ceil(place), place - floor(place))


def between(low: float, high: float, part: float) -> float:
    """As float8_lerp in PostgreSQL; where that overflows, the parts are added."""
    gap = high - low
    return low + part * gap if isfinite(gap) else (1 - part) * low + part * high


@dataclass
class Union:
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
class Search:
    """For the values at two neighbouring places of a union. `needed` are the blocks to look into."""

    union: Union
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


def concatenated(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
