"""Readings in ClickHouse, for amounts beyond one machine. The answers equal PostgreSQL's to the last bit.

Storing once: ClickHouse ignores an insert whose token it has seen. The token of an Idempotency-Key or of a
chunk of an import is always the same; every other insert has a random one, for the client's own retries.
"""

import re
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from django.db import connection, transaction

from devices.storage import change_log, late_readings
from devices.storage.clickhouse import charts, equal_readings, row_queries
from devices.storage.clickhouse import figures as figures_of_spans
from devices.storage.clickhouse import queries as sql
from devices.storage.clickhouse.parameters import span_bounds
from devices.storage.clickhouse.readings_server import ReadingsServer
from devices.storage.clickhouse.row_binary import to_row_binary
from devices.storage.clickhouse.schema import schema
from devices.storage.interface import (
    ChartSeries,
    DayChecksum,
    DevicesAndTimes,
    FiguresAnswer,
    FiguresQuery,
    Pool,
    Position,
    Report,
    Rows,
    StoredReading,
)
from devices.timeline.instants import INFINITY, MINUS_INFINITY
from devices.timeline.periods import Period
from devices.timeline.spans import Span

# Seconds between two inserts of one process that may wait: each insert makes a part, to be merged later.
INSERT_EVERY_SECONDS = 0.05
INSERT_COLUMNS = ["device_id", "time", "values"]
INSERT_SETTINGS = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    # A batch may hold stamps of any age.
    "max_partitions_per_insert_block": 0,
}
# One statement deletes this many spans: its length is limited.
SPANS_AT_ONCE = 500
PLACE = re.compile(r"[0-9]{1,9}")


class ClickHouse(ReadingsServer):
    """The `Storage` that READINGS_URL chooses with `clickhouse://…`."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.next_insert_at = 0.0
        self.insert_lock = threading.Lock()

    def create_schema(self, cluster: str = "") -> None:
        """Create the table; on a cluster, a replicated one on each shard and a distributed one over all.

        Raises StorageUnavailable.
        """
        self.run(schema(cluster))

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
            # Under a common token they would be known again only together.
            for part, token in zip(rows, tokens, strict=True):
                self.insert([part], token)

    def insert(self, rows: Sequence[Rows], token: str) -> None:
        """Store all in one block, unless this token was stored before."""
        block = to_row_binary(b"".join([part.payload for part in rows]))
        if block:
            settings = INSERT_SETTINGS | {"insert_deduplication_token": token}
            self.call(
                lambda client: client.raw_insert(
                    "readings", INSERT_COLUMNS, block, settings=settings, fmt="RowBinary"
                )
            )

    def wait_for_turn(self) -> None:
        with self.insert_lock:
            now = time.monotonic()
            at = max(now, self.next_insert_at)
            self.next_insert_at = at + INSERT_EVERY_SECONDS
        time.sleep(at - now)

    def clear(self, device_id: int) -> None:
        with transaction.atomic():
            change_log.note_change(Span(device_id, MINUS_INFINITY, INFINITY))
            self.delete(f"device_id = {device_id}")

    def erase(self, device_id: int, report: Report) -> int:
        count = self.counts([device_id], Period())[device_id]
        if count:
            self.delete(f"device_id = {device_id}")
            report(count)
        return count

    def take_back(self, rows: Rows) -> int:
        with transaction.atomic(), connection.cursor() as cursor:
            late_readings.note_late(cursor, [rows] if rows.payload else [])
            return equal_readings.take_back(self, rows)

    def prepare(self, now: datetime) -> list[str]:
        """Return no names: ClickHouse creates partitions by itself."""
        return []

    def build(self, seconds: float) -> int:
        """Return 0: there are no segments to build."""
        return 0

    # Queries for rows

    def page(
        self, device_ids: Sequence[int], period: Period, *, limit: int, after: Position | None = None
    ) -> list[StoredReading]:
        return row_queries.page(self, device_ids, period, limit=limit, after=after)

    def is_place(self, text: str) -> bool:
        return PLACE.fullmatch(text) is not None

    def latest(self, device_ids: Sequence[int]) -> dict[int, StoredReading]:
        return row_queries.latest(self, device_ids)

    def newest(self, device_ids: Sequence[int], limit: int) -> dict[int, list[StoredReading]]:
        return row_queries.newest(self, device_ids, limit)

    def newest_times(self, device_ids: Sequence[int], limit: int) -> DevicesAndTimes:
        return row_queries.newest_times(self, device_ids, limit)

    def sent_since(self, device_ids: Sequence[int], time: datetime) -> set[int]:
        return row_queries.sent_since(self, device_ids, time)

    def first_time(self, device_ids: Sequence[int]) -> datetime | None:
        return row_queries.first_time(self, device_ids)

    def has(self, device_id: int, time: datetime, values: Sequence[float]) -> bool:
        return row_queries.has(self, device_id, time, values)

    def present(self, rows: Rows) -> npt.NDArray[np.bool_]:
        return equal_readings.present(self, rows)

    def counts(self, device_ids: Sequence[int], period: Period) -> dict[int, int]:
        return row_queries.counts(self, device_ids, period)

    # Queries for figures

    def figures(
        self,
        queries: Sequence[FiguresQuery],
        shares: Sequence[float],
        pools: Sequence[Pool] = (),
        report: Report | None = None,
    ) -> FiguresAnswer:
        return figures_of_spans.figures(self, queries, shares, pools, report)

    def series(self, device_id: int, channels: int, period: Period, points: int) -> ChartSeries:
        return charts.series(self, device_id, channels, period, points)

    def hourly_means(self, device_id: int, channel: int, period: Period) -> list[tuple[datetime, float]]:
        return charts.hourly_means(self, device_id, channel, period)

    # Copying

    def days(self, device_id: int) -> dict[int, DayChecksum]:
        found = self.query(self.on_shards(sql.DAYS), is_patient=True, device=device_id)
        return {day: DayChecksum(count, checksum) for day, count, checksum in found}

    def rows_of(self, span: Span) -> Rows:
        return row_queries.rows_of(self, span)

    def take_over(self, rows: Rows) -> None:
        self.insert([rows], uuid4().hex)

    def remove(self, spans: Sequence[Span]) -> None:
        # A deletion is a mutation, slow even for few rows: many spans share one.
        for i in range(0, len(spans), SPANS_AT_ONCE):
            self.delete(" OR ".join(map(within_span, spans[i : i + SPANS_AT_ONCE])))


def within_span(span: Span) -> str:
    start, end = span_bounds(span)
    return f"(device_id = {span.device_id} AND time >= {start} AND time < {end})"
