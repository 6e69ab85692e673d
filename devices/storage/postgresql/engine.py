"""Readings in the portal's own database: `readings_table` has the rows, `segment_lookup` sorted segments."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import psycopg2
from django.db import connection

from devices.exact.keys import value_of
from devices.exact.ranks import interpolate
from devices.storage import change_log, late_readings, row_codec
from devices.storage.interface import (
    GAP_FACTOR,
    MEDIAN,
    MICROSECONDS_PER_SECOND,
    NO_FIGURES,
    ChannelFigures,
    ChartSeries,
    DayChecksum,
    Figures,
    FiguresAnswer,
    FiguresQuery,
    Pool,
    Position,
    RepeatTransaction,
    Report,
    Rows,
    StoredReading,
)
from devices.storage.postgresql import (
    chart_columns,
    copy,
    partitions,
    readings_table,
    segment_lookup,
    segment_schedule,
    small_samples,
    span_data,
)
from devices.storage.postgresql.hourly_means import means_by_hour
from devices.storage.postgresql.quantiles import ChannelData, QuantileBounds, SegmentReplaced, find_quantiles
from devices.storage.postgresql.span_data import SpanData
from devices.timeline.periods import Period
from devices.timeline.spans import Span

# Spans are looked at so many at a time: what their unsegmented rows need in memory stays bounded.
SPANS_AT_ONCE = 100
ATTEMPTS = 5
MONTHS_AHEAD = 3
# As PostgreSQL writes a ctid.
PLACE = re.compile(r"\([0-9]{1,9},[0-9]{1,4}\)")


class PostgreSQL:
    """In Django's database `default`: the URL says no more than that."""

    def __init__(self, url: str) -> None:
        self.url = url

    def append(self, rows: Rows, token: str = "") -> None:
        readings_table.append(rows)

    def put(self, connection: Any, rows: Sequence[Rows], tokens: Sequence[str] | None = None) -> None:
        try:
            copy_in(connection, rows)
        except psycopg2.IntegrityError as error:
            if not partitions.lacks_partition(error):
                raise
            make_partitions_apart(rows)
            if not connection.autocommit:
                raise RepeatTransaction from error
            copy_in(connection, rows)

    def clear(self, device_id: int) -> None:
        readings_table.clear(device_id)

    def erase(self, device_id: int) -> int:
        return readings_table.erase(device_id)

    def prepare(self, now: datetime) -> list[str]:
        months = [now.replace(day=1)]
        for _ in range(MONTHS_AHEAD):
            months.append(partitions.month_after(months[-1]))
        return partitions.make_partitions(months)

    def build(self, seconds: float) -> int:
        return segment_schedule.build_due(seconds)

    def page(
        self, device_ids: Sequence[int], period: Period, *, limit: int, after: Position | None = None
    ) -> list[StoredReading]:
        return readings_table.page(device_ids, period, limit=limit, after=after)

    def is_place(self, text: str) -> bool:
        return PLACE.fullmatch(text) is not None

    def latest(self, device_ids: Sequence[int]) -> dict[int, StoredReading]:
        return readings_table.latest(device_ids)

    def sent_since(self, device_ids: Sequence[int], time: datetime) -> set[int]:
        return readings_table.sent_since(device_ids, time)

    def first_time(self, device_ids: Sequence[int]) -> datetime | None:
        return readings_table.first_time(device_ids)

    def has(self, device_id: int, time: datetime, values: Sequence[float]) -> bool:
        return readings_table.has(device_id, time, values)

    def counts(self, device_ids: Sequence[int], period: Period) -> dict[int, int]:
        spans = [Span.of(device_id, period) for device_id in device_ids]
        with change_log.repeatable_read():
            return dict(zip(device_ids, segment_lookup.counts(spans), strict=True))

    def figures(
        self,
        asked: Sequence[FiguresQuery],
        shares: Sequence[float],
        pools: Sequence[Pool] = (),
        report: Report | None = None,
    ) -> FiguresAnswer:
        for _ in range(ATTEMPTS):
            # Outside of a state that stays a segment may be replaced between finding and reading it.
            with suppress(SegmentReplaced):
                return figures_of_all(asked, shares, pools, report)
        raise SegmentReplaced

    def series(self, device_id: int, channels: int, period: Period, points: int) -> ChartSeries:
        return chart_columns.series(device_id, channels, period, points)

    def hourly_means(self, device_id: int, channel: int, period: Period) -> list[tuple[datetime, float]]:
        return means_by_hour(device_id, channel, period)

    def days(self, device_id: int) -> dict[int, DayChecksum]:
        return readings_table.days(device_id)

    def rows_of(self, span: Span) -> Rows:
        return readings_table.rows(span)

    def take_over(self, rows: Rows) -> None:
        readings_table.append(rows)

    def remove(self, spans: Sequence[Span]) -> None:
        for span in spans:
            readings_table.remove(span)


def copy_in(connection: Any, rows: Sequence[Rows]) -> None:
    with late_readings.noting_late_readings(connection, rows) as cursor:
        file = row_codec.copy_stream([part.payload for part in rows])
        cursor.copy_expert(readings_table.COPY_IN, file, copy.COPY_PIECE_BYTES)


def make_partitions_apart(rows: Sequence[Rows]) -> None:
    """Make missing partitions on a new connection: this thread's may be in an aborted transaction."""

    def make() -> None:
        try:
            partitions.make_partitions_for([time for part in rows for time in part.times])
        finally:
            connection.close()

    # Django's connection is another one in each thread.
    with ThreadPoolExecutor(1) as executor:
        executor.submit(make).result()


def figures_of_all(
    asked: Sequence[FiguresQuery], shares: Sequence[float], pools: Sequence[Pool], report: Report | None
) -> FiguresAnswer:
    if len(asked) == 1 and not pools:
        found = figures_of_few(asked[0], shares)
        if found is not None:
            return found
    parts: list[SpanData] = []
    each: list[Figures] = []
    with change_log.repeatable_read():
        state = change_log.snapshot()
        for i in range(0, len(asked), SPANS_AT_ONCE):
            chosen = asked[i : i + SPANS_AT_ONCE]
            gathered = segment_lookup.gather([one.span for one in chosen], [one.channels for one in chosen])
            each += figures_of_each(chosen, gathered, shares)
            parts += gathered if pools else []
            if report is not None:
                report(len(each))
        return FiguresAnswer(each, figures_of_pools(parts, pools, shares), state)


def figures_of_few(asked: FiguresQuery, shares: Sequence[float]) -> FiguresAnswer | None:
    """None where there is more to be heeded than a few readings."""
    found = segment_lookup.read_few_rows(asked.span, asked.channels)
    if found is None:
        return None
    state, part = found
    if len(part.times) <= small_samples.MAX_READINGS:
        figures = small_samples.figures_of_sample(
            part.times.tolist(), part.values.tolist(), shares, partial(gap_limit, asked)
        )
        return FiguresAnswer([figures], [], state)
    return FiguresAnswer(figures_of_each([asked], [part], shares), [], state)


def figures_of_each(
    asked: Sequence[FiguresQuery], parts: Sequence[SpanData], shares: Sequence[float]
) -> list[Figures]:
    columns = [column for part in parts for column in (*part.columns, part.intervals)]
    found = iter(find_quantiles(columns, [[*shares, MEDIAN]] * len(columns)))
    amounts = [
        (
            [channel_figures(column, next(found)[: len(shares)]) for column in part.columns],
            median_of(next(found)),
        )
        for part in parts
    ]
    limits = [gap_limit(one, interval) for one, (_, interval) in zip(asked, amounts, strict=True)]
    gaps = span_data.long_intervals(parts, limits)
    return [
        Figures(
            channels=of_channels,
            readings=part.readings,
            excluded=part.excluded,
            first=part.first if part.readings else None,
            last=part.last if part.readings else None,
            interval=interval,
            gaps=number,
            gap_length=length,
            longest=part.longest if part.readings else None,
            rows_read=part.rows_read,
            segments_used=part.segments_used,
        )
        for part, (of_channels, interval), (number, length) in zip(parts, amounts, gaps, strict=True)
    ]


def gap_limit(asked: FiguresQuery, interval: float | None) -> float | None:
    """In microseconds."""
    expected = asked.expected_seconds or (None if interval is None else interval / MICROSECONDS_PER_SECOND)
    return None if expected is None else GAP_FACTOR * expected * MICROSECONDS_PER_SECOND


def figures_of_pools(
    parts: Sequence[SpanData], pools: Sequence[Pool], shares: Sequence[float]
) -> list[ChannelFigures]:
    columns = [ChannelData.pooled([parts[number].columns[place] for number, place in pool]) for pool in pools]
    found = find_quantiles(columns, [shares] * len(columns))
    return [channel_figures(column, places) for column, places in zip(columns, found, strict=True)]


def channel_figures(column: ChannelData, found: Sequence[QuantileBounds]) -> ChannelFigures:
    if not column.count:
        return NO_FIGURES
    values = [value_at(place) for place in found]
    return ChannelFigures(column.count, column.low, column.high, column.total, values)


def value_at(found: QuantileBounds) -> float:
    low, high = value_of(found.low), value_of(found.high)
    # From -0.0 to itself would be 0.0.
    return low if found.is_single else interpolate(low, high, found.part)


def median_of(found: Sequence[QuantileBounds]) -> float | None:
    """Of whole numbers."""
    return interpolate(found[-1].low, found[-1].high, found[-1].part) if found else None
