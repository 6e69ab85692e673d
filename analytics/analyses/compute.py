"""The job behind an analysis: turns figures from `devices.statistics` into a result of plain JSON."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, cast
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
    """A result, and the state of the data it was computed from: see `Analysis`."""

    result: dict[str, Any]
    readings: int
    snapshot: str
    counts: dict[str, int]


def compute_analysis(analysis: Analysis, now: datetime, report: Report) -> ComputedAnalysis:
    """Compute the statistics that an analysis asks for; an open period ends at `now`.

    The result of a device is {device_id, start, end, first, last, excluded, rows_read, segments_used,
    coverage, CHANNEL: summary}; that of a user is {user_id, start, end, first, last, excluded, rows_read,
    segments_used, aggregate: {CHANNEL: summary}, devices: {DEVICE ID: {CHANNEL: summary}}, details: {DEVICE
    ID: {first, last, excluded, coverage}}}. Both have `buckets` if requested. The aggregate and a user's
    buckets pool all readings. `report` takes the percentage done. Raises BadQuestion if readings that arrived
    since the request make it too many buckets.
    """
    devices, question = list(analysis.devices.with_channels()), analysis.question
    with statistics.one_state():
        end = question.period.end or now
        period = Period(question.period.start, end)
        first = None if period.start else statistics.first_reading_time([device.pk for device in devices])
        check_size(question, first, now)
        parts = bucket_periods(question, first, end)
        if analysis.user is None:
            [device] = devices
            whole, of_parts = device_statistics(device, [period, *parts], question, report)
            each = {device.pk: whole}
            body: dict[str, Any] = {"device_id": str(device.uuid)}
            rest = {"coverage": coverage_result(whole.coverage), **channel_results(whole.channels)}
        else:
            whole, each, of_parts = fleet_statistics(devices, [period, *parts], question, report)
            body = {"user_id": analysis.user.pk}
            rest = fleet_results(whole, devices, each)
    result = {
        **body,
        "start": utc_text(period.start or first),
        "end": utc_text(period.end),
        **extent(whole),
        **work_done([whole, *of_parts]),
        **rest,
    }
    if question.bucket:
        result["buckets"] = [bucket_result(*pair) for pair in zip(parts, of_parts, strict=True)]
    counts = {str(pk): answer.readings + answer.excluded for pk, answer in each.items()}
    return ComputedAnalysis(result, whole.readings, whole.snapshot, counts)


def work_done(answers: Sequence[Statistics]) -> dict[str, int]:
    return {
        "rows_read": sum(answer.rows_read for answer in answers),
        "segments_used": sum(answer.segments_used for answer in answers),
    }


def device_statistics(
    device: Device, periods: list[Period], question: Question, report: Report
) -> tuple[Statistics, list[Statistics]]:
    """Statistics over the first period, and over each of the others."""
    percentiles = question.percentile_texts
    whole, *parts = statistics.of_periods(device, periods, percentiles=percentiles, report=report)
    return whole, parts


def fleet_statistics(
    devices: list[Device], periods: list[Period], question: Question, report: Report
) -> tuple[Statistics, dict[int, Statistics], list[Statistics]]:
    """Pooled statistics over the first period, those of each device, and pooled ones over the others."""
    percentiles = question.percentile_texts
    pooled = []
    for done, period in enumerate(periods):
        pooled.append(statistics.of_devices(devices, period, percentiles=percentiles))
        report(90 * done // len(periods))
    (whole, each), *rest = pooled
    return whole, each, [part for part, _ in rest]


def fleet_results(whole: Statistics, devices: list[Device], each: dict[int, Statistics]) -> dict[str, Any]:
    answers = {str(device.uuid): each[device.pk] for device in devices}
    return {
        "aggregate": channel_results(whole.channels),
        "devices": {uuid: channel_results(answer.channels) for uuid, answer in answers.items()},
        "details": {
            uuid: {**extent(answer), "coverage": coverage_result(answer.coverage)}
            for uuid, answer in answers.items()
        },
    }


def bucket_periods(question: Question, first: datetime | None, end: datetime) -> list[Period]:
    start = question.period.start or first
    if not question.bucket or start is None:
        return []
    zone = ZoneInfo(question.time_zone)
    return buckets(start, end, question.bucket, zone, starts_whole=question.period.start is None)


def bucket_result(period: Period, answer: Statistics) -> dict[str, Any]:
    start, end = cast(tuple[datetime, datetime], (period.start, period.end))  # no bucket is open
    seconds = (end - start).total_seconds()
    bounds = {"start": utc_text(start), "end": utc_text(end), "seconds": seconds}
    return bounds | channel_results(answer.channels)


def extent(answer: Statistics) -> dict[str, Any]:
    """Stamps of the first and the last reading that were used, and the number of excluded ones."""
    return {"first": utc_text(answer.first), "last": utc_text(answer.last), "excluded": answer.excluded}


def coverage_result(coverage: Coverage | None) -> dict[str, Any] | None:
    if coverage is None:
        return None
    longest = coverage.longest
    return {
        "expected_seconds": coverage.expected_seconds,
        "percent": coverage.percent,
        "gaps": coverage.gaps,
        "longest_gap": longest
        and {"start": utc_text(longest.start), "end": utc_text(longest.end), "seconds": longest.seconds},
    }


def channel_results(channels: dict[Channel, ChannelStatistics]) -> dict[str, Summary]:
    """Results by channel name, with the unit added where devices measure one name in several units."""
    names = [name for name, _ in channels]
    return {
        name if names.count(name) == 1 else f"{name} ({unit or 'no unit'})": channel_result(summary)
        for (name, unit), summary in channels.items()
    }


def channel_result(summary: ChannelStatistics) -> Summary:
    """The statistics as a dict, without `percentiles` where none were requested."""
    fields = asdict(summary)
    if not summary.percentiles:
        del fields["percentiles"]
    return fields


def utc_text(time: datetime | None) -> str | None:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z") if time else None
