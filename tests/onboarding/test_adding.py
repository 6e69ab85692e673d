"""Adding devices and profiles, and connecting: who may, what is stored, and where a key never is."""

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from devices.ingestion import refusals
from devices.ingestion.refusals import WaitingRefusal
from devices.models import Device, DeviceKey, DeviceProfile, Exclusion
from devices.onboarding.forms import ChannelRow, rearrange
from tests.support import factories
from tests.users.admin_pages import CREDENTIAL, client, shown_once
from users.models import User

pytestmark = pytest.mark.django_db(databases=["default", "activity"])

NEW = "/portal/devices/new/"
NEW_PROFILE = "/portal/profiles/new/"


@pytest.fixture(autouse=True)
def xyz() -> DeviceProfile:
    return factories.profile()


def add(user: User, **fields: Any) -> HttpResponse:
    form = {"uuid": uuid4(), "name": "Pump 3", "profile": "xyz", "time_zone": "Europe/Berlin", **fields}
    return client(user).post(NEW, form)


def key_of(response: HttpResponse) -> str:
    """The only key of an answer."""
    [key] = shown_once(response)
    return key


def page_of(name: str, device: Device) -> str:
    return reverse(f"devices:{name}", args=[device.uuid])


class TestAdding:
    def test_owner_adds_a_device_of_their_own(self) -> None:
        ada = factories.owner()
        response = add(ada)
        device = Device.objects.get()
        assert DeviceKey.find(key_of(response), timezone.now()).device == device
        assert (device.owner, device.name, device.time_zone) == (ada, "Pump 3", "Europe/Berlin")

    def test_owner_adds_none_for_another(self) -> None:
        ada, other = factories.owner(), factories.stranger()
        add(ada, owner=other.login)
        assert Device.objects.get().owner == ada

    def test_staff_name_the_owner_by_login_in_any_case(self) -> None:
        ada = factories.owner(login="ada")
        add(factories.colleague(), owner="ADA")
        assert Device.objects.get().owner == ada

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("owner", "nobody"),
            ("owner", ""),
            ("profile", "nothing"),
            ("profile", ""),
            ("time_zone", "Mars/Olympus"),
            ("name", ""),
            ("name", "x" * 201),
            ("uuid", "x"),
        ],
    )
    def test_what_is_wrong_is_named_and_nothing_added(self, field: str, value: str) -> None:
        staff = factories.colleague()
        response = add(staff, **{"owner": staff.login, field: value})
        assert (response.status_code, Device.objects.count()) == (200, 0)
        assert 'class="error"' in response.content.decode()

    def test_a_form_that_is_sent_twice_adds_one_device(self) -> None:
        ada, uuid = factories.owner(), uuid4()
        add(ada, uuid=uuid)
        again = add(ada, uuid=uuid)
        assert again["Location"] == reverse("devices:connect", args=[uuid])
        assert (Device.objects.count(), DeviceKey.objects.count()) == (1, 1)

    def test_a_form_with_the_id_of_a_strangers_device_shows_nothing_of_it(self) -> None:
        device = factories.device()
        response = client(factories.stranger()).post(
            NEW,
            {"uuid": device.uuid, "name": "Mine", "profile": "xyz", "time_zone": "UTC"},
            follow=True,
        )
        assert response.status_code == 404
        device.refresh_from_db()
        assert device.name == "Pump"

    def test_the_key_is_nowhere_else(self) -> None:
        ada = factories.owner()
        seen = client(ada)
        form = {"uuid": uuid4(), "name": "Pump", "profile": "xyz", "time_zone": "UTC"}
        key = key_of(seen.post(NEW, form))
        device = Device.objects.get()
        assert key not in str(dict(seen.session.items()))
        for page in (page_of("connect", device), page_of("connection", device), "/portal/devices/"):
            assert key not in seen.get(page).content.decode()

    def test_a_chosen_profile_is_checked_and_channels_are_shown(self) -> None:
        factories.profile("pump", ["temperature"], unit="°C")
        page = client(factories.owner()).get(f"{NEW}?profile=pump").content.decode()
        assert re.search(r'value="pump" required checked', page)
        assert not re.search(r'value="xyz" required checked', page)
        assert re.search(r'temperature <span class="unit">°C', page)

    def test_nobody_adds_without_a_login(self) -> None:
        for page in (NEW, NEW_PROFILE, "/portal/devices/owners/"):
            assert Client().get(page).status_code == 302

    def test_queries_do_not_grow_with_the_profiles(self) -> None:
        seen = client(factories.colleague())

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert seen.get(NEW).status_code == 200
            return len(captured)

        few = queries()
        for number in range(20):
            factories.profile(f"profile-{number}", ["a", "b"])
        assert queries() == few


class TestOwnerSearch:
    def test_staff_get_ten_at_most(self) -> None:
        for number in range(12):
            factories.owner(login=f"mary-{number:02}")
        answer = client(factories.colleague()).get("/portal/devices/owners/", {"search": "MARY"}).json()
        assert [owner["login"] for owner in answer["owners"]] == [f"mary-{n:02}" for n in range(10)]
        assert answer["more"] is True

    @pytest.mark.parametrize("text", ["nobody", "\0", "%", "x" * 10_000])
    def test_nobody_matches(self, text: str) -> None:
        answer = client(factories.colleague()).get("/portal/devices/owners/", {"search": text or "-"})
        assert answer.status_code == 200
        assert answer.json()["more"] is False

    def test_the_inactive_are_not_offered(self) -> None:
        factories.owner(login="gone", is_active=False)
        seen = client(factories.colleague())
        assert seen.get("/portal/devices/owners/", {"search": "gone"}).json()["owners"] == []

    def test_owners_may_not_search(self) -> None:
        assert client(factories.owner()).get("/portal/devices/owners/").status_code == 403


class TestConnecting:
    def test_strangers_see_nothing(self) -> None:
        device = factories.device()
        seen = client(factories.stranger())
        for name in ("connect", "connection"):
            assert seen.get(page_of(name, device)).status_code == 404
        for name in ("connect", "trial"):
            assert seen.post(page_of(name, device), {"overlap_seconds": 0}).status_code == 404
        assert not DeviceKey.objects.exists()

    @pytest.mark.parametrize("overlap", [0, 86400])
    def test_a_new_key_leaves_the_old_ones_as_long_as_is_said(self, overlap: int) -> None:
        device, now = factories.device(), timezone.now()
        _key, old = DeviceKey.issue(device=device)
        response = client(device.owner).post(page_of("connect", device), {"overlap_seconds": overlap})
        assert DeviceKey.find(key_of(response), timezone.now()).device == device
        assert bool(DeviceKey.find(old, now + timedelta(hours=1))) == bool(overlap)

    def test_an_overlap_of_anothers_making_is_refused(self) -> None:
        device = factories.device()
        response = client(device.owner).post(page_of("connect", device), {"overlap_seconds": "-1"})
        assert not CREDENTIAL.search(response.content.decode())
        assert not DeviceKey.objects.exists()

    def test_page_without_a_key_has_a_placeholder(self) -> None:
        device = factories.device()
        page = client(device.owner).get(page_of("connect", device)).content.decode()
        assert page.count("Device YOUR-DEVICE-KEY") == 6
        assert "Waiting for the first reading" in page

    def test_a_refusal_is_shown_until_a_later_reading(self) -> None:
        device, now = factories.device(), timezone.now()
        seen, page = client(device.owner), page_of("connection", device)
        refusals.write({device.uuid: WaitingRefusal(now, 401, "<b>unknown</b>")})
        text = seen.get(page).content.decode()
        assert "&lt;b&gt;unknown&lt;/b&gt;" in text
        assert "The key is wrong" in text
        factories.readings(device, [(1.5, 2, 3)], start=now - timedelta(hours=3))
        text = seen.get(page).content.decode()
        assert ("Connected" in text, "A later post was refused" in text) == (True, True)
        assert "its clock or its time zone is wrong" in text
        factories.readings(device, [(1.5, 2, 3)], start=now)
        text = seen.get(page).content.decode()
        assert ("Connected" in text, "refused" in text) == (True, False)

    def test_readings_left_out_of_a_batch_are_no_refused_post(self) -> None:
        device, now = factories.device(), timezone.now()
        refusals.write({device.uuid: WaitingRefusal(now, 201, "item 1: x: Is missing.")})
        text = client(device.owner).get(page_of("connection", device)).content.decode()
        assert "Readings of the last batch were refused" in text
        assert "The last post was refused" not in text

    def test_queries_do_not_grow_with_readings_and_keys(self) -> None:
        device = factories.device()
        seen = client(device.owner)

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert seen.get(page_of("connect", device)).status_code == 200
            return len(captured)

        factories.readings(device, [(1.5, 2, 3)])
        few = queries()
        factories.readings(device, [(1.5, 2, 3)] * 20)
        for _ in range(5):
            DeviceKey.issue(device=device)
        assert queries() == few


class TestTrial:
    def test_a_test_reading_is_left_out_of_statistics_and_is_not_the_devices_own(self) -> None:
        device = factories.device()
        seen = client(device.owner)
        page = seen.post(page_of("trial", device), {"exclude": "on"}, follow=True).content.decode()
        [reading] = device.newest_readings(5)
        assert list(reading.values) == [1.5, 1.5, 1.5]
        assert Exclusion.objects.get().covers(reading)
        assert "A test reading is stored" in page
        assert "The device’s first is still to come" in page

    def test_it_counts_if_asked_to(self) -> None:
        device = factories.device()
        page = client(device.owner).post(page_of("trial", device), follow=True).content.decode()
        assert not Exclusion.objects.exists()
        assert "Connected" in page

    def test_it_keeps_to_the_ranges(self) -> None:
        profile = factories.profile("bounded", ["a", "b", "c"])
        for name, low, high in (("a", 10, None), ("b", None, -10), ("c", -1.7e308, 1.7e308)):
            profile.channels.filter(name=name).update(minimum=low, maximum=high)
        device = factories.device(profile=profile)
        client(device.owner).post(page_of("trial", device))
        assert list(device.newest_readings(1)[0].values) == [10, -10, 0]

    def test_an_inactive_device_gets_none(self) -> None:
        device = factories.device(is_active=False)
        page = client(device.owner).post(page_of("trial", device), follow=True).content.decode()
        assert "This device is inactive" in page
        assert device.newest_readings(1) == []


def rows(*channels: tuple[str, ...]) -> dict[str, list[str]]:
    names = ("name", "unit", "kind", "minimum", "maximum", "decimals")
    return {f"channel_{name}": [row[i] for row in channels if i < len(row)] for i, name in enumerate(names)}


TEMPERATURE = ("temperature", "°C", "gauge", "-40", "150.5", "2")
ENERGY = ("energy", "kWh", "counter", "0", "", "")
EMPTY = ("", "", "gauge", "", "", "")


class TestProfiles:
    def test_staff_add_a_profile_and_go_on_with_it(self) -> None:
        fields = {"name": "pump", "expected_interval_seconds": "60"} | rows(TEMPERATURE, EMPTY, ENERGY)
        response = client(factories.colleague()).post(NEW_PROFILE, fields)
        assert response["Location"] == f"{NEW}?profile=pump"
        profile = DeviceProfile.objects.get(name="pump")
        first, second = profile.channels.all()
        assert (first.name, first.unit, first.kind) == ("temperature", "°C", "gauge")
        assert (first.minimum, first.maximum) == (-40.0, 150.5)
        assert (second.name, second.kind, second.minimum, second.maximum) == ("energy", "counter", 0.0, None)
        assert (first.decimals, second.decimals) == (2, None)
        assert profile.expected_interval_seconds == 60

    def test_owners_may_not(self) -> None:
        seen = client(factories.owner())
        assert seen.get(NEW_PROFILE).status_code == 403
        assert seen.post(NEW_PROFILE, {"name": "pump"} | rows(ENERGY)).status_code == 403
        assert "New profile" not in seen.get(NEW).content.decode()

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({"name": "xyz"}, "There is a profile of this name."),
            ({"name": "a b"}, "Enter a valid"),
            ({"expected_interval_seconds": "0"}, "greater than or equal to"),
            (rows(EMPTY, EMPTY), "Name at least one channel."),
            (rows(TEMPERATURE, TEMPERATURE), "Another channel has this name."),
            (rows(("1st", "", "gauge", "", "")), "Must be a letter"),
            (rows(("timestamp", "", "gauge", "", "")), "is reserved"),
            (rows(("a", "", "gauge", "2", "1")), "Must not exceed the maximum."),
            (rows(("a", "", "gauge", "nan", "")), "A valid number is required."),
            (rows(("a", "", "gauge", "x", "")), "A valid number is required."),
            (rows(("a", "", "dial", "", "")), "is not a valid choice"),
            (
                rows(("a", "", "gauge", "", "", "16")),
                "Decimals: Ensure this value is less than or equal to 15.",
            ),
            (rows(("a", "", "gauge", "", "", "0.5")), "A valid integer is required."),
            (rows(("", "m", "gauge", "", "")), "May not be blank"),
        ],
    )
    def test_faults_are_named_and_nothing_is_added(self, fields: dict, error: str) -> None:
        before = DeviceProfile.objects.count()
        form = {"name": "pump"} | rows(ENERGY) | fields
        response = client(factories.colleague()).post(NEW_PROFILE, form)
        assert response.status_code == 200
        assert error.lower() in response.content.decode().lower()
        assert DeviceProfile.objects.count() == before

    def test_buttons_move_rows_without_saving(self) -> None:
        form = {"name": "pump", "action": "up-1"} | rows(TEMPERATURE, ENERGY)
        page = client(factories.colleague()).post(NEW_PROFILE, form).content.decode()
        names = re.findall(r'name="channel_name" value="(\w*)"', page)
        assert names == ["energy", "temperature", ""]  # the last is that of the template of a new row
        assert 'value="pump"' in page
        assert not DeviceProfile.objects.filter(name="pump").exists()


@pytest.mark.parametrize(
    ("action", "order"),
    [
        ("up-2", "acb"),
        ("up-0", "abc"),
        ("down-0", "bac"),
        ("down-2", "abc"),
        ("remove-1", "ac"),
        ("remove-9", "abc"),
        ("sideways-1", "abc"),
        ("up-x", "abc"),
        ("up--1", "abc"),
        ("up-99999999999", "abc"),
    ],
)
def test_rows_are_rearranged(action: str, order: str) -> None:
    found = rearrange([ChannelRow(name) for name in "abc"], action)
    assert "".join(row.name for row in found) == order


def test_the_last_row_is_emptied_instead_of_removed() -> None:
    assert rearrange([ChannelRow("a")], "remove-0") == [ChannelRow()]


def test_a_row_is_added() -> None:
    assert rearrange([ChannelRow("a")], "add") == [ChannelRow("a"), ChannelRow()]
