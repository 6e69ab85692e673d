"""Production figures of an oil well: made-up numbers of a plausible course."""

import time
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import numpy as np

from analytics.kernels.declaration import (
    MAX_ROWS,
    Column,
    DayParameter,
    InvalidParameters,
    Invariant,
    Kernel,
    NumberParameter,
    Progress,
    Row,
    Values,
    WholeParameter,
)

LOWEST_LEVEL, HIGHEST_LEVEL = 5, 104
# The largest whole number that every JSON parser reads as it is.
LONGEST_LAG = 2**53 - 1
LONGEST_PAUSE_SECONDS = 1800
# While it pauses it looks so often whether anybody still waits for it.
STEP_SECONDS = 0.2


def point_count(parameters: Values) -> int:
    return (parameters["date_fin"] - parameters["date_start"]).days // parameters["lag"] + 1


def check(parameters: Values, asker: Any) -> None:
    if parameters["date_fin"] < parameters["date_start"]:
        raise InvalidParameters({"date_fin": "Must not be before date_start."})
    count = point_count(parameters)
    if count > MAX_ROWS:
        message = f"From the first day to the last that are {count} rows; at most {MAX_ROWS} are allowed."
        raise InvalidParameters({"date_fin": message, "lag": message})


def run(parameters: Values, rng: np.random.Generator, progress: Progress) -> Iterator[Row]:
    count = point_count(parameters)
    level = int(rng.integers(LOWEST_LEVEL, HIGHEST_LEVEL, endpoint=True))
    liquid = levels(count, level) + rng.standard_normal(count)
    line = np.linspace(0.9 * level, 0.2 * level, count)
    oil = np.minimum(np.maximum(line + rng.standard_normal(count), 0.0), liquid)
    water = liquid - oil
    # No liquid at all has no water in it.
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
    """Of each point, without noise: the level, from the first third on a step up, from the second on down."""
    third = count // 3
    of_points = np.full(count, float(level))
    of_points[third:] += level // 10
    of_points[2 * third :] -= level // 5
    return of_points


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
    description="Liquid, oil and water that a well brings up, with a step up and a step down on its way.",
    version="1",
    parameters=(
        DayParameter(name="date_start", label="First day"),
        DayParameter(name="date_fin", label="Last day", help="A row falls on it if the lag leads there."),
        WholeParameter(
            name="lag", label="Lag", unit="days", minimum=1, maximum=LONGEST_LAG, help="From row to row."
        ),
        NumberParameter(
            name="pause",
            label="Pause",
            unit="s",
            default=0.0,
            minimum=0,
            maximum=LONGEST_PAUSE_SECONDS,
            help="For demonstration: it takes at least so long.",
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
