"""Statistics of the stretch that a chart shows, beside those of what it is compared with."""

from dataclasses import dataclass
from typing import Any

from analytics.analyses.compute import coverage_result
from analytics.analyses.presentation import quality_note
from analytics.device_pages.time_bar import Comparison, TimeBar
from devices import statistics
from devices.models import Device, Exclusion
from devices.statistics import ChannelStatistics, Statistics
from devices.timeline.periods import Period

ROWS = (
    ("count", "Count"),
    ("min", "Min"),
    ("median", "Median"),
    ("avg", "Average"),
    ("max", "Max"),
    ("sum", "Sum"),
)
MOST_EXCLUSIONS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a channel. `other` and `difference` (shown minus other) are None without a comparison."""

    name: str
    label: str
    value: float | None
    other: float | None = None
    difference: float | None = None


def stretch(device: Device, bar: TimeBar) -> dict[str, Any]:
    """Context of the statistics: the period `shown`, `channels` with `rows`, and `exclusions`."""
    period = bar.range.period if bar.range else Period()
    shown = Period(period.start, period.end or bar.now)
    answer = statistics.of_device(device, shown)
    other = other_answer(bar.comparison)
    return {
        "shown": shown,
        "answer": answer,
        "other": other,
        "channels": [
            {"name": name, "unit": unit, "rows": rows(summary, same_channel(other, name))}
            for (name, unit), summary in answer.channels.items()
        ],
        "exclusions": exclusions_of(device, shown),
        "quality": quality_note({"coverage": coverage_result(answer.coverage), "excluded": answer.excluded}),
    }


def other_answer(comparison: Comparison | None) -> Statistics | None:
    return statistics.of_device(comparison.device, comparison.period) if comparison else None


def same_channel(other: Statistics | None, name: str) -> ChannelStatistics | None:
    """The channel of this name; another device may not have it, or measure it in another unit."""
    found = [summary for (known, _), summary in other.channels.items() if known == name] if other else []
    return found[0] if found else None


def rows(summary: ChannelStatistics, other: ChannelStatistics | None) -> list[Row]:
    if other is None:
        return [Row(name, label, getattr(summary, name)) for name, label in ROWS]
    pairs = [(name, label, getattr(summary, name), getattr(other, name)) for name, label in ROWS]
    return [Row(*pair, difference=difference(*pair[2:])) for pair in pairs]


def difference(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def exclusions_of(device: Device, shown: Period) -> list[Exclusion]:
    """Exclusions in force that the chart hatches, oldest first."""
    found = device.exclusions.in_force().touching(shown).order_by("start_time")
    return list(found[:MOST_EXCLUSIONS])
