"""Queries for single readings: pages, newest readings, counts."""

import heapq
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from operator import methodcaller
from typing import Any

import numpy as np

from devices.storage.clickhouse import queries as sql
from devices.storage.clickhouse.parameters import period_bounds, span_bounds
from devices.storage.clickhouse.readings_server import DEVICES_AT_ONCE, ReadingsServer
from devices.storage.clickhouse.row_binary import bits, from_row_binary
from devices.storage.interface import DevicesAndTimes, Position, Rows, StoredReading
from devices.timeline.instants import (
    INFINITY,
    UnixMicroseconds,
    UnixTimes,
    from_unix_microseconds,
    unix_microseconds,
    unix_to_pg,
)
from devices.timeline.periods import Period
from devices.timeline.spans import Span

# Searches for the newest readings begin with the last hour: devices send now, and time alone has no index.
LOOK_BACK = (sql.HOUR, sql.DAY, 30 * sql.DAY)


def page(
    server: ReadingsServer, device_ids: Sequence[int], period: Period, *, limit: int, after: Position | None
) -> list[StoredReading]:
    low, high = period_bounds(period)
    position: dict[str, Any] = {"time": INFINITY, "device": 0}
    found: list[tuple] = []
    if after is not None:
        position = {"time": unix_microseconds(after.time), "device": after.device_id}
        high = min(high, UnixMicroseconds(position["time"] + 1))
        if after.device_id in device_ids and low <= position["time"] < high:
            found = server.query(sql.REST_OF_STAMP, **position, seen=int(after.place), limit=limit)
    for start in search_starts(low, high):
        parameters = {"start": start, "end": high, **position, "limit": limit - len(found)}
        rest = server.query_devices(sql.PAGE, device_ids, **parameters)
        if len(device_ids) > DEVICES_AT_ONCE:
            # Each query has an order and a limit of its own.
            rest = heapq.nlargest(limit - len(found), rest, key=sort_key)
        if start == low or len(found) + len(rest) >= limit:
            return with_places(found + rest, after)
    return with_places(found, after)


def search_starts(low: int, high: int) -> Iterator[int]:
    """Starts of longer and longer periods that end at `high`; the last start is `low`."""
    end = min(high, unix_microseconds(datetime.now(UTC)))
    yield from (start for length in LOOK_BACK if (start := end - length) > low)
    yield low


def sort_key(row: tuple) -> tuple:
    """Return the key by which sql.NEWEST_FIRST sorts, descending."""
    device_id, time, values = row
    return time, device_id, values


def with_places(rows: Sequence[tuple], after: Position | None) -> list[StoredReading]:
    """Make readings; `place` counts those of the same device and stamp up to this one, over all pages."""
    readings: list[StoredReading] = []
    last = after
    for device_id, at, values in rows:
        time = from_unix_microseconds(at)
        seen = 1
        if last is not None and (last.time, last.device_id) == (time, device_id):
            seen += int(last.place)
        readings.append(StoredReading(device_id, time, list(values), str(seen)))
        last = readings[-1].position
    return readings


def latest(server: ReadingsServer, device_ids: Sequence[int]) -> dict[int, StoredReading]:
    return {device_id: readings[0] for device_id, readings in newest(server, device_ids, 1).items()}


def newest(server: ReadingsServer, device_ids: Sequence[int], limit: int) -> dict[int, list[StoredReading]]:
    found: dict[int, list[StoredReading]] = {}
    low, high = period_bounds(Period())
    for start in search_starts(low, high):
        # A device that has fewer in this period may have more before it.
        missing = [device_id for device_id in device_ids if len(found.get(device_id, ())) < limit]
        if not missing:
            break
        rows = server.query_devices(sql.NEWEST, missing, start=start, end=high, limit=limit)
        of_device: dict[int, list[tuple]] = {}
        for row in rows:
            of_device.setdefault(row[0], []).append(row)
        found |= {device_id: with_places(mine, None) for device_id, mine in of_device.items()}
    return found


def newest_times(server: ReadingsServer, device_ids: Sequence[int], limit: int) -> DevicesAndTimes:
    low, high = period_bounds(Period())
    found: dict[int, list[int]] = {}
    for start in search_starts(low, high):
        missing = [device_id for device_id in device_ids if len(found.get(device_id, ())) < limit]
        if not missing:
            break
        fresh: dict[int, list[int]] = {}
        for device_id, time in server.query_devices(
            sql.NEWEST_TIMES, missing, start=start, end=high, limit=limit
        ):
            fresh.setdefault(device_id, []).append(time)
        found |= fresh
    counts = [len(times) for times in found.values()]
    devices = np.repeat(np.fromiter(found, np.int64, len(found)), counts)
    times = np.fromiter(chain.from_iterable(found.values()), np.int64, len(devices))
    return devices, unix_to_pg(UnixTimes(times))


def sent_since(server: ReadingsServer, device_ids: Sequence[int], time: datetime) -> set[int]:
    start, end = period_bounds(Period(time))
    return {row[0] for row in server.query_devices(sql.SENDERS, device_ids, start=start, end=end)}


def first_time(server: ReadingsServer, device_ids: Sequence[int]) -> datetime | None:
    start, end = period_bounds(Period())
    found = server.query_devices(sql.FIRST, device_ids, start=start, end=end)
    return from_unix_microseconds(min(first for (first,) in found)) if found else None


def has(server: ReadingsServer, device_id: int, time: datetime, values: Sequence[float]) -> bool:
    start = unix_microseconds(time)
    found = server.query(sql.HAS, devices=[device_id], start=start, end=start + 1, bits=bits(values))
    return found == [(1,)]


def counts(server: ReadingsServer, device_ids: Sequence[int], period: Period) -> dict[int, int]:
    start, end = period_bounds(period)
    found = server.query_devices(sql.COUNTS, device_ids, start=start, end=end)
    return dict.fromkeys(device_ids, 0) | dict(found)


def rows_of(server: ReadingsServer, span: Span) -> Rows:
    start, end = span_bounds(span)
    parameters: dict[str, Any] = {"devices": [span.device_id], "start": start, "end": end}
    parts = []
    for (width,) in server.query(sql.WIDTHS, **parameters):
        of_width = parameters | {"width": width}
        data = server.call(methodcaller("raw_query", sql.ROWS_OF_WIDTH, of_width, fmt="RowBinary"))
        parts.append(from_row_binary(data, span.device_id, width))
    return Rows(b"".join(part.payload for part in parts), [t for part in parts for t in part.times])
