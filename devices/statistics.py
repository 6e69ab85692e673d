"""Statistics of devices over a period: exact, from sorted segments where there are, from rows elsewhere.

Everything about readings that is a figure comes from here. `docs/statistics.md` explains the method.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from django.db import connection, transaction

from devices import cover, journal
from devices.columns import Column, Found, Gone, find
from devices.cover import Part
from devices.models import Device
from devices.periods import Period
from devices.segments import between, fraction, rounded, value_of
from devices.spans import Span, microseconds, stamp

# Devices are looked at so many at a time: what their unsegmented rows need in memory stays bounded.
DEVICES_AT_ONCE = 100
MICROSECONDS = 1_000_000
# An interval longer than so many expected ones is a gap.
GAP = 2
MEDIAN = 0.5
ATTEMPTS = 5

Channel = tuple[str, str]  # name, unit
Report = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Numbers:
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
class Stretch:
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
    longest: Stretch | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """`readings` went in, `excluded` were left out; together they are what is stored. Stamps are in UTC.

    `interval_seconds` is the median interval between readings of different stamps. It and `coverage` are of
    one device: None where several are pooled. `snapshot` is the state of the database that the answer is
    about, for `changed_since`.
    """

    channels: dict[Channel, Numbers]
    readings: int
    excluded: int
    first: datetime | None
    last: datetime | None
    interval_seconds: float | None
    coverage: Coverage | None
    rows_read: int
    segments_used: int
    snapshot: str


class Question(NamedTuple):
    device: Device
    channels: list[Channel]
    period: Period

    @classmethod
    def of(cls, device: Device, period: Period) -> "Question":
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
    return answers([Question.of(device, period) for period in periods], percentiles, report)[1]


def of_devices(
    devices: Sequence[Device],
    period: Period,
    *,
    percentiles: Sequence[float | str] = (),
    report: Report | None = None,
) -> tuple[Statistics, dict[int, Statistics]]:
    """Of all readings of all the devices pooled, and of each device by its primary key, in one state of the
    data. Channels are pooled that have both name and unit in common."""
    questions = [Question.of(device, period) for device in devices]
    pooled, each = answers(questions, percentiles, report, is_pooled=True)
    return pooled, {device.pk: answer for device, answer in zip(devices, each, strict=True)}


def count(device_ids: Sequence[int], period: Period) -> dict[int, int]:
    """How many readings each device has stored in the period, excluded ones too."""
    spans = [Span.of(device_id, period) for device_id in device_ids]
    with one_state():
        return dict(zip(device_ids, cover.counts(spans), strict=True))


def changed_since(device_ids: Sequence[int], period: Period, snapshot: str) -> set[int]:
    """Those of the devices whose data in the period were changed otherwise than by fresh readings since.

    What was computed in the state `snapshot` holds still where nothing was changed and `count` is the same:
    fresh readings only add to it.
    """
    return journal.changed_since([Span.of(device_id, period) for device_id in device_ids], snapshot)


def snapshot() -> str:
    """The state of the database now, for `changed_since`."""
    return journal.snapshot()


# --- How it is answered


@contextmanager
def one_state() -> Iterator[None]:
    """All statements within see the same state of the data.

    Within somebody's transaction it is that one's state, which may move on between two statements.
    """
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def answers(
    questions: Sequence[Question],
    percentiles: Sequence[float | str],
    report: Report | None,
    *,
    is_pooled: bool = False,
) -> tuple[Statistics | None, list[Statistics]]:
    shares = {str(percentile): fraction(percentile) for percentile in percentiles}
    for _ in range(ATTEMPTS):
        # Outside of a state that stays a segment may be replaced between finding and reading it.
        with suppress(Gone):
            return answers_once(questions, shares, report, is_pooled=is_pooled)
    raise Gone


def answers_once(
    questions: Sequence[Question],
    shares: Mapping[str, float],
    report: Report | None,
    *,
    is_pooled: bool,
) -> tuple[Statistics | None, list[Statistics]]:
    parts: list[Part] = []
    each: list[Statistics] = []
    if len(questions) == 1 and not is_pooled:
        [(device, channels, period)] = questions
        few = cover.few_rows(Span.of(device.pk, period), len(channels))
        if few is not None:
            return None, answer_each(questions, [few[1]], shares, few[0])
    with one_state():
        state = snapshot()
        for i in range(0, len(questions), DEVICES_AT_ONCE):
            chosen = questions[i : i + DEVICES_AT_ONCE]
            spans = [Span.of(question.device.pk, question.period) for question in chosen]
            gathered = cover.gather(spans, [len(question.channels) for question in chosen])
            each += answer_each(chosen, gathered, shares, state)
            parts += gathered if is_pooled else []
            if report is not None:
                report(90 * len(each) // len(questions))
        pooled = answer_pooled(questions, parts, shares, state) if is_pooled else None
    return pooled, each


def answer_each(
    questions: Sequence[Question], parts: Sequence[Part], shares: Mapping[str, float], state: str
) -> list[Statistics]:
    columns = [column for part in parts for column in (*part.columns, part.intervals)]
    wanted = [[*shares.values(), MEDIAN]] * len(columns)
    found = iter(find(columns, wanted))
    numbers = [
        ([numbers_of(column, next(found), shares) for column in part.columns], rhythm(next(found)))
        for part in parts
    ]
    coverages = covered(questions, parts, [seconds for _, seconds in numbers])
    return [
        statistics([part], dict(zip(question.channels, of_channels, strict=True)), state, seconds, coverage)
        for question, part, (of_channels, seconds), coverage in zip(
            questions, parts, numbers, coverages, strict=True
        )
    ]


def answer_pooled(
    questions: Sequence[Question], parts: Sequence[Part], shares: Mapping[str, float], state: str
) -> Statistics:
    pools: dict[Channel, list[Column]] = defaultdict(list)
    for question, part in zip(questions, parts, strict=True):
        for channel, column in zip(question.channels, part.columns, strict=True):
            pools[channel].append(column)
    columns = [Column.pooled(pool) for pool in pools.values()]
    found = find(columns, [[*shares.values(), MEDIAN]] * len(columns))
    numbers = {
        channel: numbers_of(column, places, shares)
        for channel, column, places in zip(pools, columns, found, strict=True)
    }
    return statistics(parts, numbers, state, None, None)


def statistics(
    parts: Sequence[Part],
    numbers: dict[Channel, Numbers],
    state: str,
    interval_seconds: float | None,
    coverage: Coverage | None,
) -> Statistics:
    firsts = [part.first for part in parts if part.readings]
    lasts = [part.last for part in parts if part.readings]
    return Statistics(
        channels=numbers,
        readings=sum(part.readings for part in parts),
        excluded=sum(part.excluded for part in parts),
        first=stamp(min(firsts)) if firsts else None,
        last=stamp(max(lasts)) if lasts else None,
        interval_seconds=interval_seconds,
        coverage=coverage,
        rows_read=sum(part.rows_read for part in parts),
        segments_used=sum(part.segments_used for part in parts),
        snapshot=state,
    )


def numbers_of(column: Column, found: Sequence[Found], shares: Mapping[str, float]) -> Numbers:
    if not column.count:
        return Numbers(0, None, None, 0.0, None, None, dict.fromkeys(shares))
    values = [value_at(place) for place in found]
    return Numbers(
        count=column.count,
        min=column.low,
        max=column.high,
        sum=rounded(column.total),
        avg=rounded(column.total, column.count),
        median=values[-1],
        percentiles=dict(zip(shares, values, strict=False)),
    )


def value_at(found: Found) -> float:
    low, high = value_of(found.low), value_of(found.high)
    # From -0.0 to itself would be 0.0.
    return low if found.is_single else between(low, high, found.part)


# --- Coverage


def rhythm(found: Sequence[Found]) -> float | None:
    """The median interval in seconds."""
    if not found:
        return None
    return between(found[-1].low, found[-1].high, found[-1].part) / MICROSECONDS


def covered(
    questions: Sequence[Question], parts: Sequence[Part], rhythms: Sequence[float | None]
) -> list[Coverage]:
    expected = [
        question.device.profile.expected_interval_seconds or seconds
        for question, seconds in zip(questions, rhythms, strict=True)
    ]
    limits = [None if seconds is None else GAP * seconds * MICROSECONDS for seconds in expected]
    gaps = cover.long_intervals(parts, limits)
    return [
        coverage(question.period, part, seconds, number, length)
        for question, part, seconds, (number, length) in zip(questions, parts, expected, gaps, strict=True)
    ]


def coverage(period: Period, part: Part, expected: float | None, gaps: int, gap_length: int) -> Coverage:
    """`gaps`: intervals between readings that are too long, together `gap_length` microseconds."""
    bounds = [None if time is None else microseconds(time) for time in (period.start, period.end)]
    if not part.readings:
        return coverage_of_nothing(bounds, expected)
    if expected is None:
        return Coverage(None, None, None, None)
    start, end = part.first if bounds[0] is None else bounds[0], part.last if bounds[1] is None else bounds[1]
    edges = [(start, part.first), (part.last, end)]
    too_long = [edge for edge in edges if edge[1] - edge[0] > GAP * expected * MICROSECONDS]
    gaps += len(too_long)
    gap_length += sum(stop - begin for begin, stop in too_long)
    lacking = gap_length / MICROSECONDS - gaps * expected
    length = (end - start) / MICROSECONDS
    percent = 100 * (1 - lacking / length) if length else 100.0
    longest = max([part.longest, *edges], key=lambda edge: edge[1] - edge[0])
    return Coverage(expected, min(max(percent, 0.0), 100.0), gaps, stretch(*longest) if gaps else None)


def coverage_of_nothing(bounds: Sequence[int | None], expected: float | None) -> Coverage:
    start, end = bounds
    if start is None or end is None:
        return Coverage(expected, None, None, None)
    return Coverage(expected, 0.0, 1, stretch(start, end))


def stretch(start: int, end: int) -> Stretch:
    return Stretch(stamp(start), stamp(end), (end - start) / MICROSECONDS)
