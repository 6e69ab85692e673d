"""The columns of a calculation, as its pages, its chart and its CSV file show them."""

from typing import Any

from analytics.calculations import stored_rows
from analytics.kernels import KERNELS, well
from analytics.kernels.declaration import Column
from analytics.models import Calculation

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


def plain(name: str, value: Any) -> Column:
    if not isinstance(value, str):
        return Column(name, name)
    return Column(name, name, kind="date" if len(value) == LENGTH_OF_DAY else "moment")
