from collections.abc import Iterable

import numpy as np

from devices.storage import row_codec
from devices.storage.clickhouse import queries as sql

# --- Rows


def to_row_binary(payload: bytes) -> bytes:
    """Rows of PostgreSQL's binary COPY as ClickHouse's RowBinary has them."""
    blocks = []
    for rows in row_codec.split_by_width(payload):
        width = rows["items"].shape[1]
        block = np.empty(len(rows), binary_type(width))
        block["device"] = rows["device"]
        block["time"] = rows["time"].astype(np.int64) + sql.SHIFT
        block["size"] = np.frombuffer(varint(width), np.uint8)
        block["values"] = rows["items"]["value"]
        blocks.append(block.tobytes())
    return b"".join(blocks)


def binary_type(width: int, *, with_device: bool = True) -> np.dtype:
    fields = [("time", "<i8"), ("size", "u1", (len(varint(width)),)), ("values", "<f8", (width,))]
    return np.dtype([("device", "<i4"), *fields] if with_device else fields)


def varint(number: int) -> bytes:
    """LEB128."""
    groups = []
    while number >= 128:
        groups.append(number % 128 + 128)
        number //= 128
    return bytes([*groups, number])


def bits(values: Iterable[float]) -> list[int]:
    return np.array(list(values), np.float64).view(np.uint64).tolist()
