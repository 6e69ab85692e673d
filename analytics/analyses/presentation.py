import json
import math
from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django.conf import settings
from django.utils import timezone

from analytics.models import Analysis
from devices.models import Device, Exclusion
from devices.serializers import reading_body, stamp_text
from devices.storage.interface import StoredReading
from devices.templatetags.figures import duration, exact

# That touch the readings in the table: each reading could have its own, and more than one.
MOST_COVERING = 1000
BUCKET_BOUNDS = ("start", "end", "seconds")
STATISTICS = ("count", "min", "max", "sum", "avg", "median")


def zone(analysis: Analysis) -> tzinfo:
    """Where its stamps are shown: devices of a fleet may lie in several zones."""
    return analysis.device.zone if analysis.device else timezone.get_default_timezone()


def reading_row(device: Device, reading: StoredReading, exclusions: list[Exclusion]) -> dict[str, Any]:
    """A reading of a table; `as_json` names it to the page where it is excluded."""
    return {
        "reading": reading,
        "is_excluded": any(exclusion.covers(reading) for exclusion in exclusions),
        "as_json": json.dumps(reading_body(reading, device)),
    }


def feed(device: Device, exclusions: list[Exclusion]) -> dict[str, Any]:
    """What the page's scripts need to follow the device's readings, and to mark those that are excluded."""
    return {
        "exclusions": [
            {"start": stamp_text(each.start_time), "end": stamp_text(each.end_time), "values": each.values}
            for each in exclusions
        ],
        "channels": [{"name": channel.name, "unit": channel.unit} for channel in device.channels],
        "zone": device.time_zone,
        "online_seconds": settings.DEVICE_ONLINE_SECONDS,
    }


def labels(devices: Iterable[Device]) -> dict[str, dict[str, Any]]:
    """What a result does not say: by device id the device's name and its channels' units."""
    return {
        str(device.uuid): {
            "name": str(device),
            "units": {channel.name: channel.unit for channel in device.channels},
        }
        for device in devices
    }


def bounds(result: dict) -> dict[str, datetime | None]:
    """The bounds that the result was computed over."""
    return {name: moment(result[name]) for name in ("start", "end")}


def moment(stamp: str | None) -> datetime | None:
    return stamp and datetime.fromisoformat(stamp)


def facts(result: dict) -> dict[str, Any]:
    """What a result says about itself."""
    found = {name: moment(result.get(name)) for name in ("first", "last")}
    return found | {
        "note": note(result),
        "rows_read": result.get("rows_read"),
        "segments_used": result.get("segments_used"),
    }


def parts(result: dict, labels: dict[str, dict]) -> list[dict[str, Any]]:
    """A result as parts of a table, {title, note, rows}: the aggregate first, then each device. A row is a
    channel.

    analysis.js does the same with a result that arrives while the page is open.
    """
    units = all_units(labels)
    if "devices" not in result:
        return [{"title": "", "rows": rows(channels_of(result), units)}]
    unknown: dict[str, Any] = {"units": {}}
    details = result.get("details", {})
    each = [(uuid, channels, labels.get(uuid, unknown)) for uuid, channels in result["devices"].items()]
    return [
        {"title": "All devices together", "rows": rows(result["aggregate"], units)},
        *(
            {
                "title": of.get("name", uuid),
                "note": note(details.get(uuid, {})),
                "rows": rows(channels, of["units"]),
            }
            for uuid, channels, of in each
        ),
    ]


def bucket_parts(buckets: Iterable[dict], labels: dict[str, dict]) -> list[dict[str, Any]]:
    """Likewise."""
    units = all_units(labels)
    return [
        {
            "start": moment(bucket["start"]),
            "note": f"{exact(math.floor(bucket['seconds'] / 360 + 0.5) / 10)} h",
            "rows": rows(channels_of(bucket), units),
        }
        for bucket in buckets
    ]


def all_units(labels: dict[str, dict]) -> dict[str, str]:
    return {name: unit for label in labels.values() for name, unit in label["units"].items()}


def channels_of(result: dict) -> dict[str, dict]:
    """Of what stands beside them nothing has a median."""
    return {name: part for name, part in result.items() if isinstance(part, dict) and "median" in part}


def rows(channels: dict[str, dict], units: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "channel": name,
            "unit": units.get(name, ""),
            **summary,
            "percentiles": list(summary.get("percentiles", {}).items()),
        }
        for name, summary in channels.items()
    ]


def note(details: dict[str, Any]) -> str:
    """Coverage and exclusions in words; figures.js writes the same."""
    words = []
    coverage = details.get("coverage") or {}
    if coverage.get("percent") is not None:
        # Rounded down: what lacks a reading is not covered by 100 %.
        words.append(f"{exact(math.floor(coverage['percent'] * 10) / 10)} % covered")
    if coverage.get("expected_seconds") is not None:
        words.append(f"one reading in {exact(coverage['expected_seconds'])} s expected")
    if coverage.get("gaps"):
        gaps, longest = coverage["gaps"], duration(timedelta(seconds=coverage["longest_gap"]["seconds"]))
        words.append(f"a gap of {longest}" if gaps == 1 else f"{gaps} gaps, the longest of {longest}")
    if details.get("excluded"):
        words.append(f"{details['excluded']} excluded")
    return ", ".join(words)
