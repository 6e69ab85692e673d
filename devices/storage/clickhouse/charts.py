"""Columns of a chart, and means by hour."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

import numpy as np

from devices.exact.sums import rounded
from devices.storage import row_codec
from devices.storage.clickhouse import queries as sql
from devices.storage.clickhouse.answers import sum_of_mantissas
from devices.storage.clickhouse.parameters import period_bounds, statement_parameters
from devices.storage.clickhouse.readings_server import ReadingsServer
from devices.storage.interface import ChartSeries, FiguresQuery
from devices.timeline.instants import UnixTimes, from_unix_microseconds, unix_to_pg
from devices.timeline.periods import Period
from devices.timeline.spans import Span


def series(server: ReadingsServer, device_id: int, channels: int, period: Period, points: int) -> ChartSeries:
    start, end = period_bounds(period)
    parameters = statement_parameters([FiguresQuery(Span.of(device_id, period), channels, None)])
    boundaries = column_starts(end - start, points) + start
    rows = server.query(server.on_shards(sql.SERIES), **parameters | {"boundaries": boundaries.tolist()})
    columns = [np.array(column) for column in zip(*sorted(rows), strict=True)]
    if not columns:
        columns = [*[np.empty(0, np.int64)] * 3, *[np.empty((0, channels))] * 3]
    firsts, lasts, counts, lows, highs, means = columns
    if lows.shape[1:] != (channels,):
        raise row_codec.wrong_count(channels)
    return ChartSeries(
        unix_to_pg(UnixTimes(firsts)), unix_to_pg(UnixTimes(lasts)), counts, lows.T, means.T, highs.T
    )


def column_starts(length: int, points: int) -> np.ndarray:
    """Return where the columns of a series begin, in microseconds from its start.

    A column begins with the first whole microsecond that PostgreSQL's `chart_columns` puts into it, with the
    same rounding.
    """
    width, numbers = length / points, np.arange(points)
    starts = np.maximum(np.ceil(numbers * width).astype(np.int64) - 2, 0)
    for _ in range(4):
        starts += starts // width < numbers
    return starts


def hourly_means(
    server: ReadingsServer, device_id: int, channel: int, period: Period
) -> list[tuple[datetime, float]]:
    parameters = statement_parameters([FiguresQuery(Span.of(device_id, period), 0, None)])
    rows = server.query(server.on_shards(sql.HOURS), **parameters, channel=channel + 1)
    return [(from_unix_microseconds(hour), mean_of_mantissas(sums)) for hour, sums in sorted(rows)]


def mean_of_mantissas(sums: Sequence[tuple[int, int, int, int]]) -> float:
    # The mean of doubles is never beyond the largest double, for which `rounded` gives None.
    return cast(float, rounded(sum_of_mantissas(sums), sum(count for _, count, _, _ in sums)))
