"""Calculations as the templates show them: inputs, times and differences in words and rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from analytics.calculations.compare import Pair
from analytics.kernels import KERNELS
from analytics.kernels.declaration import Column, Kernel
from analytics.models import Calculation, Status
from devices.templatetags.figures import span

NumberCell = tuple[Any, int | None]  # value and decimals


def time_note(run: Calculation, position: int | None, now: datetime) -> str:
    """Duration, estimated time to go, or `position` in the queue, from 1."""
    if run.status == Status.QUEUED:
        return "next" if position == 1 else f"number {position} in the queue"
    elapsed = run.elapsed_seconds(now)
    if elapsed is None:
        return ""
    remaining = run.remaining_seconds(now)
    to_go = "" if remaining is None else f", about {span(remaining)} to go"
    return f"{span(elapsed)}{to_go}"


def shown_inputs(run: Calculation, viewer: Any) -> list[tuple[str, Any, str]]:
    """Label, value and unit of each parameter in the kernel's order, then those it no longer has."""
    kernel = KERNELS.get(run.kernel)
    declared = kernel.parameters if kernel else ()
    stored = run.parameters
    known = [(p.label, p.shown(stored[p.name], viewer), p.unit) for p in declared if p.name in stored]
    names = {parameter.name for parameter in declared}
    return known + [(name, value, "") for name, value in stored.items() if name not in names]


def compared_inputs(
    inputs: dict[str, tuple[Any, Any]], kernel: Kernel, viewer: Any
) -> list[tuple[str, Any, Any]]:
    """Label and both values of each input: parameters in the kernel's order, then the rest."""
    declared = [parameter for parameter in kernel.parameters if parameter.name in inputs]
    known = [
        (
            f"{parameter.label}, {parameter.unit}" if parameter.unit else parameter.label,
            *(parameter.shown(value, viewer) for value in inputs[parameter.name]),
        )
        for parameter in declared
    ]
    names = {parameter.name for parameter in declared}
    return known + [(name, *values) for name, values in inputs.items() if name not in names]


def row_cells(row: dict[str, Any], decimals: Mapping[str, int | None]) -> tuple[Any, list[NumberCell]]:
    """Date or moment of a row, and its numbers."""
    (_, head), *rest = row.items()
    return date_or_moment(head), [(value, decimals.get(name)) for name, value in rest]


def difference_cells(
    pair: Pair, columns: Sequence[Column], decimals: Mapping[str, int | None]
) -> tuple[Any, list[tuple[Any, Any, bool, int | None]]]:
    """Date or moment of a pair; for each further column both values, whether they differ, and decimals."""
    first, second = pair
    head, *rest = columns
    values = [
        ((first or {}).get(column.name), (second or {}).get(column.name), decimals.get(column.name))
        for column in rest
    ]
    return date_or_moment((first or second or {})[head.name]), [
        (one, other, one != other, digits) for one, other, digits in values
    ]


def date_or_moment(text: str) -> str | datetime:
    return datetime.fromisoformat(text) if "T" in text else text
