"""Figures about readings, exact whichever storage has the readings.

Every figure is asked for here and nowhere else: statistics of devices over periods, counts, chart series,
hourly means, and whether a stored figure is still true. `docs/statistics.md` explains the method.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, cast

from devices import storage
from devices.exact.ranks import fraction_of_percentile
from devices.exact.sums import rounded
from devices.models import Device
from devices.storage import change_log
from devices.storage.interface import (
    GAP_FACTOR,
    MEDIAN,
    ChannelFigures,
    ChartSeries,
    Figures,
    FiguresQuery,
)
from devices.timeline.instants import (
    MICROSECONDS_PER_SECOND,
    PgMicroseconds,
    from_pg_microseconds,
    pg_microseconds,
)
from devices.timeline.periods import Period
from devices.timeline.spans import Span

Channel = tuple[str, str]  # name, unit
Report = Callable[[int], None]  # takes the percentage done


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Statistics of one channel. Without values count and sum are 0 and the rest is None.

    `sum` is the exact sum, rounded once, and None where it exceeds the largest double. `median` and
    `percentiles`, by the text of the request, equal PostgreSQL's percentile_cont.
    """

    count: int
    min: float | None
    max: float | None
    sum: float | None
    avg: float | None
    median: float | None
    percentiles: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without readings: from one reading, or bound of the period, to the next."""

    start: datetime
    end: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of the period that has the expected readings.

    `expected_seconds` is the interval that device or profile declares, else the device's own median interval.
    An interval of more than GAP_FACTOR times that is a gap; the given bounds of the period count as readings
    do. `percent` is the part of the time between the first and the last of them that lacks no reading: a gap
    lacks its length less one interval. All fields are None where no interval is known.
    """

    expected_seconds: float | None
    percent: float | None
    gaps: int | None
    longest: Gap | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics over a period, with stamps in UTC.

    `readings` were used and `excluded` were left out; their sum is the number of stored readings.
    `interval_seconds` is the median interval between readings of different stamps; it and `coverage` are None
    for pooled devices. `snapshot` is the state of the database that was read, for `changed_since`.
    """

    channels: dict[Channel, ChannelStatistics]
    readings: int
    excluded: int
    first: datetime | None
    last: datetime | None
    interval_seconds: float | None
    coverage: Coverage | None
    rows_read: int
    segments_used: int
    snapshot: str


class PeriodOfDevice(NamedTuple):
    device: Device
    channels: list[Channel]
    period: Period

    @classmethod
    def of(cls, device: Device, period: Period) -> "PeriodOfDevice":
        return cls(device, [(channel.name, channel.unit) for channel in device.channels], period)


# --- Statistics of periods


def of_device(device: Device, period: Period, *, percentiles: Sequence[float | str] = ()) -> Statistics:
    """Statistics of one device over one period. `percentiles` are in percent, from 0 to 100."""
    return of_periods(device, [period], percentiles=percentiles)[0]


def of_periods(
    device: Device,
    periods: Sequence[Period],
    *,
    percentiles: Sequence[float | str] = (),
    report: Report | None = None,
) -> list[Statistics]:
    """Statistics of one device over each period, all read in one state of the data."""
    return compute_all([PeriodOfDevice.of(device, period) for period in periods], percentiles, report)[1]


def of_devices(
    devices: Sequence[Device],
    period: Period,
    *,
    percentiles: Sequence[float | str] = (),
    report: Report | None = None,
) -> tuple[Statistics, dict[int, Statistics]]:
    """Pooled statistics of all readings of the devices, and statistics of each device by its primary key.

    Both are read in one state of the data. Channels with the same name and unit are pooled.
    """
    queries = [PeriodOfDevice.of(device, period) for device in devices]
    pooled, each = compute_all(queries, percentiles, report, is_pooled=True)
    return cast(Statistics, pooled), {
        device.pk: figures for device, figures in zip(devices, each, strict=True)
    }


# --- Other figures


def count(device_ids: Sequence[int], period: Period) -> dict[int, int]:
    """Number of stored readings of each device in the period, excluded ones included."""
    return storage.current().counts(device_ids, period)


def first_reading_time(device_ids: Sequence[int]) -> datetime | None:
    """Smallest stamp of the devices' readings, in UTC; None without readings."""
    return storage.current().first_time(device_ids)


def chart_series(device: Device, period: Period, points: int) -> ChartSeries:
    """Minimum, mean and maximum of each channel in at most `points` columns of equal width.

    The period must have both bounds. Times are microseconds since 2000; `lows`, `means` and `highs` are
    float64 of shape (channels, columns with readings), in the order of `device.channels`.
    """
    return storage.current().series(device.pk, len(device.channels), period, points)


def hourly_means(device: Device, channel: str, period: Period) -> list[tuple[datetime, float]]:
    """Each hour (UTC) that has readings, in order, with the mean of the channel, in the channel's unit.

    The same readings give the same means to the last bit. Raises ValueError for an unknown channel.
    """
    place = [known.name for known in device.channels].index(channel)
    return storage.current().hourly_means(device.pk, place, period)


# --- Whether stored figures are still true


def changed_since(device_ids: Sequence[int], period: Period, snapshot: str) -> set[int]:
    """The devices whose data in the period have changed since `snapshot` other than by fresh readings.

    Fresh readings only add to `count`: a figure computed at `snapshot` is still true if `count` is the same
    and the device is not among these.
    """
    return change_log.changed_since([Span.of(device_id, period) for device_id in device_ids], snapshot)


def snapshot() -> str:
    """The state of the database now, for `changed_since`."""
    return change_log.snapshot()


def one_state() -> AbstractContextManager[None]:
    """A block in which all figures are read in one state of the portal's database."""
    return change_log.repeatable_read()


# --- From the storage's figures to statistics


def compute_all(
    queries: Sequence[PeriodOfDevice],
    percentiles: Sequence[float | str],
    report: Report | None,
    *,
    is_pooled: bool = False,
) -> tuple[Statistics | None, list[Statistics]]:
    shares = {str(percentile): fraction_of_percentile(percentile) for percentile in percentiles}
    pools = channel_pools(queries) if is_pooled else {}
    answer = storage.current().figures(
        [
            FiguresQuery(
                Span.of(query.device.pk, query.period),
                len(query.channels),
                query.device.declared_interval_seconds,
            )
            for query in queries
        ],
        [*shares.values(), MEDIAN],
        list(pools.values()),
        report and (lambda done: report(90 * done // len(queries))),
    )
    each = [
        statistics_of_one(query, figures, shares, answer.snapshot)
        for query, figures in zip(queries, answer.each, strict=True)
    ]
    if not is_pooled:
        return None, each
    channels = {
        channel: channel_statistics(figures, shares)
        for channel, figures in zip(pools, answer.pooled, strict=True)
    }
    return assemble(answer.each, channels, answer.snapshot, None, None), each


def channel_pools(queries: Sequence[PeriodOfDevice]) -> dict[Channel, list[tuple[int, int]]]:
    """Index of the query and of its channel, for each channel that is pooled under one name and unit."""
    pools: dict[Channel, list[tuple[int, int]]] = defaultdict(list)
    for number, query in enumerate(queries):
        for place, channel in enumerate(query.channels):
            pools[channel].append((number, place))
    return pools


def statistics_of_one(
    query: PeriodOfDevice, figures: Figures, shares: Mapping[str, float], state: str
) -> Statistics:
    interval = None if figures.interval is None else figures.interval / MICROSECONDS_PER_SECOND
    channels = [channel_statistics(each, shares) for each in figures.channels]
    return assemble(
        [figures],
        dict(zip(query.channels, channels, strict=True)),
        state,
        interval,
        coverage_of(query.period, figures, query.device.declared_interval_seconds or interval),
    )


def assemble(
    parts: Sequence[Figures],
    channels: dict[Channel, ChannelStatistics],
    state: str,
    interval_seconds: float | None,
    coverage: Coverage | None,
) -> Statistics:
    firsts = [part.first for part in parts if part.first is not None]
    lasts = [part.last for part in parts if part.last is not None]
    return Statistics(
        channels=channels,
        readings=sum(part.readings for part in parts),
        excluded=sum(part.excluded for part in parts),
        first=from_pg_microseconds(PgMicroseconds(min(firsts))) if firsts else None,
        last=from_pg_microseconds(PgMicroseconds(max(lasts))) if lasts else None,
        interval_seconds=interval_seconds,
        coverage=coverage,
        rows_read=sum(part.rows_read for part in parts),
        segments_used=sum(part.segments_used for part in parts),
        snapshot=state,
    )


def channel_statistics(figures: ChannelFigures, shares: Mapping[str, float]) -> ChannelStatistics:
    """`figures` has a quantile for each share, and the median last."""
    if not figures.count:
        return ChannelStatistics(0, None, None, 0.0, None, None, dict.fromkeys(shares))
    return ChannelStatistics(
        count=figures.count,
        min=figures.low,
        max=figures.high,
        sum=rounded(figures.total),
        avg=rounded(figures.total, figures.count),
        median=figures.quantiles[-1],
        percentiles=dict(zip(shares, figures.quantiles, strict=False)),
    )


# --- Coverage


def coverage_of(period: Period, figures: Figures, expected: float | None) -> Coverage:
    bounds = [None if time is None else pg_microseconds(time) for time in (period.start, period.end)]
    first, last, longest = figures.first, figures.last, figures.longest
    if first is None or last is None or longest is None:
        return coverage_without_readings(bounds, expected)
    if expected is None:
        return Coverage(None, None, None, None)
    start = first if bounds[0] is None else bounds[0]
    end = last if bounds[1] is None else bounds[1]
    edges = [(start, first), (last, end)]
    too_long = [edge for edge in edges if edge[1] - edge[0] > GAP_FACTOR * expected * MICROSECONDS_PER_SECOND]
    gaps = figures.gaps + len(too_long)
    gap_length = figures.gap_length + sum(stop - begin for begin, stop in too_long)
    lacking = gap_length / MICROSECONDS_PER_SECOND - gaps * expected
    length = (end - start) / MICROSECONDS_PER_SECOND
    percent = 100 * (1 - lacking / length) if length else 100.0
    longest = max([longest, *edges], key=lambda edge: edge[1] - edge[0])
    return Coverage(expected, min(max(percent, 0.0), 100.0), gaps, gap_between(*longest) if gaps else None)


def coverage_without_readings(bounds: Sequence[int | None], expected: float | None) -> Coverage:
    start, end = bounds
    if start is None or end is None:
        return Coverage(expected, None, None, None)
    return Coverage(expected, 0.0, 1, gap_between(start, end))


def gap_between(start: int, end: int) -> Gap:
    return Gap(
        from_pg_microseconds(PgMicroseconds(start)),
        from_pg_microseconds(PgMicroseconds(end)),
        (end - start) / MICROSECONDS_PER_SECOND,
    )
