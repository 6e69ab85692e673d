"""The API of profiles, and its rules, which Django admin shares."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from devices.models import Device, DeviceProfile
from tests.support import factories
from tests.support.portal import Portal
from tests.users.admin_pages import client as admin_client
from tests.users.admin_pages import url

pytestmark = pytest.mark.django_db(databases=["default", "activity"])
TEMPERATURE = {
    "name": "temperature",
    "unit": "°C",
    "kind": "gauge",
    "minimum": -40.0,
    "maximum": 150.0,
    "decimals": 2,
}
ENERGY = {
    "name": "energy",
    "unit": "kWh",
    "kind": "counter",
    "minimum": 0.0,
    "maximum": None,
    "decimals": None,
}
PUMP = {
    "name": "pump",
    "description": "Of a pump.",
    "allows_future": False,
    "expected_interval_seconds": 60.0,
    "channels": [TEMPERATURE, ENERGY],
}
PLAIN = {"unit": "", "kind": "gauge", "minimum": None, "maximum": None, "decimals": None}


class Caller:
    """Requests of one person, as JSON."""

    def __init__(self, user: Any) -> None:
        self.headers = {"Authorization": f"Token {factories.token(user)[1]}"}

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        data = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        return getattr(Client(), method)(path, headers=self.headers, **data)

    def refused(self, status: int, *request: Any) -> dict[str, Any]:
        response = self(*request)
        assert response.status_code == status, response.content
        assert response["Content-Type"] == "application/problem+json"
        return response.json()

    def fields(self, *request: Any) -> list[str]:
        """Places of the faults of a request that is refused."""
        return [error["field"] for error in self.refused(400, *request)["errors"]]


@pytest.fixture
def staff() -> Caller:
    factories.profile(), factories.profile("scalar", ["value"])
    return Caller(factories.colleague())


def channels_of(name: str) -> list[tuple[int, str]]:
    return list(DeviceProfile.objects.get(name=name).channels.values_list("position", "name"))


def test_a_profile_is_created_read_listed_and_deleted(staff):
    response = staff("post", "/profiles/", PUMP)
    assert response.status_code == 201
    pump = PUMP | {"built_in": False, "in_use": False}
    assert response.json() == pump
    assert staff("get", "/profiles/pump/").json() == staff("get", "/profiles/pump").json() == pump
    listed = {profile["name"]: profile for profile in staff("get", "/profiles/").json()}
    assert listed["pump"] == pump
    assert [channel["name"] for channel in listed["xyz"]["channels"]] == ["x", "y", "z"]
    assert listed["xyz"]["built_in"]
    assert channels_of("pump") == [(0, "temperature"), (1, "energy")]
    assert staff("delete", "/profiles/pump/").status_code == 204
    assert staff.refused(404, "get", "/profiles/pump/")
    assert staff.refused(404, "delete", "/profiles/pump/")


def test_what_is_left_out_has_a_default(staff):
    made = staff("post", "/profiles/", {"name": "bare", "channels": [{"name": "level"}]}).json()
    assert made["channels"] == [{"name": "level"} | PLAIN]
    defaults = ("description", "allows_future", "expected_interval_seconds")
    assert [made[name] for name in defaults] == ["", False, None]


def test_a_device_of_it_takes_readings_of_its_channels(staff):
    staff("post", "/profiles/", PUMP)
    owner = factories.owner()
    device = staff("post", "/devices/", {"user_id": owner.pk, "profile": "pump"}).json()
    assert device["channels"] == PUMP["channels"]
    path = f"/devices/{device['id']}/stats/"
    assert staff("post", path, {"temperature": 20, "energy": 1}).status_code == 201
    assert staff.fields("post", path, {"temperature": 200, "energy": 1}) == ["temperature"]
    assert staff("get", "/profiles/pump/").json()["in_use"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "fields"),
        [
            ({"name": ""}, ["name"]),
            ({"name": "two words"}, ["name"]),
            ({"name": "a/b"}, ["name"]),
            ({"name": 7}, ["name"]),
            ({"name": "p" * 51}, ["name"]),
            ({"name": None}, ["name"]),
            ({"description": "d" * 201}, ["description"]),
            ({"allows_future": "yes"}, ["allows_future"]),
            ({"expected_interval_seconds": 0}, ["expected_interval_seconds"]),
            ({"expected_interval_seconds": "60"}, ["expected_interval_seconds"]),
            ({"expected_interval_seconds": True}, ["expected_interval_seconds"]),
            ({"expected_interval_seconds": 10**400}, ["expected_interval_seconds"]),
            ({"colour": "red"}, ["colour"]),
            ({"built_in": True}, ["built_in"]),
            ({"channels": []}, ["channels"]),
            ({"channels": {}}, ["channels"]),
            ({"channels": None}, ["channels"]),
            ({"channels": "x"}, ["channels"]),
            ({"channels": [ENERGY, 7]}, ["channels.1.body"]),
            ({"channels": [{}]}, ["channels.0.name"]),
            ({"channels": [ENERGY, TEMPERATURE, ENERGY]}, ["channels.2.name"]),
            ({"channels": [{"name": "timestamp"}]}, ["channels.0.name"]),
            ({"channels": [{"name": "1st"}]}, ["channels.0.name"]),
            ({"channels": [{"name": "x y"}]}, ["channels.0.name"]),
            ({"channels": [{"name": "x" * 51}]}, ["channels.0.name"]),
            ({"channels": [{"name": "x", "unit": "u" * 21}]}, ["channels.0.unit"]),
            ({"channels": [{"name": "x", "unit": None}]}, ["channels.0.unit"]),
            ({"channels": [{"name": "x", "kind": "dial"}]}, ["channels.0.kind"]),
            ({"channels": [{"name": "x", "minimum": "1"}]}, ["channels.0.minimum"]),
            ({"channels": [{"name": "x", "minimum": False}]}, ["channels.0.minimum"]),
            ({"channels": [{"name": "x", "maximum": -(10**400)}]}, ["channels.0.maximum"]),
            ({"channels": [ENERGY, {"name": "x", "minimum": 2, "maximum": 1}]}, ["channels.1.minimum"]),
            *(
                ({"channels": [{"name": "x", "decimals": decimals}]}, ["channels.0.decimals"])
                for decimals in (-1, 16, 1.5, "2", True)
            ),
            ({"channels": [{"name": "x", "position": 4}]}, ["channels.0.position"]),
            ({"channels": [{"name": f"c{i}"} for i in range(1001)]}, ["channels"]),
        ],
        ids=lambda value: json.dumps(value)[:60],
    )
    def test_it_names_the_field_and_the_index(self, staff, change, fields):
        assert staff.fields("post", "/profiles/", PUMP | change) == fields
        staff("post", "/profiles/", PUMP)
        assert staff.fields("patch", "/profiles/pump/", change) == fields
        assert staff("get", "/profiles/pump/").json() == PUMP | {"built_in": False, "in_use": False}

    @pytest.mark.parametrize("body", [[], "x", 7])
    def test_no_object(self, staff, body):
        assert staff.fields("post", "/profiles/", body) == ["body"]
        assert staff.fields("patch", "/profiles/xyz/", body) == ["body"]

    def test_missing_fields(self, staff):
        assert staff.fields("post", "/profiles/", {}) == ["name", "channels"]

    def test_a_name_that_is_taken(self, staff):
        staff("post", "/profiles/", PUMP)
        assert staff.fields("post", "/profiles/", PUMP) == ["name"]
        assert staff.fields("patch", "/profiles/pump/", {"name": "xyz"}) == ["name"]

    def test_unknown_query(self, staff):
        assert staff.fields("get", "/profiles/?colour=red") == ["colour"]
        assert staff.fields("get", "/profiles/?cursor=x") == ["cursor"]


class TestChanges:
    def test_an_unused_profile_may_change_everything(self, staff):
        staff("post", "/profiles/", PUMP)
        changed = {"name": "fan", "description": "", "channels": [{"name": "speed"}, ENERGY]}
        response = staff("patch", "/profiles/pump/", changed)
        assert response.status_code == 200
        assert response.json()["channels"] == [{"name": "speed"} | PLAIN, ENERGY]
        assert channels_of("fan") == [(0, "speed"), (1, "energy")]
        assert staff.refused(404, "get", "/profiles/pump/")

    def test_a_field_alone_leaves_the_others(self, staff):
        staff("post", "/profiles/", PUMP)
        assert staff("patch", "/profiles/pump/", {"allows_future": True}).status_code == 200
        expected = PUMP | {"allows_future": True, "built_in": False, "in_use": False}
        assert staff("get", "/profiles/pump/").json() == expected

    @pytest.mark.parametrize(
        "channels",
        [
            [TEMPERATURE],
            [ENERGY, TEMPERATURE],
            [TEMPERATURE, ENERGY, {"name": "speed"}],
            [TEMPERATURE, ENERGY | {"name": "Energy"}],
        ],
    )
    def test_a_profile_in_use_keeps_names_and_order_of_its_channels(self, staff, channels):
        staff("post", "/profiles/", PUMP)
        factories.device(profile=DeviceProfile.objects.get(name="pump"))
        before = staff("get", "/profiles/pump/").json()
        refusal = staff.refused(409, "patch", "/profiles/pump/", {"description": "New", "channels": channels})
        assert refusal["detail"].startswith("Devices use the profile pump.")
        assert staff("get", "/profiles/pump/").json() == before

    def test_a_profile_in_use_may_change_units_kinds_ranges_decimals_and_name(self, staff):
        staff("post", "/profiles/", PUMP)
        device = factories.device(profile=DeviceProfile.objects.get(name="pump"))
        path = f"/devices/{device.uuid}/stats/"
        assert staff("post", path, {"temperature": 20, "energy": 1}).status_code == 201
        channels = [
            TEMPERATURE | {"unit": "K", "maximum": 10.0, "decimals": 15},
            ENERGY | {"kind": "gauge", "decimals": 0},
        ]
        response = staff("patch", "/profiles/pump/", {"name": "motor", "channels": channels})
        assert response.status_code == 200
        assert response.json()["channels"] == channels
        assert staff.fields("post", path, {"temperature": 20, "energy": 1}) == ["temperature"]

    @pytest.mark.parametrize("name", ["xyz", "scalar"])
    def test_a_built_in_profile_stays(self, staff, name):
        path = f"/profiles/{name}/"
        assert not Device.objects.filter(profile__name=name).exists()
        for request in (
            ("delete", path),
            ("patch", path, {"name": "mine"}),
            ("patch", path, {"channels": [ENERGY]}),
        ):
            assert "is built in" in staff.refused(409, *request)["detail"]
        assert staff("patch", path, {"description": "Mine"}).status_code == 200

    def test_a_profile_in_use_cannot_be_deleted(self, staff):
        staff("post", "/profiles/", PUMP)
        device = factories.device(profile=DeviceProfile.objects.get(name="pump"))
        staff.refused(409, "delete", "/profiles/pump/")
        device.erase()
        assert staff("delete", "/profiles/pump/").status_code == 204


class TestAdmin:
    def test_built_in_profiles_keep_name_and_channels(self, staff):
        page = admin_client(factories.colleague())
        scalar = DeviceProfile.objects.get(name="scalar")
        [value] = scalar.channels.all()
        fields = {"name": "mine", "channels-TOTAL_FORMS": 1, "channels-INITIAL_FORMS": 1}
        fields |= {"channels-0-id": value.pk, "channels-0-kind": "gauge", "channels-0-name": "other"}
        page.post(url(DeviceProfile, "change", scalar.pk), fields)
        scalar.refresh_from_db()
        assert scalar.name == "scalar"
        assert channels_of("scalar") == [(0, "value")]
        assert page.post(url(DeviceProfile, "delete", scalar.pk), {"post": "yes"}).status_code == 403
        assert DeviceProfile.objects.filter(pk=scalar.pk).exists()


@pytest.mark.parametrize("person", ["owner", "stranger"])
def test_owners_read_and_do_not_write(staff, person):
    staff("post", "/profiles/", PUMP)
    caller = Caller(getattr(factories, person)())
    assert caller("get", "/profiles/pump/").status_code == 200
    for request in (
        ("post", "/profiles/", PUMP | {"name": "mine"}),
        ("patch", "/profiles/pump/", {"description": "Mine"}),
        ("delete", "/profiles/pump/"),
    ):
        caller.refused(403, *request)


def test_queries_do_not_grow_with_profiles(staff):
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert staff("get", "/profiles/").status_code == 200
        return len(captured)

    queries()  # the first one also notes the token's use
    before = queries()
    for number in range(20):
        staff("post", "/profiles/", PUMP | {"name": f"pump-{number}"})
    assert queries() == before


def test_pages_are_linked(staff):
    for number in range(3):
        staff("post", "/profiles/", PUMP | {"name": f"pump-{number}"})
    response = staff("get", "/profiles/?limit=2")
    assert len(response.json()) == 2
    assert 'rel="next"' in response["Link"]
    assert int(response["X-Total-Count"]) == DeviceProfile.objects.count()


def test_a_device_registered_meanwhile_keeps_the_channels(portal: Portal) -> None:
    """Whoever comes first: a device never has other channels than it was registered with."""
    owner = portal.new_user()
    for number in range(10):
        name = f"race-{number}"
        portal.made("/profiles/", portal.admin_token, {"name": name, "channels": [{"name": "x"}]})
        with ThreadPoolExecutor(2) as both:
            register = both.submit(
                portal.request,
                "POST",
                "/devices/",
                token=owner.token,
                json={"user_id": owner.id, "profile": name},
            )
            change = both.submit(
                portal.request,
                "PATCH",
                f"/profiles/{name}/",
                token=portal.admin_token,
                json={"channels": [{"name": "y"}]},
            )
        assert register.result().status_code == 201
        assert change.result().status_code in (200, 409)
        expected = "y" if change.result().status_code == 200 else "x"
        device = register.result().json()["id"]
        channels = portal.get(f"/devices/{device}/")["channels"]
        assert [channel["name"] for channel in channels] == [expected]


def test_a_name_taken_at_the_same_time_is_a_bad_name(portal: Portal) -> None:
    body = {"name": "twin", "channels": [{"name": "x"}]}
    with ThreadPoolExecutor(8) as all_at_once:
        statuses = [
            all_at_once.submit(portal.request, "POST", "/profiles/", token=portal.admin_token, json=body)
            for _ in range(8)
        ]
    assert sorted(status.result().status_code for status in statuses) == [201, *[400] * 7]
