"""Readings as bytes: rows of PostgreSQL's binary COPY, made once when readings are accepted.

A row is (device_id int4, time timestamptz, values float8[]), big-endian, each field after its length.
"""

import io
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from devices.storage.interface import Rows
from devices.timeline.instants import PgTimes, UnixMicroseconds, UnixTimes, unix_to_pg

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
# The type of an array's items, as pg_type has it.
FLOAT8 = 701
# An array has ARRAY_BYTES, and ITEM_BYTES for each value; the number of values stands at SIZE_AT in a row.
ARRAY_BYTES, ITEM_BYTES = 20, 12
SIZE_AT = 38


def encode_row(device_id: int, time: UnixMicroseconds, values: Sequence[float]) -> Rows:
    count = len(values)
    array = (ARRAY_BYTES + ITEM_BYTES * count, 1, 0, FLOAT8, count, 1)
    items = [part for value in values for part in (8, value)]
    return Rows(row_format(count).pack(3, 4, device_id, 8, unix_to_pg(time), *array, *items), (time,))


@lru_cache(maxsize=64)
def row_format(count: int) -> struct.Struct:
    # Field count; device; time; array: length, dimensions, nulls, type, size, lower bound; items.
    return struct.Struct(">h ii iq iiiIii" + "id" * count)


def encode_rows(
    device_ids: int | npt.NDArray[np.int64], times: UnixTimes, values: npt.NDArray[np.float64]
) -> Rows:
    """Encode readings with the same number of channels.

    `values` has shape (readings, channels); `device_ids` is one for all, or one for each.
    """
    count = values.shape[1]
    table = np.empty(len(times), row_type(count))
    head = {"fields": 3, "l1": 4, "device": device_ids, "l2": 8, "time": unix_to_pg(times)}
    length = ARRAY_BYTES + ITEM_BYTES * count
    array = {"l3": length, "dimensions": 1, "nulls": 0, "type": FLOAT8, "size": count, "lower": 1}
    for name, value in (head | array).items():
        table[name] = value
    table["items"]["length"] = 8
    table["items"]["value"] = values
    return Rows(table.tobytes(), times)


@lru_cache(maxsize=64)
def row_type(count: int) -> np.dtype:
    """Return the layout of `row_format` for numpy."""
    integers = ("l3", "dimensions", "nulls", "type", "size", "lower")
    item = np.dtype([("length", ">i4"), ("value", ">f8")])
    return np.dtype(
        [
            ("fields", ">i2"),
            *(("l1", ">i4"), ("device", ">i4")),
            *(("l2", ">i4"), ("time", ">i8")),
            *((name, ">i4") for name in integers),
            ("items", item, (count,)),
        ]
    )


def devices_and_times(payload: bytes) -> tuple[npt.NDArray[np.int64], PgTimes]:
    """Return the device and the time of each row."""
    found = split_by_width(payload)
    device_ids = [rows["device"].astype(np.int64) for rows in found]
    times = [rows["time"].astype(np.int64) for rows in found]
    return np.concatenate(device_ids), PgTimes(np.concatenate(times))


def split_by_width(payload: bytes) -> list[np.ndarray]:
    """Return the rows as tables of `row_type`: one for each run of rows with the same number of values."""
    found, place = [], 0
    while place < len(payload):
        count = int.from_bytes(payload[place + SIZE_AT : place + SIZE_AT + 4], "big")
        layout = row_type(count)
        rows = np.frombuffer(payload, layout, (len(payload) - place) // layout.itemsize, place)
        # What follows the run is misread; its first row shows it.
        is_same = (rows["fields"] == 3) & (rows["l3"] == ARRAY_BYTES + ITEM_BYTES * count)
        found.append(rows[np.cumprod(is_same).astype(bool)])
        place += len(found[-1]) * layout.itemsize
    return found


def copy_stream(payloads: Iterable[bytes]) -> io.BytesIO:
    return io.BytesIO(b"".join((COPY_HEADER, *payloads, COPY_END)))


def copied_rows(data: memoryview) -> memoryview:
    """Return the rows of a binary COPY."""
    return data[len(COPY_HEADER) : -len(COPY_END)]


def decode_binary_copy(data: memoryview, channel_count: int) -> np.ndarray:
    """Read a COPY of (int4, timestamptz, float8[]) as a table of `row_type`.

    Raises ValueError if a row has another number of values.
    """
    return decode_table(copied_rows(data), row_type(channel_count), channel_count)


def decode_rows(data: bytes | memoryview, channel_count: int) -> tuple[PgTimes, npt.NDArray[np.float64]]:
    """Read `timestamptz_send(time) || array_send(values)` of many readings.

    Returns their times and their values, of shape (channels, readings). Raises ValueError if a reading has
    another number of values.
    """
    table = decode_table(data, sent_type(channel_count), channel_count)
    return times_and_values(table)


def decode_table(data: bytes | memoryview, layout: np.dtype, channel_count: int) -> np.ndarray:
    rows, rest = divmod(len(data), layout.itemsize)
    table = np.frombuffer(data, layout, rows)
    if rest or (table["size"] != channel_count).any():
        raise wrong_count(channel_count)
    return table


def times_and_values(table: np.ndarray) -> tuple[PgTimes, npt.NDArray[np.float64]]:
    return PgTimes(table["time"].astype(np.int64)), table["items"]["value"].astype(np.float64).T


@lru_cache(maxsize=64)
def sent_type(count: int) -> np.dtype:
    """Return the layout of a row without the lengths before its fields, and without its device."""
    return np.dtype([("time", ">i8"), *row_type(count).descr[6:]])


def wrong_count(channel_count: int) -> ValueError:
    return ValueError(f"A stored reading does not have {channel_count} values.")
