"""Kernels of a package of its own: nothing in Plumbline's tree names them."""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np

from analytics.kernels.declaration import Column, Invariant, Kernel, Progress, Row, Values
from analytics.kernels.parameters import DayParameter, NumberParameter, WholeParameter


def run(parameters: Values, rng: np.random.Generator, progress: Progress) -> Iterator[Row]:
    """Production after Arps (1945): a rate that falls by the same share every day."""
    rate, produced = parameters["rate"], 0.0
    for i in range(parameters["days"]):
        progress(i, parameters["days"])
        produced += rate
        yield (parameters["start"] + timedelta(days=i)).isoformat(), rate, produced
        rate *= 1 - parameters["decline"] / 100


KERNEL = Kernel(
    name="decline",
    label="Decline curve",
    description="Production of a well whose rate falls exponentially.",
    version="3",
    parameters=(
        DayParameter(name="start", label="First day"),
        WholeParameter(name="days", label="Days", minimum=1, maximum=20_000),
        NumberParameter(name="rate", label="First rate", unit="m³/d", minimum=0, maximum=1e6),
        NumberParameter(name="decline", label="Decline", unit="% a day", default=0.5, minimum=0, maximum=100),
    ),
    columns=(
        Column("date", "Date", kind="date"),
        Column("rate", "Rate", unit="m³/d", draw="area"),
        Column("produced", "Produced", unit="m³", draw="line-right"),
    ),
    invariants=(Invariant("the rate is not negative", lambda row: row["rate"] >= 0),),
    run=run,
    example={"start": "2026-01-01", "days": 365, "rate": 40},
)


def rainfall(first: date, days: int, mean: float = 2.0, *, rng: np.random.Generator) -> list[dict]:
    """Invented rain of some days, in millimetres.

    Exponentially distributed around the mean.
    """
    amounts = rng.exponential(mean, days)
    return [{"day": first + timedelta(days=i), "rain": amount} for i, amount in enumerate(amounts)]
