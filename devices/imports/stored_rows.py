"""The readings that a block stored, in few bytes: what an undo takes back.

Devices, times and values are written as columns of differences, all first bytes before all second bytes, and
compressed. Values with few decimals are whole numbers of their last decimal (docs/decisions).
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
MAX_DECIMALS = 9
# Stands where the number of decimals would: the bits of the doubles.
AS_BITS = 255
# Whole numbers up to here are exact as doubles.
EXACT = 2.0**53


def pack(rows: Rows) -> bytes:
    parts = []
    for table in row_codec.split_by_width(rows.payload) if rows.payload else ():
        width = table["items"].shape[1]
        parts += [HEAD.pack(width, len(table)), differences(table["device"]), differences(table["time"])]
        values = table["items"]["value"].astype(np.float64)
        parts += [pack_values(values[:, channel]) for channel in range(width)]
    return zlib.compress(b"".join(parts), LEVEL)


def unpack(data: bytes) -> Rows:
    content, place = zlib.decompress(data), 0
    payloads, times = [b""], [np.empty(0, np.int64)]
    while place < len(content):
        width, count = HEAD.unpack_from(content, place)
        place += HEAD.size
        size = 8 * count
        devices, stamps = (sums(content[at : at + size]) for at in (place, place + size))
        place += 2 * size
        values = np.empty((count, width))
        for channel in range(width):
            values[:, channel] = unpack_values(content[place], content[place + 1 : place + 1 + size])
            place += 1 + size
        times.append(pg_to_unix(PgTimes(stamps)))
        payloads.append(row_codec.encode_rows(devices, UnixTimes(times[-1]), values).payload)
    return Rows(b"".join(payloads), UnixTimes(np.concatenate(times)))


def pack_values(values: np.ndarray) -> bytes:
    """Write the number of decimals, then the values in that unit; or their bits, if that is not exact."""
    values = np.ascontiguousarray(values)
    for decimals in range(MAX_DECIMALS + 1):
        with np.errstate(over="ignore"):
            units = np.rint(values * 10.0**decimals)
        if not (np.abs(units) < EXACT).all():
            break
        numbers = units.astype(np.int64)
        # The bits tell: -0.0 equals 0.0.
        if ((numbers / 10.0**decimals).view(np.int64) == values.view(np.int64)).all():
            return bytes([decimals]) + differences(numbers)
    return bytes([AS_BITS]) + differences(values.view(np.int64))


def unpack_values(decimals: int, data: bytes) -> np.ndarray:
    numbers = sums(data)
    return numbers.view(np.float64) if decimals == AS_BITS else numbers / 10.0**decimals


def differences(column: np.ndarray) -> bytes:
    """Write the differences, which may wrap around: all first bytes, then all second bytes, and so on."""
    steps = np.diff(column.astype("<i8"), prepend=np.int64(0))
    # Small ones of either sign have many zeros: twice the number, or the complement of that.
    folded = (steps << 1) ^ (steps >> 63)
    return folded.view(np.uint8).reshape(len(folded), 8).T.tobytes()


def sums(data: bytes) -> np.ndarray:
    folded = np.frombuffer(data, np.uint8).reshape(8, -1).T.copy().view("<u8").ravel()
    steps = (folded >> np.uint64(1)).astype(np.int64) ^ -(folded & np.uint64(1)).astype(np.int64)
    return np.cumsum(steps, dtype=np.int64)
