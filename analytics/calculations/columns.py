"""The columns of a calculation, as its pages, its chart and its CSV file show them."""

from typing import Any

from analytics.calculations import stored_rows
from analytics.kernels import KERNELS, well
from analytics.kernels.declaration import Column
from analytics.models import Calculation
from devices.notation.numbers import learnt_decimals

# Rows whose numbers tell the decimals of a column: the same on every page of the rows, and in the chart.
ROWS_FOR_DECIMALS = 50
LENGTH_OF_DAY = len("2026-01-01")
NAMES_OF_WELL = [column.name for column in well.KERNEL.columns]


def columns_of(calculation: Calculation) -> list[Column]:
    """The columns of its stored rows; without rows, those that its kernel declares.

    The kernel only describes them: it may have changed since, be gone, or declare none.
    """
    kernel = KERNELS.get(calculation.kernel)
    declared = kernel.columns_of(calculation.parameters) if kernel else []
    first = next(iter(stored_rows.row_slice(calculation, 0, 1)), None)
    if first is None:
        return declared
    # A function (kernels/function.py) declares none. Of the columns of `well` it has those units.
    known = declared or [column for column in well.KERNEL.columns if list(first) == NAMES_OF_WELL]
    described = {column.name: column for column in known}
    return [described.get(name) or plain(name, value) for name, value in first.items()]


def decimals_of_columns(calculation: Calculation) -> dict[str, int | None]:
    """Decimals to show, by the names of the columns of numbers; None stands for six significant digits."""
    rows = list(stored_rows.row_slice(calculation, 0, ROWS_FOR_DECIMALS))
    names = [name for name, value in rows[0].items() if not isinstance(value, str)] if rows else []
    return {name: learnt_decimals(row[name] for row in rows) for name in names}


def plain(name: str, value: Any) -> Column:
    if not isinstance(value, str):
        return Column(name, name)
    return Column(name, name, kind="date" if len(value) == LENGTH_OF_DAY else "moment")
