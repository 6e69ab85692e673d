"""The job behind a calculation: runs its kernel, checks the rows and stores them in blocks."""

import platform
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from math import isfinite
from typing import Any

import numpy as np
from django.db import transaction

from analytics import runs
from analytics.calculations.stored_rows import BLOCK_ROWS, batches, encode
from analytics.kernels import KERNELS
from analytics.kernels.declaration import MAX_ROWS, Kernel, Row
from analytics.models import Calculation, CalculationRows


class BadRow(ValueError):
    """A kernel made a row that cannot be stored; the message says which."""


def compute_calculation(calculation: Calculation, report: Callable[[int], None]) -> bool:
    """Run the kernel and store its rows; returns False if the run was lost meanwhile.

    `report` takes the percentage done. Raises InvalidParameters for parameters that are no longer valid, and
    BadRow for rows that cannot be stored.
    """
    kernel = KERNELS[calculation.kernel]
    parameters = kernel.read(calculation.parameters)
    kernel.check(parameters, calculation.asked_by)
    rng = np.random.Generator(np.random.PCG64(calculation.seed))
    rows = kernel.run(parameters, rng, lambda done, total: report(99 * done // max(1, total)))
    writer = RowWriter(kernel)
    payloads = [writer.block(block) for block in batches(rows, BLOCK_ROWS)]
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

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.names = [column.name for column in kernel.columns]
        self.numbers = [i for i, column in enumerate(kernel.columns) if column.kind == "number"]
        self.count = 0
        self.broken: Counter[str] = Counter()

    def block(self, rows: list[Row]) -> str:
        return ",".join(encode(self.checked(row)).decode() for row in rows)

    def checked(self, row: Row) -> dict[str, Any]:
        self.count += 1
        if self.count > MAX_ROWS:
            raise BadRow(f"More than {MAX_ROWS} rows.")
        for i in self.numbers:
            if not isfinite(row[i]):
                raise BadRow(f"{self.names[i]} of row {self.count} is not a finite number.")
        named = dict(zip(self.names, row, strict=True))
        for invariant in self.kernel.invariants:
            if not invariant.holds(named):
                self.broken[invariant.label] += 1
        return named


def library_versions(kernel: Kernel) -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in kernel.libraries}
