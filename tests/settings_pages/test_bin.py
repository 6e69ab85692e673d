"""Deleted devices: gone for everything but the bin, brought back whole, erased after a week."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from devices import maintenance, statistics, storage
from devices.access import grants
from devices.models import Device, DeviceKey, Erasure
from devices.timeline.periods import Period
from tests.support import factories

pytestmark = pytest.mark.django_db(databases=["default", "activity"])


@pytest.fixture
def device() -> Device:
    device = factories.device(profile=factories.profile("pump", ["load"]), name="Pump", external_id="p-1")
    factories.readings(device, [[1.5], [2.5]])
    return device


def client(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def page(name: str, device: Device) -> str:
    return {
        "delete": f"/portal/devices/{device.uuid}/delete/",
        "back": f"/portal/devices/bin/{device.uuid}/bring-back/",
        "erase": f"/portal/devices/bin/{device.uuid}/erase/",
    }[name]


def delete(device: Device) -> None:
    answer = client(device.owner).post(page("delete", device), {"name": "Pump"})
    assert answer.status_code == 302


def test_the_page_says_how_many_readings_go(device) -> None:
    text = client(device.owner).get(page("delete", device)).content.decode()
    assert "2 readings</strong> go with it" in text.replace(
        '<data class="number" value="2" title="2">2</data>', "2"
    )


@pytest.mark.parametrize("name", ["", "pump", "Fan"])
def test_the_name_must_be_typed(device, name) -> None:
    answer = client(device.owner).post(page("delete", device), {"name": name})
    assert answer.status_code == 200
    assert Device.objects.filter(pk=device.pk).exists()


def test_a_deleted_device_is_gone_for_everything_but_the_bin(device) -> None:
    owner = client(device.owner)
    _, key = DeviceKey.issue(device=device)
    delete(device)
    for path in (f"/devices/{device.uuid}/", f"/portal/devices/{device.uuid}/", page("delete", device)):
        assert owner.get(path).status_code == 404
    assert "Pump" not in owner.get("/portal/devices/").content.decode()
    assert "Pump" in owner.get("/portal/devices/bin/").content.decode()
    question = (f"Device {key}".encode(), device.uuid)
    assert grants.find_grant(question) is None
    answer = Client().post(
        f"/devices/{device.uuid}/stats/",
        {"load": 1},
        content_type="application/json",
        headers={"Authorization": f"Device {key}"},
    )
    assert answer.status_code in (401, 404)
    assert storage.current().counts([device.pk], Period()) == {device.pk: 2}


def test_it_is_brought_back_with_readings_and_keys(device) -> None:
    _, key = DeviceKey.issue(device=device)
    delete(device)
    assert client(device.owner).post(page("back", device)).status_code == 302
    assert statistics.of_device(Device.objects.get(pk=device.pk), Period()).readings == 2
    assert grants.find_grant((f"Device {key}".encode(), device.uuid)) is not None


def test_it_stays_in_the_bin_while_another_has_its_external_id(device) -> None:
    delete(device)
    factories.device(device.owner, name="Other", external_id="p-1")
    text = client(device.owner).post(page("back", device), follow=True).content.decode()
    assert "Another device has the external id" in text
    assert not Device.objects.filter(pk=device.pk).exists()


def test_after_a_week_it_is_erased_and_its_readings_counted_down(device) -> None:
    now = timezone.now()
    delete(device)
    assert maintenance.empty_bin(now + timedelta(days=6, hours=23)) == 0
    assert maintenance.empty_bin(now + timedelta(days=7, minutes=1)) == 1
    assert not Device.everything.filter(pk=device.pk).exists()
    text = client(device.owner).get("/portal/devices/bin/").content.decode()
    assert "Being erased" in text
    maintenance.erase_readings(now)
    erasure = Erasure.objects.get(pk=device.pk)
    assert (erasure.name, erasure.readings, erasure.erased) == ("Pump", 2, 2)
    assert storage.current().counts([device.pk], Period())[device.pk] == 0


def test_it_is_erased_at_once_if_wished(device) -> None:
    delete(device)
    assert client(device.owner).post(page("erase", device)).status_code == 302
    assert not Device.everything.filter(pk=device.pk).exists()


def test_strangers_see_and_touch_nothing(device) -> None:
    stranger = client(factories.owner())
    assert stranger.post(page("delete", device), {"name": "Pump"}).status_code == 404
    delete(device)
    assert "Pump" not in stranger.get("/portal/devices/bin/").content.decode()
    for name in ("back", "erase"):
        assert stranger.post(page(name, device)).status_code == 404
    assert Device.everything.filter(pk=device.pk).exclude(binned_at=None).exists()


def test_an_owner_with_a_device_in_the_bin_is_purged_with_its_readings(device) -> None:
    delete(device)
    device.owner.delete_or_deactivate(purge=True)
    assert not Device.everything.filter(pk=device.pk).exists()
    assert Erasure.objects.get(pk=device.pk).owner is None


@pytest.mark.parametrize(
    ("name", "typed"),
    [("a\nb", "ab"), ("a\nb", "a b"), ("a\u2028b", "a b"), ("a  b", "a b"), ("a\x07b", "ab")],
)
def test_a_name_from_before_can_be_typed_as_it_is_shown(device, name, typed) -> None:
    Device.objects.filter(pk=device.pk).update(name=name)
    assert client(device.owner).post(page("delete", device), {"name": "a c"}).status_code == 200
    assert client(device.owner).post(page("delete", device), {"name": typed}).status_code == 302
