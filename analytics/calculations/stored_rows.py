from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from analytics.kernels.declaration import Row
from analytics.models import Calculation

BLOCK_ROWS = 1000

encode = msgspec.json.Encoder().encode


def batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def payloads(calculation: Calculation) -> Iterator[str]:
    """Its blocks as they are stored, one after another, never all of them in memory."""
    return calculation.blocks.order_by("number").values_list("payload", flat=True).iterator(chunk_size=8)


def all_rows(calculation: Calculation) -> Iterator[dict[str, Any]]:
    for payload in payloads(calculation):
        yield from decoded(payload)


def decoded(payload: str) -> list[dict[str, Any]]:
    return msgspec.json.decode(f"[{payload}]")


def row_slice(calculation: Calculation, start: int, stop: int) -> list[dict[str, Any]]:
    """Its rows from `start` on up to `stop`, not included; reads the blocks that hold them."""
    first, last = start // BLOCK_ROWS, (stop - 1) // BLOCK_ROWS
    blocks = calculation.blocks.filter(number__range=(first, last)).order_by("number")
    found = [row for payload in blocks.values_list("payload", flat=True) for row in decoded(payload)]
    return found[start - first * BLOCK_ROWS : stop - first * BLOCK_ROWS]
