"""Medians and percentiles of columns whose numbers are partly in segments, partly in rows.

A column is a channel of one span, a channel of several devices pooled, or the intervals between readings. Its
`ColumnData` joins what segments have, sorted arrays of which only samples are in memory, with the loose keys
of rows outside of segments. `find_quantiles` turns each percentile into two places in the sorted union of
both, and lets `devices.exact.ranks.RankSearch` find the keys there: the search names the blocks that it must
look into, and `fetch_blocks` fetches those of all columns and percentiles in one query.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np

from devices.exact.keys import Keys, concatenate
from devices.exact.packing import Bytes, Integers, block_bytes
from devices.exact.ranks import Rank, RankSearch, SortedUnion, rank
from devices.storage.postgresql import copy
from devices.timeline.spans import array_literal

SLICES = """
    SELECT string_agg(substring(s.packed FROM q.start FOR q.size), ''::bytea ORDER BY q.n)
    FROM unnest(%s::bigint[], %s::int[], %s::int[]) WITH ORDINALITY AS q (id, start, size, n)
    JOIN devices_segment AS s ON s.id = q.id
"""


class SegmentReplaced(Exception):
    """A segment was replaced after it was found, which a repeatable-read transaction rules out."""


@dataclass
class ColumnData:
    """The numbers of one column.

    `counts` has the number of keys in each segment. The next four have an entry for each block, segment after
    segment: its first key, its width in bytes, the id of its segment, and where its bytes begin in the
    segment's `packed`. `loose` has the keys of rows outside of segments, not sorted.

    `total` (the exact sum in units), `low` and `high` are known for channels only.
    """

    counts: Integers
    samples: Keys
    widths: Bytes
    segment_ids: Integers
    offsets: Integers
    loose: Keys
    total: int = 0
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        self.count = int(self.counts.sum()) + len(self.loose)

    @classmethod
    def of_rows(cls, loose: Keys, total: int, low: float | None, high: float | None) -> "ColumnData":
        """Make a column without segments."""
        return cls(
            counts=np.empty(0, np.int64),
            samples=np.empty(0, np.uint64),
            widths=np.empty(0, np.uint8),
            segment_ids=np.empty(0, np.int64),
            offsets=np.empty(0, np.int64),
            loose=loose,
            total=total,
            low=low,
            high=high,
        )

    @classmethod
    def pooled(cls, columns: Sequence["ColumnData"]) -> "ColumnData":
        lows = [column.low for column in columns if column.low is not None]
        highs = [column.high for column in columns if column.high is not None]
        return cls(
            counts=np.concatenate([column.counts for column in columns]),
            samples=np.concatenate([column.samples for column in columns]),
            widths=np.concatenate([column.widths for column in columns]),
            segment_ids=np.concatenate([column.segment_ids for column in columns]),
            offsets=np.concatenate([column.offsets for column in columns]),
            loose=np.concatenate([column.loose for column in columns]),
            total=sum(column.total for column in columns),
            low=min(lows, default=None),
            high=max(highs, default=None),
        )


class QuantileBounds(NamedTuple):
    """A quantile lies between the keys `low` and `high`, at the fraction `part` of the way."""

    low: int
    high: int
    part: float
    is_single: bool


class ResolvedSearch(NamedTuple):
    """Stands for a RankSearch where all keys are in memory."""

    answer: tuple[int, int]

    @classmethod
    def at(cls, keys: Keys, place: Rank) -> "ResolvedSearch":
        return cls((int(keys[place.low]), int(keys[place.high])))


# --- Searching


def find_quantiles(
    columns: Sequence[ColumnData], shares: Sequence[Sequence[float]]
) -> list[list[QuantileBounds]]:
    """Return the bounds of each column's shares, of which 0.5 is the median; none for an empty column."""
    ranks = [
        [rank(share, column.count) for share in of_column] if column.count else []
        for column, of_column in zip(columns, shares, strict=True)
    ]
    searches = [begin_searches(column, places) for column, places in zip(columns, ranks, strict=True)]
    resolve_all(columns, searches)
    return [
        [
            QuantileBounds(*cast("tuple[int, int]", search.answer), place.part, place.low == place.high)
            for search, place in zip(of_column, places, strict=True)
        ]
        for of_column, places in zip(searches, ranks, strict=True)
    ]


def begin_searches(column: ColumnData, ranks: Sequence[Rank]) -> Sequence[RankSearch | ResolvedSearch]:
    loose = np.sort(column.loose)
    if not len(column.counts):
        return [ResolvedSearch.at(loose, place) for place in ranks]
    union = SortedUnion(column.counts, column.samples, loose)
    return [RankSearch(union, place.low, place.high) for place in ranks]


def resolve_all(
    columns: Sequence[ColumnData], searches: Sequence[Sequence[RankSearch | ResolvedSearch]]
) -> None:
    pending = [
        (column, search)
        for column, of_column in zip(columns, searches, strict=True)
        for search in of_column
        if search.answer is None
    ]
    # Once as a rule, twice for a search whose guess was wrong.
    while pending:
        data = fetch_blocks([(column, search.needed) for column, search in pending])
        pending = [
            (column, search)
            for (column, search), blocks in zip(pending, data, strict=True)
            if not search.resolve(column.widths[search.needed], blocks)
        ]


# --- Fetching


def fetch_blocks(needed: Sequence[tuple[ColumnData, Integers]]) -> list[Bytes]:
    """Return the bytes of these blocks, one array for each column. Raises SegmentReplaced."""
    sizes = [block_bytes(column.widths[blocks]) for column, blocks in needed]
    ids = concatenate([column.segment_ids[blocks] for column, blocks in needed], np.int64)
    starts = concatenate([column.offsets[blocks] for column, blocks in needed], np.int64)
    data = fetch_slices(ids, starts, concatenate(sizes, np.int64))
    ends = np.cumsum([size.sum() for size in sizes])
    return np.split(data, ends[:-1])


def fetch_slices(ids: Integers, starts: Integers, sizes: Integers) -> Bytes:
    """Return slices of the segments' `packed`, one after the other, in one query. Raises SegmentReplaced."""
    # Blocks of equal values have no bytes.
    filled = np.flatnonzero(sizes)
    ids, starts, sizes = ids[filled], starts[filled], sizes[filled]
    if not len(sizes):
        return np.empty(0, np.uint8)
    # Blocks side by side are fetched as one slice.
    is_first = np.ones(len(sizes), bool)
    is_first[1:] = (ids[1:] != ids[:-1]) | (starts[1:] != starts[:-1] + sizes[:-1])
    firsts = np.flatnonzero(is_first)
    lengths = np.add.reduceat(sizes, firsts)
    # SQL counts bytes from 1.
    arrays = [array_literal(part.tolist()) for part in (ids[firsts], starts[firsts] + 1, lengths)]
    [[found]] = copy.binary_rows(SLICES, arrays)
    data = np.frombuffer(found, np.uint8)
    if len(data) != lengths.sum():
        raise SegmentReplaced
    return data
