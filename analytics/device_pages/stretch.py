"""Statistics of the stretch that a chart shows, beside those of what it is compared with."""

from dataclasses import asdict
from typing import Any

from analytics.analyses.beside import figure_rows
from analytics.analyses.compute import coverage_result
from analytics.analyses.presentation import quality_note
from analytics.device_pages.time_bar import ComparedStretch, TimeBar
from devices import statistics
from devices.models import Device, Exclusion
from devices.rhythm.habits import Habits
from devices.statistics import Statistics
from devices.timeline.periods import Period

MOST_EXCLUSIONS = 100


def stretch(device: Device, habits: Habits, bar: TimeBar) -> dict[str, Any]:
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
            {
                "name": name,
                "unit": unit,
                "rows": figure_rows(asdict(summary), same_channel(other, name), decimals=decimals),
            }
            for ((name, unit), summary), decimals in zip(
                answer.channels.items(), habits.decimals, strict=True
            )
        ],
        "exclusions": exclusions_of(device, shown),
        "quality": quality_note({"coverage": coverage_result(answer.coverage), "excluded": answer.excluded}),
    }


def other_answer(comparison: ComparedStretch | None) -> Statistics | None:
    return statistics.of_device(comparison.device, comparison.period) if comparison else None


def same_channel(other: Statistics | None, name: str) -> dict[str, Any] | None:
    """Figures of the channel of this name; another device may not have it, or measure it in another unit."""
    channels = other.channels.items() if other else ()
    return next((asdict(summary) for (known, _), summary in channels if known == name), None)


def exclusions_of(device: Device, shown: Period) -> list[Exclusion]:
    """Exclusions in force that the chart hatches, oldest first."""
    found = device.exclusions.in_force().touching(shown).order_by("start_time")
    return list(found[:MOST_EXCLUSIONS])
