"""Comparison of two calculations: equal rows, different rows, largest differences."""

from typing import Any

import pytest

from analytics.calculations import stored_rows
from analytics.calculations.compare import Comparison, compare_calculations
from analytics.calculations.stored_rows import encode
from analytics.kernels import KERNELS
from analytics.models import Calculation, CalculationRows, Status
from tests.support import factories

pytestmark = pytest.mark.django_db


def row(day: int, oil: float) -> dict[str, Any]:
    return {"date": f"2026-01-{day:02}", "liquid": 10.0, "oil": oil, "water": 10.0 - oil, "wct": 0.0}


def stored(rows: list[dict[str, Any]], **parameters: Any) -> Calculation:
    run = Calculation.objects.create(
        kernel="well",
        kernel_version="1",
        parameters=parameters,
        seed=1,
        status=Status.FINISHED,
        row_count=len(rows),
        asked_by=factories.owner(),
    )
    payload = ",".join(encode(row).decode() for row in rows)
    if rows:
        CalculationRows.objects.create(calculation=run, number=0, payload=payload)
    return run


def compare(first: Calculation, second: Calculation, stop: int = 50) -> Comparison:
    return compare_calculations(first, second, 0, stop)


def test_equal_ones_have_no_difference():
    rows = [row(day, day) for day in range(1, 5)]
    found = compare(stored(rows, lag=1), stored(rows, lag=1))
    assert (found.equal, found.differences, found.shown) == (4, 0, [])
    assert set(found.largest.values()) == {0.0}


def test_rows_are_matched_by_their_date():
    first = stored([row(1, 1.0), row(2, 2.0), row(4, 4.0)], lag=1)
    second = stored([row(2, 2.5), row(3, 3.0), row(4, 4.0)], lag=2)
    found = compare(first, second)
    assert (found.equal, found.unequal, found.only_first, found.only_second) == (1, 1, 1, 1)
    assert found.shown == [
        (row(1, 1.0), None),
        (row(2, 2.0), row(2, 2.5)),
        (None, row(3, 3.0)),
    ]
    assert found.largest == {"liquid": 0.0, "oil": 0.5, "water": 0.5, "wct": 0.0}
    assert found.inputs["lag"] == (1, 2)
    assert found.inputs["seed"] == (1, 1)


def test_a_page_of_differences_is_shown():
    first, second = (stored([row(day, shift) for day in range(1, 21)]) for shift in (0.0, 1.0))
    found = compare_calculations(first, second, 5, 10)
    assert found.differences == 20
    assert [one["date"] for one, _ in found.shown] == [f"2026-01-{day:02}" for day in range(6, 11)]


def test_one_without_rows_lacks_them_all():
    found = compare(stored([]), stored([row(1, 1.0)]))
    assert (found.equal, found.only_second) == (0, 1)
    assert set(found.largest.values()) == {None}


def test_the_first_column_is_what_rows_are_matched_by():
    assert all(kernel.columns[0].kind in ("date", "moment") for kernel in KERNELS.values())
    assert list(stored_rows.all_rows(stored([row(1, 1.0)]))) == [row(1, 1.0)]
