"""Results of analyses for templates, chart and CSV: pure functions from JSON to rows and words."""

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from analytics.analyses.beside import figure_rows
from devices.models import Device
from devices.notation.moments import duration_text
from devices.notation.numbers import learnt_decimals, number_text
from devices.rhythm.habits import habits_of

STATISTICS = ("count", "min", "max", "sum", "avg", "median")
BUCKET_BOUNDS = ("start", "end", "seconds")

Result = dict[str, Any]
Row = dict[str, Any]


class ChannelLabel(NamedTuple):
    """Unit and decimals of a channel; decimals of None stand for six significant digits."""

    unit: str = ""
    decimals: int | None = None


ChannelLabels = dict[str, ChannelLabel]  # by channel name


class DeviceLabel(NamedTuple):
    """Name and channels of a device, of which a result has only the names."""

    name: str
    channels: ChannelLabels


def device_labels(devices: Iterable[Device]) -> dict[str, DeviceLabel]:
    """Labels by device id."""
    listed = list(devices)
    habits = habits_of(listed)
    return {
        str(device.uuid): DeviceLabel(
            str(device),
            {
                channel.name: ChannelLabel(channel.unit, decimals)
                for channel, decimals in zip(device.channels, habits[device.pk].decimals, strict=True)
            },
        )
        for device in listed
    }


def pooled_channels(labels: dict[str, DeviceLabel]) -> ChannelLabels:
    """Channels of all the devices; of those with one name, the most decimals."""
    pooled: ChannelLabels = {}
    for label in labels.values():
        for name, channel in label.channels.items():
            others = pooled.get(name, channel).decimals
            known = [decimals for decimals in (channel.decimals, others) if decimals is not None]
            pooled[name] = ChannelLabel(channel.unit, max(known, default=None))
    return pooled


def computed_period(result: Result) -> dict[str, datetime | None]:
    """`start` and `end` of the period that was computed; `start` is None where there is no reading."""
    return {name: parse_stamp(result[name]) for name in ("start", "end")}


def parse_stamp(stamp: str | None) -> datetime | None:
    return datetime.fromisoformat(stamp) if stamp else None


def result_facts(result: Result) -> dict[str, Any]:
    return {
        "first": parse_stamp(result.get("first")),
        "last": parse_stamp(result.get("last")),
        "quality": quality_note(result),
        "rows_read": result.get("rows_read"),
        "segments_used": result.get("segments_used"),
    }


def statistics_groups(result: Result, labels: dict[str, DeviceLabel]) -> list[dict[str, Any]]:
    """Groups of table rows, {title, note, rows}: the aggregate, then each device. A row is a channel."""
    channels = pooled_channels(labels)
    if "devices" not in result:
        return [{"title": "", "rows": channel_rows(channel_summaries(result), channels)}]
    details = result.get("details") or {}
    groups = [{"title": "All devices together", "rows": channel_rows(result["aggregate"], channels)}]
    # Of more devices than a page can show it is null.
    for uuid, summaries in (result["devices"] or {}).items():
        label = labels.get(uuid, DeviceLabel(uuid, {}))
        note = quality_note(details.get(uuid, {}))
        groups.append({"title": label.name, "note": note, "rows": channel_rows(summaries, label.channels)})
    return groups


def channels_beside(result: Result, before: Result, labels: ChannelLabels) -> list[dict[str, Any]]:
    """{name, unit, rows} of each channel: of the device or the whole fleet, beside an earlier result."""
    earlier = channel_summaries(before.get("aggregate", before))
    return [
        channel_beside(name, summary, earlier.get(name), labels.get(name, ChannelLabel()))
        for name, summary in channel_summaries(result.get("aggregate", result)).items()
    ]


def channel_beside(name: str, shown: dict, other: dict | None, label: ChannelLabel) -> dict[str, Any]:
    rows = figure_rows(shown, other, decimals=label.decimals)
    return {"name": name, "unit": label.unit, "rows": rows}


def bucket_groups(buckets: Iterable[Result], labels: dict[str, DeviceLabel]) -> list[dict[str, Any]]:
    """Groups of table rows, {start, note, rows}: one for each bucket."""
    channels = pooled_channels(labels)
    return [
        {
            "start": parse_stamp(bucket["start"]),
            "note": f"{number(math.floor(bucket['seconds'] / 360 + 0.5) / 10)} h",
            "rows": channel_rows(channel_summaries(bucket), channels),
        }
        for bucket in buckets
    ]


def bucket_chart(result: Result, labels: ChannelLabels) -> dict[str, Any]:
    """{starts, ends: [stamp], channels: [{name, unit, decimals, min, mean, max: [number or null]}]}."""
    buckets = result["buckets"]
    names = list(channel_summaries(buckets[0])) if buckets else []
    lines = {"min": "min", "mean": "avg", "max": "max"}
    return {
        "starts": [bucket["start"] for bucket in buckets],
        "ends": [bucket["end"] for bucket in buckets],
        "channels": [
            {"name": name, **labels.get(name, ChannelLabel())._asdict()}
            | {line: [bucket[name][statistic] for bucket in buckets] for line, statistic in lines.items()}
            for name in names
        ],
    }


def bucket_lines(result: Result, percentiles: list[str]) -> list[list[Any]]:
    """A heading and a line for each bucket and channel, for a CSV file."""
    heading = [*BUCKET_BOUNDS, "channel", *STATISTICS, *(f"p{percentile}" for percentile in percentiles)]
    return [heading] + [
        [
            *(bucket[bound] for bound in BUCKET_BOUNDS),
            name,
            *(summary[statistic] for statistic in STATISTICS),
            *(summary["percentiles"][percentile] for percentile in percentiles),
        ]
        for bucket in result["buckets"]
        for name, summary in channel_summaries(bucket).items()
    ]


def channel_summaries(result: Result) -> dict[str, dict]:
    """The channels' statistics in a result or bucket: nothing beside them has a median."""
    return {name: value for name, value in result.items() if isinstance(value, dict) and "median" in value}


def channel_rows(summaries: dict[str, dict], labels: ChannelLabels) -> list[Row]:
    return [
        {
            "channel": name,
            **labels.get(name, ChannelLabel())._asdict(),
            **summary,
            "percentiles": list(summary.get("percentiles", {}).items()),
        }
        for name, summary in summaries.items()
    ]


def number(value: float) -> str:
    """A number with its own decimals, as text."""
    return number_text(value, learnt_decimals([value]))


def quality_note(details: dict[str, Any]) -> str:
    """Coverage and exclusions in words."""
    words = []
    coverage = details.get("coverage") or {}
    if coverage.get("percent") is not None:
        # Rounded down: a period that lacks a reading is not covered by 100 %.
        words.append(f"{number(math.floor(coverage['percent'] * 10) / 10)} % covered")
    if coverage.get("expected_seconds") is not None:
        words.append(f"one reading in {number(coverage['expected_seconds'])} s expected")
    if coverage.get("gaps"):
        gaps, longest = coverage["gaps"], duration_text(coverage["longest_gap"]["seconds"])
        words.append(f"a gap of {longest}" if gaps == 1 else f"{gaps} gaps, the longest of {longest}")
    if details.get("excluded"):
        words.append(f"{number(details['excluded'])} excluded")
    return ", ".join(words)
