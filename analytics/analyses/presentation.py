"""Results of analyses for templates, chart and CSV: pure functions from JSON to rows and words."""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from analytics.analyses.beside import figure_rows
from devices.models import Device
from devices.templatetags.figures import duration, exact

STATISTICS = ("count", "min", "max", "sum", "avg", "median")
BUCKET_BOUNDS = ("start", "end", "seconds")

Result = dict[str, Any]
Units = dict[str, str]  # by channel name
Row = dict[str, Any]


class DeviceLabel(NamedTuple):
    """Name and units of a device, which a result does not contain."""

    name: str
    units: Units


def device_labels(devices: Iterable[Device]) -> dict[str, DeviceLabel]:
    """Labels by device id."""
    return {
        str(device.uuid): DeviceLabel(
            str(device), {channel.name: channel.unit for channel in device.channels}
        )
        for device in devices
    }


def all_units(labels: dict[str, DeviceLabel]) -> Units:
    return {name: unit for label in labels.values() for name, unit in label.units.items()}


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
    units = all_units(labels)
    if "devices" not in result:
        return [{"title": "", "rows": channel_rows(channel_summaries(result), units)}]
    details = result.get("details", {})
    groups = [{"title": "All devices together", "rows": channel_rows(result["aggregate"], units)}]
    for uuid, channels in result["devices"].items():
        label = labels.get(uuid, DeviceLabel(uuid, {}))
        note = quality_note(details.get(uuid, {}))
        groups.append({"title": label.name, "note": note, "rows": channel_rows(channels, label.units)})
    return groups


def channels_beside(result: Result, before: Result, units: Units) -> list[dict[str, Any]]:
    """{name, unit, rows} of each channel: of the device or the whole fleet, beside an earlier result."""
    earlier = channel_summaries(before.get("aggregate", before))
    return [
        {"name": name, "unit": units.get(name, ""), "rows": figure_rows(summary, earlier.get(name))}
        for name, summary in channel_summaries(result.get("aggregate", result)).items()
    ]


def bucket_groups(buckets: Iterable[Result], labels: dict[str, DeviceLabel]) -> list[dict[str, Any]]:
    """Groups of table rows, {start, note, rows}: one for each bucket."""
    units = all_units(labels)
    return [
        {
            "start": parse_stamp(bucket["start"]),
            "note": f"{exact(math.floor(bucket['seconds'] / 360 + 0.5) / 10)} h",
            "rows": channel_rows(channel_summaries(bucket), units),
        }
        for bucket in buckets
    ]


def bucket_chart(result: Result, units: Units) -> dict[str, Any]:
    """{starts, ends: [stamp], channels: [{name, unit, min, mean, max: [number or null]}]}, in order."""
    buckets = result["buckets"]
    names = list(channel_summaries(buckets[0])) if buckets else []
    lines = {"min": "min", "mean": "avg", "max": "max"}
    return {
        "starts": [bucket["start"] for bucket in buckets],
        "ends": [bucket["end"] for bucket in buckets],
        "channels": [
            {"name": name, "unit": units.get(name, "")}
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


def channel_rows(summaries: dict[str, dict], units: Units) -> list[Row]:
    return [
        {
            "channel": name,
            "unit": units.get(name, ""),
            **summary,
            "percentiles": list(summary.get("percentiles", {}).items()),
        }
        for name, summary in summaries.items()
    ]


def quality_note(details: dict[str, Any]) -> str:
    """Coverage and exclusions in words."""
    words = []
    coverage = details.get("coverage") or {}
    if coverage.get("percent") is not None:
        # Rounded down: a period that lacks a reading is not covered by 100 %.
        words.append(f"{exact(math.floor(coverage['percent'] * 10) / 10)} % covered")
    if coverage.get("expected_seconds") is not None:
        words.append(f"one reading in {exact(coverage['expected_seconds'])} s expected")
    if coverage.get("gaps"):
        gaps, longest = coverage["gaps"], duration(timedelta(seconds=coverage["longest_gap"]["seconds"]))
        words.append(f"a gap of {longest}" if gaps == 1 else f"{gaps} gaps, the longest of {longest}")
    if details.get("excluded"):
        words.append(f"{details['excluded']} excluded")
    return ", ".join(words)
