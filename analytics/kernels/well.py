"""Production of an oil well: invented figures of a plausible course."""

import time
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import numpy as np
from django.conf import settings

from analytics.kernels.declaration import (
    MAX_ROWS,
    Column,
    InvalidParameters,
    Invariant,
    Kernel,
    Progress,
    Row,
    Values,
)
from analytics.kernels.parameters import DayParameter, NumberParameter, WholeParameter

LOWEST_LEVEL, HIGHEST_LEVEL = 5, 104
# JSON parsers that read numbers as doubles change larger whole numbers.
LONGEST_LAG = 2**53 - 1
# While pausing it reports progress this often, and so notices that the run is lost.
STEP_SECONDS = 0.2


def point_count(parameters: Values) -> int:
    return (parameters["date_fin"] - parameters["date_start"]).days // parameters["lag"] + 1


def check(parameters: Values, asker: Any) -> None:
    """Refuse days in the wrong order, and more rows than a calculation may have."""
    if parameters["date_fin"] < parameters["date_start"]:
        raise InvalidParameters({"date_fin": "Must not be before date_start."})
    count = point_count(parameters)
    if count > MAX_ROWS:
        message = f"These days and this lag give {count} rows; at most {MAX_ROWS} are allowed."
        raise InvalidParameters({"date_fin": message, "lag": message})


def run(parameters: Values, rng: np.random.Generator, progress: Progress) -> Iterator[Row]:
    count = point_count(parameters)
    level = int(rng.integers(LOWEST_LEVEL, HIGHEST_LEVEL, endpoint=True))
    liquid = levels(count, level) + rng.standard_normal(count)
    line = np.linspace(0.9 * level, 0.2 * level, count)
    oil = np.minimum(np.maximum(line + rng.standard_normal(count), 0.0), liquid)
    water = liquid - oil
    # Without liquid the water cut is 0.
    wct = np.divide(water, liquid, out=np.zeros(count), where=liquid != 0)
    started = time.monotonic()
    for i, figures in enumerate(
        zip(liquid.tolist(), oil.tolist(), water.tolist(), wct.tolist(), strict=True)
    ):
        wait_until(started + parameters["pause"] * i / count, i, count, progress)
        progress(i, count)
        yield (day(parameters, i), *figures)
    wait_until(started + parameters["pause"], count, count, progress)


def levels(count: int, level: int) -> np.ndarray:
    """Liquid without noise, shape (count,): a step up after a third of the points, down after two thirds."""
    third = count // 3
    values = np.full(count, float(level))
    values[third:] += level // 10
    values[2 * third :] -= level // 5
    return values


def day(parameters: Values, i: int) -> str:
    start: date = parameters["date_start"]
    return (start + timedelta(days=i * parameters["lag"])).isoformat()


def wait_until(due: float, done: int, total: int, progress: Progress) -> None:
    while (seconds := due - time.monotonic()) > 0:
        progress(done, total)
        time.sleep(min(seconds, STEP_SECONDS))


KERNEL = Kernel(
    name="well",
    label="Oil well",
    description="Liquid, oil and water of a well, with a step up and a step down on the way.",
    version="1",
    parameters=(
        DayParameter(name="date_start", label="First day"),
        DayParameter(
            name="date_fin", label="Last day", help="Has a row if a multiple of the lag ends there."
        ),
        WholeParameter(
            name="lag", label="Lag", unit="days", minimum=1, maximum=LONGEST_LAG, help="Between rows."
        ),
        NumberParameter(
            name="pause",
            label="Pause",
            unit="s",
            default=0.0,
            minimum=0,
            maximum=settings.PAUSE_SECONDS,
            help="Shortest duration of the run, for demonstrations.",
        ),
    ),
    columns=(
        Column("date", "Date", kind="date"),
        Column("liquid", "Liquid", unit="m³/d", draw="area"),
        Column("oil", "Oil", unit="m³/d", draw="area"),
        Column("water", "Water", unit="m³/d", draw="area"),
        Column("wct", "Water cut", unit="fraction", draw="line-right"),
    ),
    invariants=(
        Invariant("liquid is not negative", lambda row: row["liquid"] >= 0),
        Invariant("oil lies within 0 and liquid", lambda row: 0 <= row["oil"] <= row["liquid"]),
        Invariant("water is liquid less oil", lambda row: row["water"] == row["liquid"] - row["oil"]),
        Invariant("wct lies within 0 and 1", lambda row: 0 <= row["wct"] <= 1),
    ),
    run=run,
    check=check,
    example={"date_start": "2026-01-01", "date_fin": "2026-12-31", "lag": 7},
)
