"""Invalid requests for calculations: refused with the name of the field, and nothing is stored."""

import json
from typing import Any

import pytest
from django.test import Client

from analytics.models import Calculation
from devices.models import Device
from tests.support import factories

pytestmark = pytest.mark.django_db
WELL = {"date_start": "2026-01-01", "date_fin": "2026-01-31", "lag": 1}
NUL = "\0"

DAYS = {
    "empty": "",
    "word": "yesterday",
    "other order": "31-01-2026",
    "slashes": "2026/01/01",
    "short": "2026-1-1",
    "no hyphens": "20260101",
    "week": "2026-W01-1",
    "two digits of a year": "26-01-01",
    "five digits of a year": "12026-01-01",
    "sign": "+2026-01-01",
    "stamp": "2026-01-01T00:00:00Z",
    "blank before": " 2026-01-01",
    "line end behind": "2026-01-01\n",
    "Arabic digits": "٢٠٢٦-٠١-٠١",
    "year 0": "0000-01-01",
    "month 0": "2026-00-10",
    "month 13": "2026-13-01",
    "day 0": "2026-01-00",
    "30 February": "2026-02-30",
    "29 February of no leap year": "2025-02-29",
    "29 February 1900": "1900-02-29",
    "31 April": "2026-04-31",
    "NUL": f"2026-01-01{NUL}",
    "number": 20260101,
    "true": True,
    "null": None,
    "array": ["2026-01-01"],
    "object": {},
}
WHOLE = {
    "fraction": 1.5,
    "whole but a float": 1.0,
    "text": "3",
    "word": "daily",
    "true": True,
    "false": False,
    "null": None,
    "array": [1],
    "object": {"days": 1},
    "401 digits": 10**400,
}
LAGS = WHOLE | {"zero": 0, "negative": -1, "no longer exact in every parser": 2**53}
SEEDS = WHOLE | {"negative": -1, "no longer exact in every parser": 2**53, "beyond 64 bits": 2**64}
PAUSES = {
    "negative": -0.1,
    "too long": 3600.5,
    "text": "1",
    "true": True,
    "null": None,
    "array": [],
    "401 digits": 10**400,
}
NAMES = {"number": 7, "true": True, "null": None, "array": [], "too long": "x" * 201, "NUL": f"a{NUL}b"}
KERNELS = {
    "unknown": "oil",
    "another case": "Well",
    "empty": "",
    "number": 1,
    "null": None,
    "array": ["well"],
}
FIELDS = [
    ("date_start", DAYS),
    ("date_fin", DAYS),
    ("lag", LAGS),
    ("seed", SEEDS),
    ("pause", PAUSES),
    ("name", NAMES),
    ("kernel", KERNELS),
]


def bad_fields() -> list[Any]:
    return [
        pytest.param(name, value, id=f"{name}: {what}")
        for name, values in FIELDS
        for what, value in values.items()
    ]


@pytest.fixture
def device() -> Device:
    return factories.device()


def post(body: Any, user: Any) -> Any:
    headers = {"Authorization": f"Token {factories.token(user)[1]}"}
    text = body if isinstance(body, str) else json.dumps(body)
    return Client().post("/calculations/", text, content_type="application/json", headers=headers)


def refused(body: Any, user: Any = None) -> list[str]:
    """Request a calculation; returns the fields that the refusal names, and checks that nothing is stored."""
    response = post(body, user)
    assert response.status_code == 400, response.content
    assert response["Content-Type"] == "application/problem+json"
    assert Calculation.objects.count() == 0
    errors = response.json()["errors"]
    assert all(error["message"] for error in errors)
    return [error["field"] for error in errors]


@pytest.mark.parametrize(("name", "value"), bad_fields())
def test_a_bad_field_is_named(name: str, value: Any) -> None:
    assert refused(WELL | {name: value}) == [name]


@pytest.mark.parametrize("name", WELL)
def test_what_is_missing_is_named(name: str) -> None:
    assert refused({other: value for other, value in WELL.items() if other != name}) == [name]
    assert refused({}) == refused("") == list(WELL)


def test_every_bad_field_is_named_at_once() -> None:
    assert refused({"date_start": "x", "date_fin": 1, "lag": 0, "seed": -1, "pause": -1}) == [
        "seed",
        "date_start",
        "date_fin",
        "lag",
        "pause",
    ]


@pytest.mark.parametrize("name", ["status", "id", "result", "started_at", "Lag", "dateStart"])
def test_a_field_that_nobody_knows_is_named(name: str) -> None:
    assert refused(WELL | {name: 1}) == [name]


def test_the_last_day_may_not_be_before_the_first() -> None:
    assert refused(WELL | {"date_fin": "2025-12-31"}) == ["date_fin"]


@pytest.mark.parametrize(("lag", "last"), [(1, "2299-10-17"), (2, "2573-08-01"), (36, "9999-12-31")])
def test_too_many_rows_are_refused(lag: int, last: str) -> None:
    body = WELL | {"lag": lag, "date_fin": last}
    if lag == 36:
        body["date_start"] = "0001-01-01"
    assert refused(body) == ["date_fin", "lag"]


@pytest.mark.parametrize(
    "body",
    ["[]", "null", "1", '"well"', "{", "[" * 5000, "NaN", '{"lag": NaN', '{"lag": NaN, "seed": 01}', "\xff"],
)
def test_a_body_that_is_no_object_is_refused(body: str) -> None:
    assert refused(body) == ["body"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"])
def test_what_is_no_finite_number_is_named(number: str) -> None:
    body = json.dumps(WELL | {"pause": 0}).replace('"pause": 0', f'"pause": {number}')
    assert refused(body) == ["pause"]
    assert refused(f'{{"lag": {number}, "deep": [1, {{"er": {number}}}]}}') == ["lag", "deep.1.er"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"lag": 4_000_000},
        {"date_fin": WELL["date_start"]},
        {"date_start": "2024-02-29", "date_fin": "2024-02-29"},
        {"date_start": "0001-01-01", "date_fin": "0001-01-02"},
        {"date_start": "9999-12-30", "date_fin": "9999-12-31"},
        {"date_fin": "2299-10-16"},
        {"seed": 0},
        {"seed": 2**53 - 1},
        {"pause": 0},
        {"pause": 1800},
        {"name": ""},
        {"name": "Скважина 7 =1+1"},
        {"kernel": "well"},
    ],
    ids=str,
)
def test_what_is_good_is_taken(fields: dict[str, Any]) -> None:
    response = post(WELL | fields, factories.owner())
    assert response.status_code == 201, response.content
    assert list(response.json()) == ["id"]


class TestForecast:
    BAD = {
        "device": ["", "nonsense", 7, True, None, [], "00000000-0000-4000-8000-000000000000"],
        "channel": ["", "w", 1, None, True],
        "days": [0, 31, 1.5, "3", True],
        "history": [1, 91, 2.5],
        "confidence": [49.9, 100, "95", True],
        "until": ["", "now", 1_700_000_000, "2026-02-30", "9999-12-31T00:00:00Z"],
        "pause": [1],
        "lag": [1],
    }

    @staticmethod
    def good(device: Device) -> dict[str, Any]:
        return {"kernel": "forecast", "device": str(device.uuid), "channel": "x"}

    @pytest.mark.parametrize(
        ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
    )
    def test_a_bad_field_is_named(self, device: Device, name: str, value: Any) -> None:
        assert refused(self.good(device) | {name: value}, device.owner) == [name]

    def test_a_strangers_device_is_unknown(self, device: Device) -> None:
        stranger = factories.stranger()
        body = self.good(device)
        unknown = post(body | {"device": "00000000-0000-4000-8000-000000000000"}, stranger).json()
        assert post(body, stranger).json() == unknown
        assert refused(body, stranger) == ["device"]
        assert post(body, device.owner).status_code == post(body, factories.colleague()).status_code == 201

    def test_its_name_is_needed(self, device: Device) -> None:
        body = {name: value for name, value in self.good(device).items() if name != "kernel"}
        assert "device" in refused(body, device.owner)
