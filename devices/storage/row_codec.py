import io
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from devices.storage.interface import Rows
from devices.timeline.instants import (
    PG_EPOCH_IN_UNIX,
)

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
FLOAT8 = 701


def encode_row(device_id: int, time: int, values: Sequence[float]) -> Rows:
    """One reading; `time` in microseconds since 1970."""
    count = len(values)
    head = (3, 4, device_id, 8, time - PG_EPOCH_IN_UNIX, 20 + 12 * count, 1, 0, FLOAT8, count, 1)
    items = [part for value in values for part in (8, value)]
    return Rows(row_format(count).pack(*head, *items), (time,))


@lru_cache(maxsize=64)
def row_format(count: int) -> struct.Struct:
    # Field count; device; time; array: length, dimensions, nulls, type, size, lower bound; items.
    return struct.Struct(">h ii iq iiiIii" + "id" * count)


def encode_rows(device_ids: int | np.ndarray, times: np.ndarray, values: np.ndarray) -> Rows:
    """Readings with the same number of channels, as `encode` makes one by one.

    `times`: int64 microseconds since 1970 of shape (n,); `values`: float64 of shape (n, channels);
    `device_ids`: one for all, or of shape (n,).
    """
    count = values.shape[1]
    table = np.empty(len(times), row_type(count))
    head = {"fields": 3, "l1": 4, "device": device_ids, "l2": 8, "time": times - PG_EPOCH_IN_UNIX}
    array = {"l3": 20 + 12 * count, "dimensions": 1, "nulls": 0, "type": FLOAT8, "size": count, "lower": 1}
    for name, value in (head | array).items():
        table[name] = value
    table["items"]["length"] = 8
    table["items"]["value"] = values
    return Rows(table.tobytes(), times)


@lru_cache(maxsize=64)
def row_type(count: int) -> np.dtype:
    """The same layout as `row_format`."""
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


def devices_and_times(payload: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Device ids and times, in microseconds since 2000, of the rows that `encode` or `encode_many` made."""
    found = split_by_width(payload)
    device_ids = [rows["device"].astype(np.int64) for rows in found]
    return np.concatenate(device_ids), np.concatenate([rows["time"].astype(np.int64) for rows in found])


def split_by_width(payload: bytes) -> list[np.ndarray]:
    """The same rows in `row_type`s: each as many of them as follow each other with one number of values."""
    found, place = [], 0
    while place < len(payload):
        count = int.from_bytes(payload[place + 38 : place + 42], "big")
        layout = row_type(count)
        rows = np.frombuffer(payload, layout, (len(payload) - place) // layout.itemsize, place)
        same = np.cumprod((rows["fields"] == 3) & (rows["l3"] == 20 + 12 * count)).astype(bool)
        found.append(rows[same])
        place += len(found[-1]) * layout.itemsize
    return found


def copy_stream(payloads: Iterable[bytes]) -> io.BytesIO:
    return io.BytesIO(b"".join((COPY_HEADER, *payloads, COPY_END)))


def decode_binary_copy(data: memoryview, channel_count: int) -> np.ndarray:
    """Rows of (int4, timestamptz, float8[]) as a structured array. Raises ValueError if an array has another
    number of values."""
    layout = row_type(channel_count)
    rows, rest = divmod(data.nbytes - 21, layout.itemsize)
    table = np.frombuffer(data, layout, count=rows, offset=19)
    if rest or (table["size"] != channel_count).any():
        raise wrong_count(channel_count)
    return table


def decode_rows(data: bytes | memoryview, channel_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Times and values, as `read` has them, of `timestamptz_send(time) || array_send(values)`."""
    layout = sent_type(channel_count)
    rows, rest = divmod(len(data), layout.itemsize)
    table = np.frombuffer(data, layout, rows)
    if rest or (table["size"] != channel_count).any():
        raise wrong_count(channel_count)
    return table["time"].astype(np.int64), table["items"]["value"].astype(np.float64).T


@lru_cache(maxsize=64)
def sent_type(count: int) -> np.dtype:
    """As in a row of a COPY, but for the lengths before the fields."""
    return np.dtype([("time", ">i8"), *row_type(count).descr[6:]])


def wrong_count(channel_count: int) -> ValueError:
    return ValueError(f"A stored reading has not {channel_count} values.")
