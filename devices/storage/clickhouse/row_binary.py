"""ClickHouse's RowBinary format, from and to rows of PostgreSQL's binary COPY."""

from collections.abc import Iterable

import numpy as np

from devices.storage import row_codec
from devices.storage.interface import Rows
from devices.timeline.instants import PgTimes, UnixTimes, pg_to_unix


def to_row_binary(payload: bytes) -> bytes:
    """Convert rows of PostgreSQL's binary COPY."""
    blocks = []
    for rows in row_codec.split_by_width(payload):
        width = rows["items"].shape[1]
        block = np.empty(len(rows), row_type(width))
        block["device"] = rows["device"]
        block["time"] = pg_to_unix(PgTimes(rows["time"].astype(np.int64)))
        block["size"] = np.frombuffer(varint(width), np.uint8)
        block["values"] = rows["items"]["value"]
        blocks.append(block.tobytes())
    return b"".join(blocks)


def from_row_binary(data: bytes, device_id: int, width: int) -> Rows:
    """Convert rows of (time, values) of one device, each with `width` values."""
    table = np.frombuffer(data, row_type(width, with_device=False))
    return row_codec.encode_rows(
        device_id, UnixTimes(table["time"].astype(np.int64)), table["values"].astype(np.float64)
    )


def row_type(width: int, *, with_device: bool = True) -> np.dtype:
    fields = [("time", "<i8"), ("size", "u1", (len(varint(width)),)), ("values", "<f8", (width,))]
    return np.dtype([("device", "<i4"), *fields] if with_device else fields)


def varint(number: int) -> bytes:
    """Encode as unsigned LEB128, the length of an array in RowBinary."""
    groups = []
    while number >= 128:
        groups.append(number % 128 + 128)
        number //= 128
    return bytes([*groups, number])


def bits(values: Iterable[float]) -> list[int]:
    """Return each double's 64 bits, by which SQL compares values exactly."""
    return np.array(list(values), np.float64).view(np.uint64).tolist()
