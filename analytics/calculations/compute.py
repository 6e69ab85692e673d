"""The job behind a calculation: runs its kernel, checks the rows and stores them in blocks."""

import platform
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.metadata import version
from math import isfinite
from typing import Any

import numpy as np
from django.db import transaction

from analytics import runs
from analytics.calculations.stored_rows import BLOCK_ROWS, batches, encode
from analytics.kernels import KERNELS
from analytics.kernels.declaration import MAX_ROWS, BadRow, Column, Invariant, Kernel, Row, Table
from analytics.models import Calculation, CalculationRows

# JSON parsers that read numbers as doubles change larger whole numbers.
LARGEST_WHOLE = 2**53 - 1
# By the kind of a column: the form of its texts, and that in words.
STAMPS = {
    "date": (re.compile(r"\d{4}-\d\d-\d\d", re.ASCII), "a date (YYYY-MM-DD)"),
    "moment": (
        re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII),
        "a moment in UTC (YYYY-MM-DDThh:mm:ssZ)",
    ),
}


def compute_calculation(calculation: Calculation, report: Callable[[int], None]) -> bool:
    """Run the kernel and store its rows; returns False if the run was lost meanwhile.

    `report` takes the percentage done. Raises InvalidParameters for parameters that are no longer valid, and
    BadRow for rows that cannot be stored.
    """
    kernel = KERNELS[calculation.kernel]
    parameters = kernel.read(calculation.parameters)
    kernel.check(parameters, calculation.asked_by)
    rng = np.random.Generator(np.random.PCG64(calculation.seed))
    made = kernel.run(parameters, rng, lambda done, total: report(99 * done // max(1, total)))
    table = made if isinstance(made, Table) else Table(kernel.columns, made)
    writer = RowWriter(table.columns, kernel.invariants)
    payloads = [writer.block(block) for block in batches(table.rows, BLOCK_ROWS)]
    return store_result(calculation, kernel, writer, payloads)


@transaction.atomic
def store_result(calculation: Calculation, kernel: Kernel, writer: "RowWriter", payloads: list[str]) -> bool:
    # The run is finished first: a task that has lost it stores no row, and none can take it afterwards.
    is_ours = runs.finish(
        Calculation,
        calculation.pk,
        calculation.claimed_by,
        kernel_version=kernel.version,
        libraries=library_versions(kernel),
        row_count=writer.count,
        result_bytes=sum(map(len, payloads)),
        broken=dict(writer.broken),
    )
    if is_ours:
        blocks = (
            CalculationRows(calculation=calculation, number=number, payload=payload)
            for number, payload in enumerate(payloads)
        )
        CalculationRows.objects.bulk_create(blocks, batch_size=20)
    return is_ours


class RowWriter:
    """Checks a kernel's rows and encodes them into blocks; counts rows, and broken invariants by label."""

    def __init__(self, columns: Sequence[Column], invariants: Sequence[Invariant]) -> None:
        self.invariants = invariants
        self.names = [column.name for column in columns]
        self.numbers = [i for i, column in enumerate(columns) if column.kind == "number"]
        self.stamps = [(i, *STAMPS[column.kind]) for i, column in enumerate(columns) if column.kind in STAMPS]
        self.count = 0
        self.previous = ""
        self.broken: Counter[str] = Counter()

    def block(self, rows: list[Row]) -> str:
        return ",".join(encode(self.checked(row)).decode() for row in rows)

    def checked(self, row: Row) -> dict[str, Any]:
        self.count += 1
        if self.count > MAX_ROWS:
            raise BadRow(f"More than {MAX_ROWS} rows.")
        if len(row) != len(self.names):
            raise BadRow(f"Row {self.count} has {len(row)} values for {len(self.names)} columns.")
        for i in self.numbers:
            if not is_finite(row[i]):
                raise BadRow(f"{self.names[i]} of row {self.count} is {fault(row[i])}.")
        for i, form, said in self.stamps:
            if not is_stamp(row[i], form):
                raise BadRow(f"{self.names[i]} of row {self.count} is not {said}.")
        # Both the comparison of two runs and the chart read the rows in this order.
        if row[0] < self.previous:
            raise BadRow(f"{self.names[0]} of row {self.count} is before that of the row above it.")
        self.previous = row[0]
        named = dict(zip(self.names, row, strict=True))
        for invariant in self.invariants:
            if not invariant.holds(named):
                self.broken[invariant.label] += 1
        return named


def is_finite(value: Any) -> bool:
    """Exactly the types that can be encoded: numbers of numpy cannot, and true is none."""
    if type(value) is float:
        return isfinite(value)
    return type(value) is int and abs(value) <= LARGEST_WHOLE


def fault(value: Any) -> str:
    is_number = type(value) in (float, int)
    return "not a finite number" if is_number else f"of the type {type(value).__name__}, not a number"


def is_stamp(value: Any, form: re.Pattern[str]) -> bool:
    if not isinstance(value, str) or not form.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def library_versions(kernel: Kernel) -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in kernel.libraries}
