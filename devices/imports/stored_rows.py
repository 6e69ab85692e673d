"""The readings that a block stored, in few bytes: what an undo takes back.

Devices and times are written as differences, values by the place of their bytes, then all is compressed. So
columns of readings compress far better than rows do (docs/decisions).
"""

import struct
import zlib

import numpy as np

from devices.storage import row_codec
from devices.storage.interface import Rows
from devices.timeline.instants import PgTimes, UnixTimes, pg_to_unix

# The number of values in each reading, and the number of readings, of a run of them.
HEAD = struct.Struct("<HI")
LEVEL = 6


def pack(rows: Rows) -> bytes:
    parts = []
    for table in row_codec.split_by_width(rows.payload) if rows.payload else ():
        width = table["items"].shape[1]
        parts.append(HEAD.pack(width, len(table)))
        for name, kind in (("device", "<i4"), ("time", "<i8")):
            column = table[name].astype(kind)
            parts.append(by_place(np.diff(column, prepend=column.dtype.type(0))))
        values = table["items"]["value"].astype("<f8")
        parts += [by_place(values[:, channel]) for channel in range(width)]
    return zlib.compress(b"".join(parts), LEVEL)


def unpack(data: bytes) -> Rows:
    content, place = zlib.decompress(data), 0
    payloads, times = [b""], [np.empty(0, np.int64)]
    while place < len(content):
        width, count = HEAD.unpack_from(content, place)
        place += HEAD.size
        columns = []
        for kind in ("<i4", "<i8", *["<f8"] * width):
            size = count * np.dtype(kind).itemsize
            columns.append(from_places(content[place : place + size], kind))
            place += size
        devices = np.cumsum(columns[0], dtype=np.int64)
        # Wraps around, as the differences did.
        stamps = pg_to_unix(PgTimes(np.cumsum(columns[1], dtype=np.int64)))
        values = np.stack(columns[2:], axis=1)
        payloads.append(row_codec.encode_rows(devices, stamps, values).payload)
        times.append(stamps)
    return Rows(b"".join(payloads), UnixTimes(np.concatenate(times)))


def by_place(column: np.ndarray) -> bytes:
    """All first bytes, then all second bytes, and so on: neighbours are alike."""
    contiguous = np.ascontiguousarray(column)
    return contiguous.view(np.uint8).reshape(len(contiguous), contiguous.itemsize).T.tobytes()


def from_places(data: bytes, kind: str) -> np.ndarray:
    size = np.dtype(kind).itemsize
    return np.frombuffer(data, np.uint8).reshape(size, -1).T.copy().view(kind).ravel()
