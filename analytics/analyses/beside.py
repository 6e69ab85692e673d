"""Figures of a channel beside those of another period, device or run, with the difference."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FIGURES = {"count": "Count", "min": "Min", "median": "Median", "avg": "Average", "max": "Max", "sum": "Sum"}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `other` and `difference` (shown minus other) are None where there is nothing to compare."""

    name: str
    label: str
    value: float | None
    other: float | None
    difference: float | None
    decimals: int | None

    @property
    def is_derived(self) -> bool:
        """Not a value that a reading has."""
        return self.name in ("avg", "median")


def figure_rows(
    shown: Mapping[str, Any], other: Mapping[str, Any] | None, *, decimals: int | None
) -> list[Row]:
    """Rows of the figures of `shown`, by their names in FIGURES, beside those of `other`.

    `decimals` are those of the channel; a count has none.
    """
    values = {name: (shown[name], other[name] if other else None) for name in FIGURES}
    return [
        Row(name, FIGURES[name], value, before, difference(value, before), 0 if name == "count" else decimals)
        for name, (value, before) in values.items()
    ]


def difference(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other
