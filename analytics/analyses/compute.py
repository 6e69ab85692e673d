"""The job behind an analysis: figures from `devices.statistics` in, a result of plain JSON out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from analytics.analyses.question import Question, buckets, check_size
from analytics.models import Analysis
from devices import statistics
from devices.models import Device
from devices.statistics import Channel, ChannelStatistics, Coverage, Statistics
from devices.timeline.periods import Period

Report = Callable[[int], None]
Summary = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ComputedAnalysis:
    """A result, and the state of the data that it is about: see `Analysis`."""

    result: dict[str, Any]
    readings: int
    snapshot: str
    counts: dict[str, int]


def compute_analysis(analysis: Analysis, now: datetime, report: Report) -> ComputedAnalysis:
    """`report` is called with the percentage done. Open bounds end at `now`.

    Of a device the result is {device_id, start, end, first, last, excluded, rows_read, segments_used,
    coverage, CHANNEL: summary}, with `buckets` if asked for. Of a user {user_id, start, end, first, last,
    excluded, rows_read, segments_used, aggregate: {CHANNEL: summary}, devices: {DEVICE ID: {CHANNEL:
    summary}}, details: {DEVICE ID: {first, last, excluded, coverage}}}, where the aggregate and the buckets
    pool all readings. Raises BadQuestion if late readings have made it too many buckets.
    """
    devices, question = list(analysis.devices.with_channels()), analysis.question
    with statistics.one_state():
        period = Period(question.period.start, question.period.end or now)
        first = None if period.start else statistics.first_reading_time([device.pk for device in devices])
        check_size(question, first, now)
        parts = bucket_periods(question, period, first)
        if analysis.user is None:
            [device] = devices
            whole, of_parts = of_device(device, [period, *parts], question, report)
            each = {device.pk: whole}
            body = {"device_id": str(device.uuid)}
            rest = {"coverage": coverage_result(whole.coverage), **channel_results(whole.channels)}
        else:
            whole, each, of_parts = of_fleet(devices, [period, *parts], question, report)
            body = {"user_id": analysis.user.pk}
            rest = of_each(whole, devices, each)
    answers = [whole, *of_parts]
    result = {
        **body,
        "start": utc_text(period.start or first),
        "end": utc_text(period.end),
        **extent(whole),
        "rows_read": sum(answer.rows_read for answer in answers),
        "segments_used": sum(answer.segments_used for answer in answers),
        **rest,
    }
    if question.bucket:
        result["buckets"] = [bucket_result(*pair) for pair in zip(parts, of_parts, strict=True)]
    counts = {str(pk): answer.readings + answer.excluded for pk, answer in each.items()}
    return ComputedAnalysis(result, whole.readings, whole.snapshot, counts)


def of_device(
    device: Device, periods: list[Period], question: Question, report: Report
) -> tuple[Statistics, list[Statistics]]:
    """Over the first of the periods, and over each of the others."""
    percentiles = list(question.fractions())
    whole, *parts = statistics.of_periods(device, periods, percentiles=percentiles, report=report)
    return whole, parts


def of_fleet(
    devices: list[Device], periods: list[Period], question: Question, report: Report
) -> tuple[Statistics, dict[int, Statistics], list[Statistics]]:
    """Over the first of the periods pooled and of each device, and pooled over each of the others."""
    percentiles = list(question.fractions())
    pooled = []
    for done, period in enumerate(periods):
        pooled.append(statistics.of_devices(devices, period, percentiles=percentiles))
        report(90 * done // len(periods))
    (whole, each), *rest = pooled
    return whole, each, [part for part, _ in rest]


def of_each(whole: Statistics, devices: list[Device], each: dict[int, Statistics]) -> dict[str, Any]:
    answers = {str(device.uuid): each[device.pk] for device in devices}
    return {
        "aggregate": channel_results(whole.channels),
        "devices": {uuid: channel_results(answer.channels) for uuid, answer in answers.items()},
        "details": {
            uuid: {**extent(answer), "coverage": coverage_result(answer.coverage)}
            for uuid, answer in answers.items()
        },
    }


def bucket_periods(question: Question, period: Period, first: datetime | None) -> list[Period]:
    start = period.start or first
    if not question.bucket or start is None:
        return []
    zone = ZoneInfo(question.time_zone)
    return buckets(start, period.end, question.bucket, zone, starts_whole=period.start is None)


def bucket_result(period: Period, answer: Statistics) -> dict[str, Any]:
    seconds = (period.end - period.start).total_seconds()
    bounds = {"start": utc_text(period.start), "end": utc_text(period.end), "seconds": seconds}
    return bounds | channel_results(answer.channels)


def extent(answer: Statistics) -> dict[str, Any]:
    """The stamps of the first and the last reading that went in, and how many were left out."""
    return {"first": utc_text(answer.first), "last": utc_text(answer.last), "excluded": answer.excluded}


def coverage_result(found: Coverage | None) -> dict[str, Any] | None:
    if found is None:
        return None
    longest = found.longest
    return {
        "expected_seconds": found.expected_seconds,
        "percent": found.percent,
        "gaps": found.gaps,
        "longest_gap": longest
        and {"start": utc_text(longest.start), "end": utc_text(longest.end), "seconds": longest.seconds},
    }


def channel_results(channels: dict[Channel, ChannelStatistics]) -> dict[str, Summary]:
    """By channel name. Where devices measure a channel of one name in several units, the unit is added:
    numbers of different units are never pooled."""
    names = [name for name, _ in channels]
    return {
        name if names.count(name) == 1 else f"{name} ({unit or 'no unit'})": channel_result(numbers)
        for (name, unit), numbers in channels.items()
    }


def channel_result(numbers: ChannelStatistics) -> Summary:
    """`percentiles` only where some were asked for."""
    fields = asdict(numbers)
    return fields if numbers.percentiles else {name: fields[name] for name in fields if name != "percentiles"}


def utc_text(time: datetime | None) -> str | None:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z") if time else None
