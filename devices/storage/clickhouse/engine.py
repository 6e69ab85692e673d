"""Readings in ClickHouse, for what outgrows one machine. The same answers as PostgreSQL, to the last bit.

Figures are computed there and are exact: values are sorted for their ranks (`quantileExactInclusive` adds 1
before it takes the fraction, and so differs from percentile_cont in the last digits), and sums are taken of
whole mantissas by exponent. Nothing is looked up by a row's id: equal readings are interchangeable.

Once only: an insert has a token, by which ClickHouse knows one that comes again. Those of an Idempotency-Key
and of an import are always the same; all others are random, for the client's own second tries.
"""

import heapq
import re
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import uuid4

import numpy as np
from django.db import connection, transaction

from devices.exact.sums import rounded
from devices.storage import change_log, late_readings, row_codec
from devices.storage.clickhouse import queries as sql
from devices.storage.clickhouse.client import NO_SCHEMA, Server
from devices.storage.clickhouse.figures import (
    OF_POOLS,
    channel_figures,
    column_starts,
    figures_of,
    is_consistent,
    layers,
    parameters_of,
    pool_parameters,
    sum_of_mantissas,
    unix_bound,
)
from devices.storage.clickhouse.row_binary import binary_type, bits, to_row_binary
from devices.storage.interface import (
    NO_FIGURES,
    ChartSeries,
    DayChecksum,
    Figures,
    FiguresAnswer,
    FiguresQuery,
    Pool,
    Position,
    Report,
    Rows,
    StorageUnavailable,
    StoredReading,
)
from devices.timeline.instants import INFINITY, MINUS_INFINITY, from_unix_microseconds, unix_microseconds
from devices.timeline.periods import Period
from devices.timeline.spans import Span

# Between inserts of one process, of the readings of whichever requests: each makes a part to be merged.
INSERT_EVERY_SECONDS = 0.05
# Readings are looked for in the last hour first: devices send now, and there is no index on time alone.
LOOK_BACK = (sql.HOUR, sql.DAY, 30 * sql.DAY)
ATTEMPTS = 5
# To be deleted by one statement, whose length is bounded.
SPANS_AT_ONCE = 500
# Ids in one query: a server takes parameters of up to 128 KiB (http_max_field_value_size).
DEVICES_AT_ONCE = 10_000
PLACE = re.compile(r"[0-9]{1,9}")


class ClickHouse(Server):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.insert_at = 0.0
        self.turn = threading.Lock()

    def create_schema(self, cluster: str = "") -> None:
        """One table; of a cluster a replicated one on each shard, and one over all. Raises Unavailable."""
        self.run(sql.schema(cluster))

    @cached_property
    def table(self) -> tuple[str, str]:
        """The database and the engine with its parameters. Raises Unavailable."""
        found = self.rows(
            "SELECT database, engine_full FROM system.tables"
            " WHERE database = currentDatabase() AND name = 'readings'"
        )
        if not found:
            raise StorageUnavailable(NO_SCHEMA)
        return found[0]

    @cached_property
    def cluster(self) -> str:
        """Empty of a plain table. Raises Unavailable."""
        match = sql.OF_CLUSTER.match(self.table[1])
        return match[1] if match else ""

    @cached_property
    def shards(self) -> str:
        """How a table function begins that has a statement run on each shard; empty of a plain table."""
        return f"cluster('{self.cluster}', " if self.cluster else ""

    def on_shards(self, statement: str) -> str:
        """A statement on `readings` whose rows are of a device each. A shard has all readings of its devices:
        of a plain statement it would send them to the server that was asked, to be grouped there."""
        if not self.shards:
            return statement
        local = statement.replace("FROM readings ", f"FROM `{self.table[0]}`.readings_local ")
        return f"SELECT * FROM {self.shards}view({local}))"

    # Storing

    def append(self, rows: Rows, token: str = "") -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            late_readings.note_late(
                cursor, late_readings.with_late_readings([rows], change_log.late_before(cursor))
            )
            self.insert([rows], token or uuid4().hex)

    def put(self, connection: Any, rows: Sequence[Rows], tokens: Sequence[str] | None = None) -> None:
        if tokens is None:
            self.wait_for_turn()
        with late_readings.noting_late_readings(connection, rows):
            if tokens is None:
                self.insert(rows, uuid4().hex)
                return
            # Under one token they would have to come together again.
            for part, token in zip(rows, tokens, strict=True):
                self.insert([part], token)

    def insert(self, rows: Sequence[Rows], token: str) -> None:
        """All in one block, unless it was stored under this token before."""
        block = to_row_binary(b"".join([part.payload for part in rows]))
        if block:
            settings = sql.INSERT_SETTINGS | {"insert_deduplication_token": token}
            columns = ["device_id", "time", "values"]
            self.asked(
                lambda client: client.raw_insert(
                    "readings", columns, block, settings=settings, fmt="RowBinary"
                )
            )

    def wait_for_turn(self) -> None:
        with self.turn:
            now = time.monotonic()
            at = max(now, self.insert_at)
            self.insert_at = at + INSERT_EVERY_SECONDS
        time.sleep(at - now)

    def clear(self, device_id: int) -> None:
        with transaction.atomic():
            change_log.note_change(Span(device_id, MINUS_INFINITY, INFINITY))
            self.delete(f"device_id = {device_id}")

    def erase(self, device_id: int) -> int:
        count = self.counts([device_id], Period())[device_id]
        if count:
            self.delete(f"device_id = {device_id}")
        return count

    def delete(self, condition: str) -> None:
        """On every replica before it returns. `condition` is SQL."""
        table = f"readings_local ON CLUSTER {self.cluster}" if self.cluster else "readings"
        self.run([f"DELETE FROM {table} WHERE {condition}"], **sql.DELETE_SETTINGS)

    def prepare(self, now: datetime) -> list[str]:
        return []

    def build(self, seconds: float) -> int:
        return 0

    # Asking for rows

    def page(
        self, device_ids: Sequence[int], period: Period, *, limit: int, after: Position | None = None
    ) -> list[StoredReading]:
        low, high = bounds(period)
        position = {"time": INFINITY, "device": 0}
        found: list[tuple] = []
        if after is not None:
            position = {"time": unix_microseconds(after.time), "device": after.device_id}
            high = min(high, position["time"] + 1)
            if after.device_id in device_ids and low <= position["time"] < high:
                found = self.rows(sql.REST_OF_STAMP, **position, seen=int(after.place), limit=limit)
        for start in looking_back(low, high):
            wanted = {"start": start, "end": high, **position, "limit": limit - len(found)}
            behind = self.of_devices(sql.PAGE, device_ids, **wanted)
            if len(device_ids) > DEVICES_AT_ONCE:
                behind = heapq.nlargest(limit - len(found), behind, key=newest)
            if start == low or len(found) + len(behind) >= limit:
                return placed(found + behind, after)
        return placed(found, after)

    def is_place(self, text: str) -> bool:
        return PLACE.fullmatch(text) is not None

    def latest(self, device_ids: Sequence[int]) -> dict[int, StoredReading]:
        found: dict[int, StoredReading] = {}
        low, high = bounds(Period())
        for start in looking_back(low, high):
            missing = [device_id for device_id in device_ids if device_id not in found]
            if not missing:
                break
            rows = self.of_devices(sql.LATEST, missing, start=start, end=high)
            found |= {reading.device_id: reading for reading in placed(rows, None)}
        return found

    def sent_since(self, device_ids: Sequence[int], time: datetime) -> set[int]:
        start, end = bounds(Period(time))
        return {row[0] for row in self.of_devices(sql.SENDERS, device_ids, start=start, end=end)}

    def first_time(self, device_ids: Sequence[int]) -> datetime | None:
        start, end = bounds(Period())
        found = self.of_devices(sql.FIRST, device_ids, start=start, end=end)
        return from_unix_microseconds(min(first for (first,) in found)) if found else None

    def has(self, device_id: int, time: datetime, values: Sequence[float]) -> bool:
        at = {"devices": [device_id], "start": unix_microseconds(time), "end": unix_microseconds(time) + 1}
        return self.rows(sql.HAS, **at, bits=bits(values)) == [(1,)]

    def counts(self, device_ids: Sequence[int], period: Period) -> dict[int, int]:
        start, end = bounds(period)
        return dict.fromkeys(device_ids, 0) | dict(
            self.of_devices(sql.COUNTS, device_ids, start=start, end=end)
        )

    def of_devices(self, statement: str, device_ids: Sequence[int], **parameters: Any) -> list[tuple]:
        """The rows of as many devices as there may be."""
        return [
            row
            for i in range(0, len(device_ids), DEVICES_AT_ONCE)
            for row in self.rows(statement, devices=list(device_ids[i : i + DEVICES_AT_ONCE]), **parameters)
        ]

    # Asking for figures

    def figures(
        self,
        asked: Sequence[FiguresQuery],
        shares: Sequence[float],
        pools: Sequence[Pool] = (),
        report: Report | None = None,
    ) -> FiguresAnswer:
        for attempt in range(1, ATTEMPTS + 1):
            answer, is_one_state = self.figures_once(asked, shares, pools, report)
            # On a cluster each shard answers of its own moment.
            if is_one_state or attempt == ATTEMPTS:
                return answer
        raise AssertionError("There is at least one attempt.")

    def figures_once(
        self,
        asked: Sequence[FiguresQuery],
        shares: Sequence[float],
        pools: Sequence[Pool],
        report: Report | None,
    ) -> tuple[FiguresAnswer, bool]:
        """Also whether no readings came in between, as far as their numbers tell."""
        found: dict[int, Figures] = {}
        pooled = [NO_FIGURES] * len(pools)
        with change_log.repeatable_read():
            # Of this moment or earlier: what changes while ClickHouse is asked makes the answer stale.
            state = change_log.snapshot()
            for layer in [list(range(len(asked)))] if pools else layers(asked):
                by_cell = self.answered([asked[i] for i in layer], shares, pools)
                for i in layer:
                    row = by_cell.get((asked[i].span.device_id, unix_bound(asked[i].span.start)))
                    found[i] = figures_of(asked[i], row, shares)
                for pool, amounts in channel_figures(by_cell[OF_POOLS][-1], shares) if pools else ():
                    pooled[pool - 1] = amounts
                if report is not None:
                    report(len(found))
        each = [found[i] for i in range(len(asked))]
        return FiguresAnswer(each, pooled, state), is_consistent(each, pooled, pools)

    def answered(
        self, asked: Sequence[FiguresQuery], shares: Sequence[float], pools: Sequence[Pool]
    ) -> dict[tuple[int, int], list]:
        """Rows of sql.FIGURES by device and cell."""
        statement, parameters = self.on_shards(sql.FIGURES), parameters_of(asked) | {"shares": list(shares)}
        if pools:
            statement += f" UNION ALL {sql.POOLS.replace('PARTS', self.on_shards(sql.POOL_PARTS))}"
            parameters |= pool_parameters(asked, pools)
        rows = self.rows(statement, is_patient=True, **parameters)
        return {(device_id, cell): row for device_id, cell, *row in rows}

    def series(self, device_id: int, channels: int, period: Period, points: int) -> ChartSeries:
        start, end = bounds(period)
        asked = FiguresQuery(Span.of(device_id, period), channels, None)
        cells = column_starts(end - start, points) + start
        rows = self.rows(self.on_shards(sql.SERIES), **parameters_of([asked]) | {"cells": cells.tolist()})
        table = [np.array(column) for column in zip(*sorted(rows), strict=True)] or [
            np.empty(0, np.int64)
        ] * 3
        lows, highs, means = table[3:] or [np.empty((0, channels))] * 3
        if lows.shape[1:] != (channels,):
            raise row_codec.wrong_count(channels)
        return ChartSeries(table[0] - sql.SHIFT, table[1] - sql.SHIFT, table[2], lows.T, means.T, highs.T)

    def hourly_means(self, device_id: int, channel: int, period: Period) -> list[tuple[datetime, float]]:
        asked = FiguresQuery(Span.of(device_id, period), 0, None)
        rows = self.rows(self.on_shards(sql.HOURS), **parameters_of([asked]), channel=channel + 1)
        return [
            (from_unix_microseconds(hour), rounded(sum_of_mantissas(sums), sum(n for _, n, _, _ in sums)))
            for hour, sums in sorted(rows)
        ]

    # Copying

    def days(self, device_id: int) -> dict[int, DayChecksum]:
        return {
            day: DayChecksum(count, total)
            for day, count, total in self.rows(self.on_shards(sql.DAYS), is_patient=True, device=device_id)
        }

    def rows_of(self, span: Span) -> Rows:
        wanted = {
            "devices": [span.device_id],
            "start": unix_bound(span.start),
            "end": unix_bound(span.end),
        }
        parts = []
        for (width,) in self.rows(sql.WIDTHS, **wanted):
            parameters = wanted | {"width": width}
            data = self.asked(lambda client, p=parameters: client.raw_query(sql.OF_WIDTH, p, fmt="RowBinary"))
            table = np.frombuffer(data, binary_type(width, with_device=False))
            parts.append(
                row_codec.encode_rows(
                    span.device_id, table["time"].astype(np.int64), table["values"].astype(np.float64)
                )
            )
        return Rows(b"".join(part.payload for part in parts), [t for part in parts for t in part.times])

    def take_over(self, rows: Rows) -> None:
        self.insert([rows], uuid4().hex)

    def remove(self, spans: Sequence[Span]) -> None:
        # Each deletion is a mutation, which takes its time however little there is to delete.
        for i in range(0, len(spans), SPANS_AT_ONCE):
            self.delete(" OR ".join(map(within_span, spans[i : i + SPANS_AT_ONCE])))


def bounds(period: Period) -> tuple[int, int]:
    return (
        MINUS_INFINITY if period.start is None else unix_microseconds(period.start),
        INFINITY if period.end is None else unix_microseconds(period.end),
    )


def within_span(span: Span) -> str:
    start, end = unix_bound(span.start), unix_bound(span.end)
    return f"(device_id = {span.device_id} AND time >= {start} AND time < {end})"


def looking_back(low: int, high: int) -> Iterator[int]:
    """Starts of longer and longer periods that all end at `high`, the last of them `low`."""
    end = min(high, unix_microseconds(datetime.now(UTC)))
    yield from (start for length in LOOK_BACK if (start := end - length) > low)
    yield low


def newest(row: tuple) -> tuple:
    """To sort by, as NEWEST."""
    device_id, time, values = row
    return time, device_id, values


def placed(rows: Sequence[tuple], after: Position | None) -> list[StoredReading]:
    """`place` tells how many readings of the device and stamp were shown, with this one."""
    readings: list[StoredReading] = []
    last = after
    for device_id, at, values in rows:
        time = from_unix_microseconds(at)
        is_same = last is not None and (last.time, last.device_id) == (time, device_id)
        seen = int(last.place) + 1 if is_same else 1
        readings.append(StoredReading(device_id, time, list(values), str(seen)))
        last = readings[-1].position
    return readings
