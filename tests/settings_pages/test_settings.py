"""The settings of a device on its page."""

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from devices.models import Device, DeviceKey
from tests.support import factories

pytestmark = pytest.mark.django_db(databases=["default", "activity"])


def client(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def fields(device: Device, **changes: object) -> dict:
    known = {"name": "Pump", "external_id": "", "time_zone": "Asia/Tokyo", "is_active": "on"}
    return known | {"expected_interval_seconds": "60"} | changes


def path(device: Device, rest: str = "settings/") -> str:
    return f"/portal/devices/{device.uuid}/{rest}"


def test_an_owner_changes_own_settings() -> None:
    device = factories.device(external_id="p-1")
    answer = client(device.owner).post(path(device), fields(device, name="Fan"))
    assert answer.status_code == 302
    device.refresh_from_db()
    assert (device.name, device.external_id, device.time_zone) == ("Fan", None, "Asia/Tokyo")
    assert (device.expected_interval_seconds, device.is_active) == (60.0, True)


def test_an_owner_cannot_give_it_away_and_staff_can() -> None:
    device, other = factories.device(), factories.owner()
    before = device.owner
    client(before).post(path(device), fields(device, owner=other.login))
    device.refresh_from_db()
    assert device.owner == before
    client(factories.colleague()).post(path(device), fields(device, owner=other.login))
    device.refresh_from_db()
    assert device.owner == other


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "This field is required."),
        ({"time_zone": "Mars/Base"}, "time zone"),
        ({"expected_interval_seconds": "-1"}, "interval"),
        ({"owner": "nobody-of-that-name"}, "There is no user with this login."),
        ({"external_id": "taken"}, "The owner has a device with this external id."),
    ],
)
def test_faults_are_told_by_field_and_nothing_changes(changes, message) -> None:
    device = factories.device(name="Before")
    factories.device(device.owner, external_id="taken")
    sent = (
        fields(device, owner=device.owner.login, **changes)
        if "owner" not in changes
        else fields(device, **changes)
    )
    answer = client(factories.colleague()).post(path(device), sent)
    assert answer.status_code == 200
    assert message in answer.content.decode()
    device.refresh_from_db()
    assert device.name == "Before"


def test_a_key_is_revoked() -> None:
    device = factories.device()
    key, _ = DeviceKey.issue(device=device)
    assert key.prefix in client(device.owner).get(path(device)).content.decode()
    assert client(device.owner).post(path(device, f"keys/{key.prefix}/revoke/")).status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_strangers_get_404() -> None:
    device = factories.device()
    key, _ = DeviceKey.issue(device=device)
    stranger = client(factories.owner())
    assert stranger.get(path(device)).status_code == 404
    assert stranger.post(path(device), fields(device)).status_code == 404
    assert stranger.post(path(device, f"keys/{key.prefix}/revoke/")).status_code == 404
    key.refresh_from_db()
    assert key.revoked_at is None


@pytest.mark.parametrize("name", ["a\nb", "a\u2028b", "a\tb", "a\x7fb"])
def test_a_name_has_no_control_characters(name) -> None:
    device = factories.device(name="Pump")
    seen = client(device.owner)
    assert "control characters" in seen.post(path(device), fields(device, name=name)).content.decode()
    api = f"/devices/{device.uuid}/"
    answer = seen.patch(api, {"name": name}, content_type="application/json")
    assert (answer.status_code, "control characters" in answer.content.decode()) == (400, True)
    device.name = name
    with pytest.raises(ValidationError):
        device.clean_fields()
    device.save()
    answer = seen.patch(api, {"expected_interval_seconds": 60}, content_type="application/json")
    assert (answer.status_code, answer.json()["name"]) == (200, name)
