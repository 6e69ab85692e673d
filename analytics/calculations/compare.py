"""Two calculations of one kernel side by side."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from analytics.calculations import stored_rows
from analytics.kernels import KERNELS
from analytics.models import Calculation

Row = dict[str, Any]
# What stands at the same date, or moment, in each; None where one has no row there.
Pair = tuple[Row | None, Row | None]


@dataclass
class Comparison:
    """`largest` is by column the largest absolute difference of numbers, None without a common row.

    `shown` is a page of unequal pairs.
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
    """Both finished, of one kernel; shows the unequal pairs from `start` on, up to `stop`.

    Reads both once, block by block: what it needs in memory does not grow with them.
    """
    head, *columns = KERNELS[first.kernel].columns
    numbers = [column.name for column in columns if column.kind == "number"]
    found = Comparison(inputs(first, second), largest=dict.fromkeys(numbers, 0.0))
    for pair in pairs(stored_rows.all_rows(first), stored_rows.all_rows(second), head.name):
        if pair[0] == pair[1]:
            found.equal += 1
            continue
        if start <= found.differences < stop:
            found.shown.append(pair)
        count(found, pair, numbers)
    if not found.equal + found.unequal:
        found.largest = dict.fromkeys(numbers)
    return found


def count(found: Comparison, pair: Pair, numbers: list[str]) -> None:
    one, other = pair
    if one is None:
        found.only_second += 1
    elif other is None:
        found.only_first += 1
    else:
        found.unequal += 1
        for name in numbers:
            found.largest[name] = max(found.largest[name], abs(one[name] - other[name]))


def inputs(first: Calculation, second: Calculation) -> dict[str, tuple[Any, Any]]:
    """Seed, version and parameters of both."""
    one, other = (
        {"seed": run.seed, "kernel version": run.kernel_version, **run.parameters} for run in (first, second)
    )
    return {name: (one.get(name), other.get(name)) for name in one | other}


def pairs(first: Iterator[Row], second: Iterator[Row], key: str) -> Iterator[Pair]:
    """Rows of both with the same key together. Each comes in the order of its keys, ISO 8601 text."""
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
