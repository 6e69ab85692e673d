"""A calculation's rows as they are stored, in blocks of JSON: written by `compute`, read everywhere else."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from analytics.kernels.declaration import Row
from analytics.models import Calculation

BLOCK_ROWS = 1000
BLOCKS_AT_ONCE = 8

encode = msgspec.json.Encoder().encode


class RowsGone(Exception):
    """Stored rows are no longer there."""


def batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def payloads(calculation: Calculation) -> Iterator[str]:
    """The stored blocks in order; at most BLOCKS_AT_ONCE are in memory.

    Each query is complete: a streamed answer goes on in another thread, which has another connection. Raises
    RowsGone if the calculation was deleted meanwhile.
    """
    blocks = calculation.blocks.order_by("number").values_list("payload", flat=True)
    count, is_last = 0, False
    while not is_last:
        found = list(blocks.filter(number__range=(count, count + BLOCKS_AT_ONCE - 1)))
        count, is_last = count + len(found), len(found) < BLOCKS_AT_ONCE
        yield from found
    if count * BLOCK_ROWS < calculation.row_count:
        raise RowsGone(f"Rows of calculation {calculation.pk} are missing.")


def all_rows(calculation: Calculation) -> Iterator[dict[str, Any]]:
    for payload in payloads(calculation):
        yield from decode(payload)


def decode(payload: str) -> list[dict[str, Any]]:
    return msgspec.json.decode(f"[{payload}]")


def row_slice(calculation: Calculation, start: int, stop: int) -> list[dict[str, Any]]:
    """Rows `start` up to `stop`, not included; reads only their blocks."""
    first, last = start // BLOCK_ROWS, (stop - 1) // BLOCK_ROWS
    blocks = calculation.blocks.filter(number__range=(first, last)).order_by("number")
    rows = [row for payload in blocks.values_list("payload", flat=True) for row in decode(payload)]
    return rows[start - first * BLOCK_ROWS : stop - first * BLOCK_ROWS]
