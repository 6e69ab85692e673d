"""Exclusions of readings: permissions, stored fields, refusals that name the field."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices import exclusions
from devices.exclusions import Extent, NoSuchReading
from devices.models import Device, Exclusion
from devices.storage.interface import StoredReading
from tests.support import factories

pytestmark = pytest.mark.django_db
NOON = factories.NOON
SECOND = timedelta(seconds=1)
PERIOD = {"start": "2026-11-21T12:00:00Z", "end": "2026-11-21T12:00:02Z", "reason": "Cleaning"}
READING = {"timestamp": "2026-11-21T12:00:01Z", "x": 4.0, "y": 5, "z": 6.0}


@pytest.fixture
def device() -> Device:
    device = factories.device(time_zone="Europe/Berlin")
    factories.readings(device, [(1.0, 2.0, 3.0), (4.0, 5.0, 6.0)])
    return device


@pytest.fixture
def call() -> Callable[..., Any]:
    """The API's answer as a colleague gets it; fails on another status."""
    colleague = factories.colleague(login="grace")
    headers = {"Authorization": f"Token {factories.token(colleague)[1]}"}

    def call(method: str, path: str, status: int, body: Any = None) -> Any:
        answer = Client().generic(
            method, path, data=body and json.dumps(body), content_type="application/json", headers=headers
        )
        assert answer.status_code == status, answer.content
        return answer.json()

    return call


def path(device: Device, rest: str = "") -> str:
    return f"/devices/{device.uuid}/exclusions/{rest}"


# --- Stored


def test_a_period_is_excluded_and_lifted_and_both_are_kept(device: Device, call: Callable[..., Any]) -> None:
    made = call("POST", path(device), 201, PERIOD)
    assert made == {
        "id": made["id"],
        "device_id": str(device.uuid),
        **PERIOD,
        "reading": None,
        "active": True,
        "made_by": "grace",
        "made_at": made["made_at"],
        "lifted_by": None,
        "lifted_at": None,
    }
    assert call("GET", path(device, f"{made['id']}/"), 200) == made
    lifted = call("POST", path(device, f"{made['id']}/lift"), 200)
    assert lifted == {**made, "active": False, "lifted_by": "grace", "lifted_at": lifted["lifted_at"]}
    assert call("GET", path(device), 200) == [lifted]


def test_one_reading_is_excluded_by_its_stamp_and_values(device: Device, call: Callable[..., Any]) -> None:
    made = call("POST", path(device), 201, {"reading": READING, "reason": "Spike"})
    assert made["reading"] == READING
    assert (made["start"], made["end"]) == ("2026-11-21T12:00:01Z", "2026-11-21T12:00:01.000001Z")
    exclusion = Exclusion.objects.get()
    stored = [(NOON, [1.0, 2.0, 3.0]), (NOON + SECOND, [4.0, 5.0, 6.0]), (NOON + SECOND, [4.0, 5.0, 7.0])]
    covered = [exclusion.covers(StoredReading(device.pk, time, values, "")) for time, values in stored]
    assert covered == [False, True, False]


def test_a_period_covers_half_open(device: Device) -> None:
    exclusion = factories.exclusion(device, NOON, NOON + SECOND)
    times = (NOON - timedelta(microseconds=1), NOON, NOON + SECOND)
    assert [exclusion.covers(StoredReading(1, time, [0.0], "")) for time in times] == [False, True, False]


def test_bounds_without_an_offset_are_read_in_the_devices_zone(
    device: Device, call: Callable[..., Any]
) -> None:
    body = {"start": "2026-07-01", "end": "2026-07-01T12:00:00", "reason": "Cleaning"}
    made = call("POST", path(device), 201, body)
    assert (made["start"], made["end"]) == ("2026-06-30T22:00:00Z", "2026-07-01T10:00:00Z")


def test_exclusions_may_overlap_and_are_filtered_by_whether_they_hold(
    device: Device, call: Callable[..., Any]
) -> None:
    first, second = (call("POST", path(device), 201, PERIOD)["id"] for _ in range(2))
    call("POST", path(device, f"{first}/lift"), 200)
    assert [each["id"] for each in call("GET", path(device), 200)] == [first, second]
    assert [each["id"] for each in call("GET", path(device, "?active=true"), 200)] == [second]
    assert [each["id"] for each in call("GET", path(device, "?active=false"), 200)] == [first]


def test_who_lifts_second_changes_nothing(device: Device) -> None:
    exclusion = factories.exclusion(device)
    assert exclusions.lift(exclusion, by="first", now=NOON)
    assert not exclusions.lift(exclusion, by="second", now=NOON + SECOND)
    exclusion.refresh_from_db()
    assert (exclusion.lifted_by, exclusion.lifted_at) == ("first", NOON)


def test_readings_stay_stored_and_listed(device: Device, call: Callable[..., Any]) -> None:
    before = call("GET", f"/stats/{device.uuid}/", 200)
    call("POST", path(device), 201, PERIOD)
    assert call("GET", f"/stats/{device.uuid}/", 200) == before
    assert [*before[0]] == ["device_id", "timestamp", "x", "y", "z"]


def test_exclusions_go_with_their_device(device: Device) -> None:
    factories.exclusion(device)
    device.erase()
    assert not Exclusion.objects.exists()


def test_the_list_takes_as_many_queries_whatever_its_length(device: Device, call: Callable[..., Any]) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            call("GET", path(device), 200)
        return len(captured)

    factories.exclusion(device)
    call("GET", path(device), 200)
    few = queries()
    for _ in range(10):
        factories.exclusion(device)
    assert queries() == few


# --- Refused

BAD = {
    "nothing": ({}, {"reason"}),
    "no bounds": ({"reason": "Cleaning"}, {"start", "end"}),
    "no end": ({"start": "2026-01-01", "reason": "Cleaning"}, {"end"}),
    "no reason": (PERIOD | {"reason": ""}, {"reason"}),
    "blank reason": (PERIOD | {"reason": " \t"}, {"reason"}),
    "reason of another type": (PERIOD | {"reason": 5}, {"reason"}),
    "long reason": (PERIOD | {"reason": "r" * 501}, {"reason"}),
    "NUL in the reason": (PERIOD | {"reason": "a\0"}, {"reason"}),
    "end before start": (PERIOD | {"end": "2026-11-21T11:00:00Z"}, {"start"}),
    "empty period": (PERIOD | {"end": PERIOD["start"]}, {"start"}),
    "no stamp": (PERIOD | {"start": "yesterday"}, {"start"}),
    "number for a stamp": (PERIOD | {"end": 1e9}, {"end"}),
    "impossible date": (PERIOD | {"start": "2026-02-30"}, {"start"}),
    "unknown field": (PERIOD | {"because": "of"}, {"because"}),
    "field that the portal sets": (PERIOD | {"made_by": "me"}, {"made_by"}),
    "both": (PERIOD | {"reading": READING}, {"reading"}),
    "array": ([], {"body"}),
    "reading of another type": ({"reading": [1], "reason": "Spike"}, {"reading"}),
    "reading without a stamp": (
        {"reading": {"x": 4, "y": 5, "z": 6}, "reason": "Spike"},
        {"reading.timestamp"},
    ),
    "reading without a channel": (
        {"reading": {name: READING[name] for name in ("timestamp", "x", "y")}, "reason": "Spike"},
        {"reading.z"},
    ),
    "reading with more": ({"reading": READING | {"w": 1}, "reason": "Spike"}, {"reading.w"}),
    "text for a value": ({"reading": READING | {"x": "4"}, "reason": "Spike"}, {"reading.x"}),
    "true for a value": ({"reading": READING | {"x": True}, "reason": "Spike"}, {"reading.x"}),
    "huge whole number": ({"reading": READING | {"x": 10**400}, "reason": "Spike"}, None),
    "reading that is not there": ({"reading": READING | {"x": 4.5}, "reason": "Spike"}, {"reading"}),
    "last moment there is": (
        {"reading": READING | {"timestamp": "9999-12-31T23:59:59.999999Z"}, "reason": "Spike"},
        {"reading"},
    ),
}


@pytest.mark.parametrize(("body", "fields"), BAD.values(), ids=BAD)
def test_bad_input_is_named_and_nothing_is_stored(
    device: Device, call: Callable[..., Any], body: Any, fields: set[str] | None
) -> None:
    errors = call("POST", path(device), 400, body)["errors"]
    assert fields is None or {error["field"] for error in errors} == fields
    assert not Exclusion.objects.exists()


def test_an_exclusion_of_another_device_is_not_found(device: Device, call: Callable[..., Any]) -> None:
    other = factories.exclusion(factories.device())
    call("GET", path(device, f"{other.pk}/"), 404)
    call("POST", path(device, f"{other.pk}/lift"), 404)
    call("GET", path(device, f"{10**30}/"), 404)
    other.refresh_from_db()
    assert other.is_in_force


def test_a_reading_equal_in_all_but_its_device_does_not_count(device: Device) -> None:
    with pytest.raises(NoSuchReading):
        exclusions.of_reading(factories.device(), NOON, [1.0, 2.0, 3.0])
    assert exclusions.of_reading(device, NOON, [1.0, 2.0, 3.0]) == Extent(
        NOON, NOON + timedelta(microseconds=1), [1.0, 2.0, 3.0]
    )


# --- Pages


def test_staff_exclude_and_lift_on_a_page(device: Device) -> None:
    client, page = Client(), reverse("devices:exclusion-list", args=[device.uuid])
    client.force_login(factories.colleague(login="grace"))
    typed = {"start": "2026-11-21T13:00", "end": "2026-11-21T14:00", "reason": "Cleaning"}
    assert client.post(page, typed).status_code == 302
    exclusion = Exclusion.objects.get()
    assert (exclusion.start_time, exclusion.made_by) == (NOON, "grace")
    assert "Cleaning" in client.get(page).content.decode()
    lift = reverse("devices:exclusion-lift", args=[device.uuid, exclusion.pk])
    assert client.post(lift).status_code == 302
    assert "Lifted" in client.get(page).content.decode()


def test_a_page_names_what_is_wrong(device: Device) -> None:
    client, page = Client(), reverse("devices:exclusion-list", args=[device.uuid])
    client.force_login(factories.colleague())
    for typed, said in (
        ({"start": "2026-11-21T13:00", "end": "2026-11-21T13:00", "reason": "a"}, "Must be before end."),
        ({"start": "2026-11-21T13:00", "reason": "a"}, "This field is required."),
        ({"start": "nonsense", "end": "2026-11-21T13:00", "reason": "a"}, "Must be an ISO 8601"),
        ({"reading": "{", "reason": "a"}, "Not a reading."),
        ({"reading": '{"x": 1}', "reason": "a"}, "Not a reading of this device."),
        ({"reading": "[" * 100_000, "reason": "a"}, "Not a reading."),
    ):
        answer = client.post(page, typed)
        assert answer.status_code == 200
        assert said in answer.content.decode(), typed
    assert not Exclusion.objects.exists()


def test_an_owner_sees_the_exclusions_and_may_not_make_or_lift_one(device: Device) -> None:
    client, exclusion = Client(), factories.exclusion(device)
    client.force_login(device.owner)
    page = reverse("devices:exclusion-list", args=[device.uuid])
    shown = client.get(page).content.decode()
    assert "Cleaning" in shown
    assert "<button" not in shown.partition("<main")[2]
    assert client.post(page, {"start": "2026-01-01", "end": "2026-01-02", "reason": "a"}).status_code == 403
    lift = reverse("devices:exclusion-lift", args=[device.uuid, exclusion.pk])
    assert client.post(lift).status_code == 403
    client.force_login(factories.stranger())
    assert [client.get(page).status_code, client.post(page).status_code, client.post(lift).status_code] == [
        404
    ] * 3
    exclusion.refresh_from_db()
    assert exclusion.is_in_force
    assert Exclusion.objects.count() == 1


def test_the_admin_lifts_but_does_not_change(device: Device) -> None:
    client, exclusion = Client(), factories.exclusion(device)
    client.force_login(factories.admin(login="ada"))
    page = reverse("admin:devices_exclusion_changelist")
    client.post(page, {"action": "lift", "_selected_action": [exclusion.pk]})
    exclusion.refresh_from_db()
    assert exclusion.lifted_by == "ada"


def test_the_admins_deletion_of_a_device_is_not_held_up(device: Device) -> None:
    factories.exclusion(device)
    client = Client()
    client.force_login(factories.admin())
    page = reverse("admin:devices_device_delete", args=[device.pk])
    assert client.post(page, {"post": "yes"}).status_code == 302
    assert not Device.objects.exists()
