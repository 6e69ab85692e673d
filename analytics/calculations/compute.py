"""Calculations: asked for, computed into blocks of rows, and read again."""

import platform
import secrets
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from math import isfinite
from typing import Any

import numpy as np
from django.db import transaction

from analytics import runs
from analytics.calculations.stored_rows import (
    BLOCK_ROWS,
    batches,
    encode,
)
from analytics.kernels import KERNELS
from analytics.kernels.declaration import MAX_ROWS, Kernel, Row, Values
from analytics.models import Calculation, CalculationRows, Status

# Larger whole numbers are not the same number in every JSON parser.
LARGEST_SEED = 2**53 - 1


class BadRow(ValueError):
    """A kernel made what cannot be stored; the message says where."""


def new_calculation(
    kernel: Kernel, parameters: Values, *, seed: int | None = None, **fields: Any
) -> Calculation:
    """A calculation with checked parameters, ready to be asked for. Without a seed one is drawn."""
    return Calculation(
        kernel=kernel.name,
        kernel_version=kernel.version,
        parameters=kernel.written(parameters),
        seed=secrets.randbelow(LARGEST_SEED + 1) if seed is None else seed,
        **fields,
    )


def compute_calculation(calculation: Calculation, report: Callable[[int], None]) -> bool:
    """Run the kernel and store its rows; False if another has the run by then.

    Raises declaration.Refused if what it needs is gone meanwhile, BadRow for rows that cannot be stored.
    """
    kernel = KERNELS[calculation.kernel]
    parameters = kernel.read(calculation.parameters)
    kernel.check(parameters, calculation.asked_by)
    rng = np.random.Generator(np.random.PCG64(calculation.seed))
    rows = kernel.run(parameters, rng, lambda done, total: report(99 * done // max(1, total)))
    outcome = RowWriter(kernel)
    payloads = [outcome.block(block) for block in batches(rows, BLOCK_ROWS)]
    return store_result(calculation, kernel, outcome, payloads)


@transaction.atomic
def store_result(calculation: Calculation, kernel: Kernel, outcome: "RowWriter", payloads: list[str]) -> bool:
    # First the end of the run: who has lost it writes no row, and nobody else can have it any more.
    is_ours = runs.finish(
        Calculation,
        calculation.pk,
        calculation.claimed_by,
        kernel_version=kernel.version,
        libraries=libraries(kernel),
        row_count=outcome.count,
        broken=dict(outcome.broken),
    )
    if is_ours:
        blocks = (
            CalculationRows(calculation=calculation, number=number, payload=payload)
            for number, payload in enumerate(payloads)
        )
        CalculationRows.objects.bulk_create(blocks, batch_size=20)
    return is_ours


class RowWriter:
    """What is counted on the way: rows, and those that break an invariant."""

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
                raise BadRow(f"{self.names[i]} of row {self.count} is no finite number.")
        named = dict(zip(self.names, row, strict=True))
        for invariant in self.kernel.invariants:
            if not invariant.holds(named):
                self.broken[invariant.label] += 1
        return named


def libraries(kernel: Kernel) -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in kernel.libraries}


def duration_seconds(calculation: Calculation) -> float | None:
    """How long it took; None for one that is not over, or never began."""
    if calculation.started_at is None or calculation.finished_at is None:
        return None
    return (calculation.finished_at - calculation.started_at).total_seconds()


def elapsed_seconds(calculation: Calculation, now: datetime) -> float | None:
    """How long it has been running, or has run."""
    if calculation.status == Status.RUNNING:
        return max(0.0, (now - calculation.started_at).total_seconds())
    return duration_seconds(calculation)


def remaining_seconds(calculation: Calculation, now: datetime) -> float | None:
    """How long a running one will go on if it keeps its pace; None where nothing tells."""
    if calculation.status != Status.RUNNING or not calculation.progress:
        return None
    return elapsed_seconds(calculation, now) * (100 - calculation.progress) / calculation.progress
