"""Statistics of devices over a period: exact, whichever storage has the readings.

Everything about readings that is a figure comes from here. `docs/statistics.md` explains the method.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from devices import storage
from devices.exact.ranks import fraction_of_percentile
from devices.exact.sums import rounded
from devices.models import Device
from devices.storage import change_log
from devices.storage.interface import (
    GAP_FACTOR,
    MEDIAN,
    MICROSECONDS_PER_SECOND,
    ChannelFigures,
    Figures,
    FiguresQuery,
)
from devices.timeline.instants import from_pg_microseconds, pg_microseconds
from devices.timeline.periods import Period
from devices.timeline.spans import Span

Channel = tuple[str, str]  # name, unit
Report = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Of one channel. Of no values count and sum are 0 and the rest None.

    `sum` is the exact sum, rounded once, and None where it exceeds the largest double. `median` and the
    `percentiles`, by the text that was asked for, are those of PostgreSQL's percentile_cont.
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
    """How far the readings cover the period as one would expect.

    Expected is the profile's interval, else the device's own median one. A gap is an interval of more than
    GAP times that; the bounds of the period, where given, count as readings do. `percent` is the part of the
    time between the first and the last of them that does not lack readings: a gap lacks what exceeds one
    interval. All are None where nothing is known to be expected.
    """

    expected_seconds: float | None
    percent: float | None
    gaps: int | None
    longest: Gap | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """`readings` went in, `excluded` were left out; together they are what is stored. Stamps are in UTC.

    `interval_seconds` is the median interval between readings of different stamps. It and `coverage` are of
    one device: None where several are pooled. `snapshot` is the state of the database that the answer is
    about, for `changed_since`.
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


# --- What others ask


def of_device(device: Device, period: Period, *, percentiles: Sequence[float | str] = ()) -> Statistics:
    """Of one device. `percentiles`: in percent, from 0 to 100."""
    return of_periods(device, [period], percentiles=percentiles)[0]


def of_periods(
    device: Device,
    periods: Sequence[Period],
    *,
    percentiles: Sequence[float | str] = (),
    report: Report | None = None,
) -> list[Statistics]:
    """Of one device over each of the periods, all in one state of the data."""
    return answer_all([PeriodOfDevice.of(device, period) for period in periods], percentiles, report)[1]


def of_devices(
    devices: Sequence[Device],
    period: Period,
    *,
    percentiles: Sequence[float | str] = (),
    report: Report | None = None,
) -> tuple[Statistics, dict[int, Statistics]]:
    """Of all readings of all the devices pooled, and of each device by its primary key, in one state of the
    data. Channels are pooled that have both name and unit in common."""
    questions = [PeriodOfDevice.of(device, period) for device in devices]
    pooled, each = answer_all(questions, percentiles, report, is_pooled=True)
    return pooled, {device.pk: answer for device, answer in zip(devices, each, strict=True)}


def count(device_ids: Sequence[int], period: Period) -> dict[int, int]:
    """How many readings each device has stored in the period, excluded ones too."""
    return storage.current().counts(device_ids, period)


def changed_since(device_ids: Sequence[int], period: Period, snapshot: str) -> set[int]:
    """Those of the devices whose data in the period were changed otherwise than by fresh readings since.

    What was computed in the state `snapshot` holds still where nothing was changed and `count` is the same:
    fresh readings only add to it.
    """
    return change_log.changed_since([Span.of(device_id, period) for device_id in device_ids], snapshot)


def snapshot() -> str:
    """The state of the database now, for `changed_since`."""
    return change_log.snapshot()


# --- How it is answered


def answer_all(
    questions: Sequence[PeriodOfDevice],
    percentiles: Sequence[float | str],
    report: Report | None,
    *,
    is_pooled: bool = False,
) -> tuple[Statistics | None, list[Statistics]]:
    shares = {str(percentile): fraction_of_percentile(percentile) for percentile in percentiles}
    pools = channel_pools(questions) if is_pooled else {}
    asked = [
        FiguresQuery(
            Span.of(question.device.pk, question.period),
            len(question.channels),
            question.device.profile.expected_interval_seconds,
        )
        for question in questions
    ]
    found = storage.current().figures(
        asked,
        [*shares.values(), MEDIAN],
        list(pools.values()),
        report and (lambda done: report(90 * done // len(asked))),
    )
    each = [
        statistics_of_one(question, figures, shares, found.snapshot)
        for question, figures in zip(questions, found.each, strict=True)
    ]
    if not is_pooled:
        return None, each
    numbers = {
        channel: channel_statistics(amounts, shares)
        for channel, amounts in zip(pools, found.pooled, strict=True)
    }
    return assemble(found.each, numbers, found.snapshot, None, None), each


def channel_pools(questions: Sequence[PeriodOfDevice]) -> dict[Channel, list[tuple[int, int]]]:
    """By name and unit: number of the question, place of the channel."""
    pools: dict[Channel, list[tuple[int, int]]] = defaultdict(list)
    for number, question in enumerate(questions):
        for place, channel in enumerate(question.channels):
            pools[channel].append((number, place))
    return pools


def statistics_of_one(
    question: PeriodOfDevice, figures: Figures, shares: Mapping[str, float], state: str
) -> Statistics:
    seconds = None if figures.interval is None else figures.interval / MICROSECONDS_PER_SECOND
    numbers = [channel_statistics(amounts, shares) for amounts in figures.channels]
    return assemble(
        [figures],
        dict(zip(question.channels, numbers, strict=True)),
        state,
        seconds,
        coverage_of(question.period, figures, question.device.profile.expected_interval_seconds or seconds),
    )


def assemble(
    parts: Sequence[Figures],
    numbers: dict[Channel, ChannelStatistics],
    state: str,
    interval_seconds: float | None,
    coverage: Coverage | None,
) -> Statistics:
    firsts = [part.first for part in parts if part.first is not None]
    lasts = [part.last for part in parts if part.last is not None]
    return Statistics(
        channels=numbers,
        readings=sum(part.readings for part in parts),
        excluded=sum(part.excluded for part in parts),
        first=from_pg_microseconds(min(firsts)) if firsts else None,
        last=from_pg_microseconds(max(lasts)) if lasts else None,
        interval_seconds=interval_seconds,
        coverage=coverage,
        rows_read=sum(part.rows_read for part in parts),
        segments_used=sum(part.segments_used for part in parts),
        snapshot=state,
    )


def channel_statistics(amounts: ChannelFigures, shares: Mapping[str, float]) -> ChannelStatistics:
    """`amounts` with a quantile for each share, and the median last."""
    if not amounts.count:
        return ChannelStatistics(0, None, None, 0.0, None, None, dict.fromkeys(shares))
    return ChannelStatistics(
        count=amounts.count,
        min=amounts.low,
        max=amounts.high,
        sum=rounded(amounts.total),
        avg=rounded(amounts.total, amounts.count),
        median=amounts.quantiles[-1],
        percentiles=dict(zip(shares, amounts.quantiles, strict=False)),
    )


# --- Coverage


def coverage_of(period: Period, figures: Figures, expected: float | None) -> Coverage:
    bounds = [None if time is None else pg_microseconds(time) for time in (period.start, period.end)]
    if not figures.readings:
        return coverage_of_nothing(bounds, expected)
    if expected is None:
        return Coverage(None, None, None, None)
    start = figures.first if bounds[0] is None else bounds[0]
    end = figures.last if bounds[1] is None else bounds[1]
    edges = [(start, figures.first), (figures.last, end)]
    too_long = [edge for edge in edges if edge[1] - edge[0] > GAP_FACTOR * expected * MICROSECONDS_PER_SECOND]
    gaps = figures.gaps + len(too_long)
    gap_length = figures.gap_length + sum(stop - begin for begin, stop in too_long)
    lacking = gap_length / MICROSECONDS_PER_SECOND - gaps * expected
    length = (end - start) / MICROSECONDS_PER_SECOND
    percent = 100 * (1 - lacking / length) if length else 100.0
    longest = max([figures.longest, *edges], key=lambda edge: edge[1] - edge[0])
    return Coverage(expected, min(max(percent, 0.0), 100.0), gaps, gap_between(*longest) if gaps else None)


def coverage_of_nothing(bounds: Sequence[int | None], expected: float | None) -> Coverage:
    start, end = bounds
    if start is None or end is None:
        return Coverage(expected, None, None, None)
    return Coverage(expected, 0.0, 1, gap_between(start, end))


def gap_between(start: int, end: int) -> Gap:
    return Gap(
        from_pg_microseconds(start), from_pg_microseconds(end), (end - start) / MICROSECONDS_PER_SECOND
    )
