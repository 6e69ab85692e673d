"""Numbers of one channel as they are at hand: in segments, of which blocks can be fetched, and loose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from devices import store
from devices.segments import Search, Union, block_bytes, concatenated, rank
from devices.spans import array

SLICES = """
    SELECT string_agg(substring(s.packed FROM q.start FOR q.size), ''::bytea ORDER BY q.n)
    FROM unnest(%s::bigint[], %s::int[], %s::int[]) WITH ORDINALITY AS q (id, start, size, n)
    JOIN devices_segment AS s ON s.id = q.id
"""


class Gone(Exception):
    """A segment was replaced since it was found; only possible outside of a state that stays."""


@dataclass
class Column:
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

    @property
    def count(self) -> int:
        return int(self.counts.sum()) + len(self.loose)

    @classmethod
    def pooled(cls, columns: Sequence["Column"]) -> "Column":
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


class Found(NamedTuple):
    """The keys between which a percentile is, and how far behind the first."""

    low: int
    high: int
    part: float
    is_single: bool


def find(columns: Sequence[Column], shares: Sequence[Sequence[float]]) -> list[list[Found]]:
    """For each column the places of these shares, 0.5 being the median; none of an empty column.

    The blocks that are needed for all of them are fetched together.
    """
    searches: list[list[tuple[Search, float]]] = []
    for column, of_column in zip(columns, shares, strict=True):
        union = Union(column.counts, column.samples, np.sort(column.loose))
        ranks = [rank(share, union.size) for share in of_column] if union.size else []
        searches.append([(Search(union, r.low, r.high), r.part) for r in ranks])
    pending = [
        (column, search)
        for column, of_column in zip(columns, searches, strict=True)
        for search, _ in of_column
        if search.answer is None
    ]
    while pending:
        data = fetch([(column, search.needed) for column, search in pending])
        pending = [
            (column, search)
            for (column, search), bytes_ in zip(pending, data, strict=True)
            if not search.resolve(column.widths[search.needed], bytes_)
        ]
    return [
        [Found(*search.answer, part, search.low == search.high) for search, part in of_column]
        for of_column in searches
    ]


def fetch(needed: Sequence[tuple[Column, np.ndarray]]) -> list[np.ndarray]:
    """The bytes of these blocks of each column, as uint8. Raises Gone."""
    sizes = [block_bytes(column.widths[blocks]) for column, blocks in needed]
    owners = concatenated([column.owners[blocks] for column, blocks in needed], np.int64)
    starts = concatenated([column.offsets[blocks] for column, blocks in needed], np.int64)
    flat = concatenated(sizes, np.int64)
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
        [[found]] = store.binary_rows(SLICES, [array(part) for part in arrays])
        data = np.frombuffer(found or b"", np.uint8)
        if len(data) != lengths.sum():
            raise Gone
    ends = np.cumsum([size.sum() for size in sizes])
    return np.split(data, ends[:-1])
