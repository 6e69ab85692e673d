"""Numbers of one channel as they are at hand: in segments, of which blocks can be fetched, and loose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from devices.exact.keys import concatenate
from devices.exact.packing import block_bytes
from devices.exact.ranks import Rank, RankSearch, SortedUnion, rank
from devices.storage.postgresql import copy
from devices.timeline.spans import array_literal

SLICES = """
    SELECT string_agg(substring(s.packed FROM q.start FOR q.size), ''::bytea ORDER BY q.n)
    FROM unnest(%s::bigint[], %s::int[], %s::int[]) WITH ORDINALITY AS q (id, start, size, n)
    JOIN devices_segment AS s ON s.id = q.id
"""


NO_BLOCKS = tuple(np.empty(0, kind) for kind in (np.int64, np.uint64, np.uint8, np.int64, np.int64))


class SegmentReplaced(Exception):
    """A segment was replaced since it was found; only possible outside of a state that stays."""


@dataclass
class ChannelData:
    """`counts` of the segments; of each of their blocks, in turn, its first key, its width in bytes, and
    where its bytes are: in which segment, from which offset. `loose`: keys of the rows outside, in no order.

    `total`, of a channel: the exact sum in units; `low` and `high`: the bounds of all values.
    """

    counts: np.ndarray
    samples: np.ndarray
    widths: np.ndarray
    owners: np.ndarray
    offsets: np.ndarray
    loose: np.ndarray
    total: int = 0
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        self.count = int(self.counts.sum()) + len(self.loose)

    @classmethod
    def of_loose(cls, loose: np.ndarray, total: int, low: float | None, high: float | None) -> "ChannelData":
        """Without any segments."""
        return cls(*NO_BLOCKS, loose=loose, total=total, low=low, high=high)

    @classmethod
    def pooled(cls, columns: Sequence["ChannelData"]) -> "ChannelData":
        lows = [column.low for column in columns if column.low is not None]
        highs = [column.high for column in columns if column.high is not None]
        return cls(
            *(
                np.concatenate([getattr(column, name) for column in columns])
                for name in ("counts", "samples", "widths", "owners", "offsets", "loose")
            ),
            total=sum(column.total for column in columns),
            low=min(lows, default=None),
            high=max(highs, default=None),
        )


class QuantileBounds(NamedTuple):
    """The keys between which a percentile is, and how far behind the first."""

    low: int
    high: int
    part: float
    is_single: bool


class ResolvedSearch(NamedTuple):
    """What stands for a search where all values are at hand."""

    answer: tuple[int, int]

    @classmethod
    def at(cls, keys: np.ndarray, place: Rank) -> "ResolvedSearch":
        return cls((int(keys[place.low]), int(keys[place.high])))


def find_quantiles(
    columns: Sequence[ChannelData], shares: Sequence[Sequence[float]]
) -> list[list[QuantileBounds]]:
    """For each column the places of these shares, 0.5 being the median; none of an empty column.

    The blocks that are needed for all of them are fetched together.
    """
    places = [
        [rank(share, column.count) for share in of_column] if column.count else []
        for column, of_column in zip(columns, shares, strict=True)
    ]
    searches: list[list[RankSearch | ResolvedSearch]] = []
    for column, ranks in zip(columns, places, strict=True):
        loose = np.sort(column.loose)
        if not len(column.counts):
            searches.append([ResolvedSearch.at(loose, place) for place in ranks])
            continue
        union = SortedUnion(column.counts, column.samples, loose)
        searches.append([RankSearch(union, place.low, place.high) for place in ranks])
    pending = [
        (column, search)
        for column, of_column in zip(columns, searches, strict=True)
        for search in of_column
        if search.answer is None
    ]
    while pending:
        data = fetch_blocks([(column, search.needed) for column, search in pending])
        pending = [
            (column, search)
            for (column, search), bytes_ in zip(pending, data, strict=True)
            if not search.resolve(column.widths[search.needed], bytes_)
        ]
    return [
        [
            QuantileBounds(*search.answer, place.part, place.low == place.high)
            for search, place in zip(of_column, ranks, strict=True)
        ]
        for of_column, ranks in zip(searches, places, strict=True)
    ]


def fetch_blocks(needed: Sequence[tuple[ChannelData, np.ndarray]]) -> list[np.ndarray]:
    """The bytes of these blocks of each column, as uint8. Raises Gone."""
    sizes = [block_bytes(column.widths[blocks]) for column, blocks in needed]
    owners = concatenate([column.owners[blocks] for column, blocks in needed], np.int64)
    starts = concatenate([column.offsets[blocks] for column, blocks in needed], np.int64)
    flat = concatenate(sizes, np.int64)
    # Blocks side by side are one slice.
    filled = np.flatnonzero(flat)
    owners, starts, flat = owners[filled], starts[filled], flat[filled]
    is_first = np.ones(len(flat), bool)
    is_first[1:] = (owners[1:] != owners[:-1]) | (starts[1:] != starts[:-1] + flat[:-1])
    firsts = np.flatnonzero(is_first)
    data = np.empty(0, np.uint8)
    if len(firsts):
        lengths = np.add.reduceat(flat, firsts)
        arrays = [owners[firsts], starts[firsts] + 1, lengths]
        [[found]] = copy.binary_rows(SLICES, [array_literal(part) for part in arrays])
        data = np.frombuffer(found or b"", np.uint8)
        if len(data) != lengths.sum():
            raise SegmentReplaced
    ends = np.cumsum([size.sum() for size in sizes])
    return np.split(data, ends[:-1])
