"""The kernel `well` against its definition in words: every point of it, for any dates, lags and seeds."""

import math
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from analytics.calculations.forms import CalculationForm
from analytics.kernels import well
from analytics.kernels.declaration import MAX_ROWS, InvalidParameters

SEEDS = st.integers(0, 2**53 - 1)
LAGS = st.integers(1, 4_000_000)
# Drawn by number of points: short tables, whose thirds are empty, come as often as long ones.
COUNTS = st.integers(1, 400)


@st.composite
def inputs(draw: Any) -> dict[str, Any]:
    lag = draw(st.integers(1, 800))
    count = draw(COUNTS)
    span = (count - 1) * lag + draw(st.integers(0, lag - 1))
    start = draw(st.dates(max_value=date.max - timedelta(days=span)))
    return {"date_start": start, "date_fin": start + timedelta(days=span), "lag": lag, "pause": 0.0}


def table(parameters: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    rng = np.random.Generator(np.random.PCG64(seed))
    names = [column.name for column in well.KERNEL.columns]
    return [dict(zip(names, row, strict=True)) for row in well.run(parameters, rng, unheard)]


def unheard(done: int, total: int) -> None:
    pass


def draws(seed: int, count: int) -> tuple[int, np.ndarray, np.ndarray]:
    """The level and the noise of liquid and oil that this seed gives."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return int(rng.integers(5, 105)), rng.standard_normal(count), rng.standard_normal(count)


def check(**parameters: Any) -> None:
    well.check({"pause": 0.0} | parameters, None)


def test_without_pauses_a_form_does_not_ask_for_one() -> None:
    """As in production, where PAUSE_SECONDS is 0."""
    *others, pause = well.KERNEL.parameters
    none = replace(pause, maximum=0)
    kernel = replace(well.KERNEL, parameters=(*others, none))
    assert "pause" not in CalculationForm(kernel=kernel, asker=None).fields
    assert "pause" in CalculationForm(kernel=well.KERNEL, asker=None).fields
    assert none.api_field().run_validation(0) == 0
    with pytest.raises(ValidationError):
        none.api_field().run_validation(1)


@given(inputs())
def test_dates_go_from_the_first_day_every_lag_up_to_the_last(parameters):
    days = [date.fromisoformat(row["date"]) for row in table(parameters, 1)]
    start, end, lag = (parameters[name] for name in ("date_start", "date_fin", "lag"))
    assert len(days) == math.floor((end - start).days / lag) + 1 == well.point_count(parameters)
    assert days[0] == start
    assert 0 <= (end - days[-1]).days < lag
    assert all(later - earlier == timedelta(days=lag) for earlier, later in pairwise(days))


@pytest.mark.parametrize(
    ("start", "end", "lag", "expected"),
    [
        ("2024-02-28", "2024-03-01", 1, ["2024-02-28", "2024-02-29", "2024-03-01"]),
        ("2023-02-28", "2023-03-01", 1, ["2023-02-28", "2023-03-01"]),
        ("1900-02-28", "1900-03-01", 1, ["1900-02-28", "1900-03-01"]),
        ("2000-02-28", "2000-03-01", 2, ["2000-02-28", "2000-03-01"]),
        ("2024-02-29", "2025-02-28", 365, ["2024-02-29", "2025-02-28"]),
        ("2024-02-29", "2025-02-28", 366, ["2024-02-29"]),
        ("2024-12-31", "2025-01-01", 1, ["2024-12-31", "2025-01-01"]),
        ("2026-05-05", "2026-05-05", 1, ["2026-05-05"]),
        ("0001-01-01", "9999-12-31", 3_652_058, ["0001-01-01", "9999-12-31"]),
        ("0001-01-01", "9999-12-31", 4_000_000, ["0001-01-01"]),
    ],
)
def test_known_dates(start, end, lag, expected):
    dates = {"date_start": date.fromisoformat(start), "date_fin": date.fromisoformat(end)}
    assert [row["date"] for row in table({**dates, "lag": lag, "pause": 0.0}, 1)] == expected


@given(inputs(), SEEDS)
def test_liquid_is_the_level_with_its_two_steps_and_noise(parameters, seed):
    rows = table(parameters, seed)
    count, third = len(rows), len(rows) // 3
    level, noise, _ = draws(seed, count)
    assert 5 <= level <= 104
    for i, row in enumerate(rows):
        expected = level
        if i >= third:
            expected += math.floor(level / 10)
        if i >= 2 * third:
            expected -= math.floor(level / 5)
        assert row["liquid"] == expected + noise[i]


@given(inputs(), SEEDS)
def test_oil_is_a_falling_line_with_noise_kept_within_nothing_and_liquid(parameters, seed):
    rows = table(parameters, seed)
    level, _, noise = draws(seed, len(rows))
    for i, row in enumerate(rows):
        share = i / (len(rows) - 1) if len(rows) > 1 else 0.0
        line = 0.9 * level + share * (0.2 * level - 0.9 * level)
        kept = min(max(line + noise[i], 0.0), row["liquid"])
        assert row["oil"] == pytest.approx(kept, rel=1e-12, abs=1e-12)
        assert row["oil"] <= row["liquid"]


@given(inputs(), SEEDS)
def test_water_is_what_is_left_and_wct_its_share(parameters, seed):
    for row in table(parameters, seed):
        assert row["water"] == row["liquid"] - row["oil"]
        assert row["wct"] == row["water"] / row["liquid"]


@given(inputs(), SEEDS)
def test_the_same_seed_gives_the_same_table_and_it_keeps_its_invariants(parameters, seed):
    rows = table(parameters, seed)
    assert table(parameters, seed) == rows
    assert all(isinstance(row[name], float) for row in rows for name in ("liquid", "oil", "water", "wct"))
    if all(row["liquid"] >= 0 for row in rows):
        assert all(invariant.holds(row) for row in rows for invariant in well.KERNEL.invariants)


def test_another_seed_gives_another_table():
    year = {"date_start": date(2026, 1, 1), "date_fin": date(2026, 12, 31), "lag": 1, "pause": 0.0}
    assert table(year, 1) != table(year, 2)


def test_every_level_from_5_to_104_comes_up():
    assert {draws(seed, 0)[0] for seed in range(3000)} == set(range(5, 105))


def test_progress_is_told_from_the_first_point_to_the_last():
    told: list[tuple[int, int]] = []
    week = {"date_start": date(2026, 1, 1), "date_fin": date(2026, 1, 7), "lag": 1, "pause": 0.0}
    rng = np.random.Generator(np.random.PCG64(1))
    assert len(list(well.run(week, rng, lambda done, total: told.append((done, total))))) == 7
    assert told == [(done, 7) for done in range(7)]


@given(st.dates(), st.dates(), LAGS)
def test_what_is_refused_is_refused_by_name_and_nothing_else_is(one, other, lag):
    days = (other - one).days
    parameters = {"date_start": one, "date_fin": other, "lag": lag}
    if days < 0:
        with pytest.raises(InvalidParameters) as refused:
            check(**parameters)
        assert set(refused.value.errors) == {"date_fin"}
    elif days // lag + 1 > MAX_ROWS:
        with pytest.raises(InvalidParameters) as refused:
            check(**parameters)
        assert set(refused.value.errors) == {"date_fin", "lag"}
    else:
        check(**parameters)


@pytest.mark.parametrize(("days", "is_allowed"), [(MAX_ROWS - 1, True), (MAX_ROWS, False)])
def test_a_hundred_thousand_rows_are_the_limit(days, is_allowed):
    start = date(1900, 1, 1)
    parameters = {"date_start": start, "date_fin": start + timedelta(days=days), "lag": 1}
    assert well.point_count(parameters) == days + 1
    if is_allowed:
        check(**parameters)
    else:
        with pytest.raises(InvalidParameters):
            check(**parameters)
