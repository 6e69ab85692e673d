"""Two people who change one device at the same time: nobody undoes what the other did."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client

from devices.models import Device
from devices.settings_pages.forms import DeviceSettingsForm
from tests.support import factories

ROUNDS = 8
FORM = {"name": "Pump", "external_id": "", "time_zone": "UTC", "expected_interval_seconds": ""}


def client(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def at_once(*actions: Callable[[], object]) -> None:
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> None:
        start.wait()
        action()
        connection.close()

    threads = [threading.Thread(target=run, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.django_db(transaction=True, databases=["default", "activity"])
def test_settings_and_deletion() -> None:
    owner = factories.owner()
    saver, deleter = client(owner), client(owner)
    for _ in range(ROUNDS):
        device = factories.device(owner, name="Pump")
        pages = f"/portal/devices/{device.uuid}/"
        at_once(
            lambda pages=pages: saver.post(f"{pages}settings/", FORM | {"is_active": "on"}),
            lambda pages=pages: deleter.post(f"{pages}delete/", {"name": "Pump"}),
        )
        assert Device.everything.get(pk=device.pk).binned_at is not None


@pytest.mark.django_db(transaction=True, databases=["default", "activity"])
def test_bringing_back_and_erasing() -> None:
    owner = factories.owner()
    bringer, eraser = client(owner), client(owner)
    for _ in range(ROUNDS):
        device = factories.device(owner, name="Pump")
        bringer.post(f"/portal/devices/{device.uuid}/delete/", {"name": "Pump"})
        found = {}
        bin_of = f"/portal/devices/bin/{device.uuid}/"
        at_once(
            lambda found=found, url=bin_of: found.update(back=bringer.post(f"{url}bring-back/").status_code),
            lambda found=found, url=bin_of: found.update(erase=eraser.post(f"{url}erase/").status_code),
        )
        assert sorted(found.values()) == [302, 404]
        assert Device.objects.filter(pk=device.pk).exists() == (found["back"] == 302)


@pytest.mark.django_db
def test_only_what_was_changed_is_saved(monkeypatch) -> None:
    """Also against those who take no lock, such as an update of many devices."""
    device, new = factories.device(name="Pump"), factories.owner()
    clean = DeviceSettingsForm.clean

    def clean_late(self):
        Device.objects.filter(pk=device.pk).update(owner=new, is_active=False)
        return clean(self)

    monkeypatch.setattr(DeviceSettingsForm, "clean", clean_late)
    owner = client(device.owner)
    owner.post(f"/portal/devices/{device.uuid}/settings/", FORM | {"name": "Fan", "is_active": "on"})
    device.refresh_from_db()
    assert (device.name, device.owner, device.is_active) == ("Fan", new, False)
