"""Readings in the portal's own database: rows in `readings_table`, from which sorted segments are built."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

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
from devices.storage.postgresql import (
    chart_columns,
    figures,
    partitions,
    readings_by_span,
    readings_table,
    segment_schedule,
)
from devices.timeline.periods import Period
from devices.timeline.spans import Span

# As PostgreSQL writes a ctid.
PLACE = re.compile(r"\([0-9]{1,9},[0-9]{1,4}\)")


class PostgreSQL:
    """Readings in Django's database `default`; the URL names no other. `Storage` documents the methods."""

    def __init__(self, url: str) -> None:
        self.url = url

    # Storing

    def append(self, rows: Rows, token: str = "") -> None:
        readings_table.append(rows)

    def put(self, connection: Any, rows: Sequence[Rows], tokens: Sequence[str] | None = None) -> None:
        readings_table.put(connection, rows)

    def clear(self, device_id: int) -> None:
        readings_table.clear(device_id)

    def erase(self, device_id: int, report: Report) -> int:
        return readings_table.erase(device_id, report)

    def take_back(self, rows: Rows) -> int:
        return readings_table.take_back(rows)

    def prepare(self, now: datetime) -> list[str]:
        return partitions.make_coming_partitions(now)

    def build(self, seconds: float) -> int:
        return segment_schedule.build_due(seconds)

    # Rows

    def page(
        self, device_ids: Sequence[int], period: Period, *, limit: int, after: Position | None = None
    ) -> list[StoredReading]:
        return readings_table.page(device_ids, period, limit=limit, after=after)

    def is_place(self, text: str) -> bool:
        return PLACE.fullmatch(text) is not None

    def latest(self, device_ids: Sequence[int]) -> dict[int, StoredReading]:
        return readings_table.latest(device_ids)

    def newest(self, device_ids: Sequence[int], limit: int) -> dict[int, list[StoredReading]]:
        return readings_table.newest(device_ids, limit)

    def newest_times(self, device_ids: Sequence[int], limit: int) -> DevicesAndTimes:
        return readings_by_span.newest_times(device_ids, limit)

    def sent_since(self, device_ids: Sequence[int], time: datetime) -> set[int]:
        return readings_table.sent_since(device_ids, time)

    def first_time(self, device_ids: Sequence[int]) -> datetime | None:
        return readings_table.first_time(device_ids)

    def has(self, device_id: int, time: datetime, values: Sequence[float]) -> bool:
        return readings_table.has(device_id, time, values)

    def present(self, rows: Rows) -> npt.NDArray[np.bool_]:
        return readings_table.present(rows)

    def counts(self, device_ids: Sequence[int], period: Period) -> dict[int, int]:
        return figures.counts(device_ids, period)

    # Figures

    def figures(
        self,
        asked: Sequence[FiguresQuery],
        shares: Sequence[float],
        pools: Sequence[Pool] = (),
        report: Report | None = None,
    ) -> FiguresAnswer:
        return figures.answer(asked, shares, pools, report)

    def series(self, device_id: int, channels: int, period: Period, points: int) -> ChartSeries:
        return chart_columns.series(device_id, channels, period, points)

    def hourly_means(self, device_id: int, channel: int, period: Period) -> list[tuple[datetime, float]]:
        return readings_table.hourly_means(device_id, channel, period)

    # Copying

    def days(self, device_id: int) -> dict[int, DayChecksum]:
        return readings_by_span.days(device_id)

    def rows_of(self, span: Span) -> Rows:
        return readings_by_span.rows(span)

    def take_over(self, rows: Rows) -> None:
        readings_table.append(rows)

    def remove(self, spans: Sequence[Span]) -> None:
        for span in spans:
            readings_by_span.remove(span)
