"""Two calculations of one kernel side by side."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from analytics.calculations import stored_rows
from analytics.calculations.columns import columns_of
from analytics.kernels.declaration import Column
from analytics.models import Calculation

Row = dict[str, Any]
# The rows of both at one date or moment; None where one has no row there.
Pair = tuple[Row | None, Row | None]


@dataclass
class Comparison:
    """Numbers of equal and different rows, and one page of the differences.

    `largest` is the largest absolute difference of each column of numbers, None if no row is common. `shown`
    is the page of unequal pairs.
    """

    inputs: dict[str, tuple[Any, Any]]
    equal: int = 0
    unequal: int = 0
    only_first: int = 0
    only_second: int = 0
    largest: dict[str, float | None] = field(default_factory=dict)
    shown: list[Pair] = field(default_factory=list)

    @property
    def differences(self) -> int:
        return self.unequal + self.only_first + self.only_second


def compare_calculations(first: Calculation, second: Calculation, start: int, stop: int) -> Comparison:
    """Compare two finished calculations with the same columns.

    `shown` are the unequal pairs `start` up to `stop`. Reads both once, block by block: memory does not grow
    with their rows.
    """
    columns = common_columns(first, second)
    key = columns[0].name if columns else ""
    numbers = [column.name for column in columns if column.kind == "number"]
    comparison = Comparison(input_pairs(first, second), largest=dict.fromkeys(numbers, 0.0))
    for pair in row_pairs(stored_rows.all_rows(first), stored_rows.all_rows(second), key):
        if pair[0] == pair[1]:
            comparison.equal += 1
            continue
        if start <= comparison.differences < stop:
            comparison.shown.append(pair)
        count_difference(comparison, pair, numbers)
    if not comparison.equal + comparison.unequal:
        comparison.largest = dict.fromkeys(numbers)
    return comparison


def common_columns(first: Calculation, second: Calculation) -> list[Column]:
    """The columns of the one that has rows."""
    return columns_of(first if first.row_count else second)


def count_difference(comparison: Comparison, pair: Pair, numbers: list[str]) -> None:
    first, second = pair
    if first is None:
        comparison.only_second += 1
    elif second is None:
        comparison.only_first += 1
    else:
        comparison.unequal += 1
        for name in numbers:
            comparison.largest[name] = max(comparison.largest[name], abs(first[name] - second[name]))


def input_pairs(first: Calculation, second: Calculation) -> dict[str, tuple[Any, Any]]:
    """Seed, kernel version and parameters of both, by name."""
    one, other = (
        {"seed": run.seed, "kernel version": run.kernel_version, **run.parameters} for run in (first, second)
    )
    return {name: (one.get(name), other.get(name)) for name in one | other}


def row_pairs(first: Iterator[Row], second: Iterator[Row], key: str) -> Iterator[Pair]:
    """A merge join on `key`, ISO 8601 text by which both are ordered."""
    one, other = next(first, None), next(second, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[key] < other[key]):
            yield one, None
            one = next(first, None)
        elif one is None or other[key] < one[key]:
            yield None, other
            other = next(second, None)
        else:
            yield one, other
            one, other = next(first, None), next(second, None)
