"""The list of a device's keys has pages, like every list."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device, DeviceKey
from tests.support import factories
from tests.users.admin_pages import choose, url
from tests.users.admin_pages import client as admin_client
from users.models import User

pytestmark = pytest.mark.django_db(databases=["default", "activity"])


def test_keys_are_listed_on_linked_pages_without_more_queries():
    device = factories.device()
    headers = {"Authorization": f"Token {factories.token(device.owner)[1]}"}
    path = f"/devices/{device.uuid}/keys/"

    def queries(count: int) -> int:
        while device.keys.count() < count:
            DeviceKey.issue(device=device)
        with CaptureQueriesContext(connection) as captured:
            response = Client().get(f"{path}?limit=20", headers=headers)
        assert (response.status_code, len(response.json())) == (200, min(count, 20))
        assert response["X-Total-Count"] == str(count)
        assert ('rel="next"' in response["Link"]) == (count > 20)
        return len(captured)

    queries(1)  # the first one also notes the token's use
    assert queries(1) == queries(20) == queries(25)
    stranger = {"Authorization": f"Token {factories.token(factories.stranger())[1]}"}
    assert Client().get(path, headers=stranger).status_code == 404


class TestWhoGetsOne:
    """A key posts readings, so a token that may not post gets none."""

    @pytest.mark.parametrize(
        ("scopes", "has_key"), [(["write"], False), (["read", "write"], False), (["write", "ingest"], True)]
    )
    def test_with_a_new_device(self, scopes, has_key):
        factories.profile()
        owner = factories.owner()
        headers = {"Authorization": f"Token {factories.token(owner, scopes=scopes)[1]}"}
        made = Client().post("/devices/", {"user_id": owner.pk}, "application/json", headers=headers)
        assert made.status_code == 201
        assert (made.json()["key"] is not None) == has_key
        assert DeviceKey.objects.count() == has_key
        rotated = Client().post(
            f"/devices/{made.json()['id']}/keys/", {}, "application/json", headers=headers
        )
        assert rotated.status_code == (201 if has_key else 403)


class TestAnotherOwner:
    def give(self, device: Device, by: User, **fields: bool) -> int:
        other = factories.owner()
        headers = {"Authorization": f"Token {factories.token(by)[1]}"}
        body = {"user_id": other.pk, **fields}
        path = f"/devices/{device.uuid}/"
        return Client().patch(path, body, "application/json", headers=headers).status_code

    def is_usable(self, text: str) -> bool:
        return DeviceKey.find(text, timezone.now()) is not None

    @pytest.mark.parametrize("ends", [True, False])
    def test_staff_end_the_keys_if_they_wish(self, ends):
        device, other = factories.device(), factories.device()
        (_, text), (_, others) = DeviceKey.issue(device=device), DeviceKey.issue(device=other)
        assert self.give(device, factories.colleague(), revoke_keys=ends) == 200
        assert self.is_usable(text) == (not ends)
        assert self.is_usable(others)

    def test_a_stranger_ends_none(self):
        device = factories.device()
        _, text = DeviceKey.issue(device=device)
        assert self.give(device, factories.stranger(), revoke_keys=True) == 404
        assert self.is_usable(text)

    @pytest.mark.parametrize("ends", [True, False])
    def test_on_the_settings_page(self, ends):
        device, other = factories.device(), factories.owner()
        _, text = DeviceKey.issue(device=device)
        client = Client()
        client.force_login(factories.colleague())
        page = f"/portal/devices/{device.uuid}/settings/"
        assert "End its keys" in client.get(page).content.decode()
        fields = {"name": "Pump", "time_zone": "UTC", "is_active": "on", "owner": other.login}
        assert client.post(page, fields | ({"revoke_keys": "on"} if ends else {})).status_code == 302
        device.refresh_from_db()
        assert (device.owner, self.is_usable(text)) == (other, not ends)

    def test_django_admin_warns_and_has_an_action(self):
        device, other = factories.device(), factories.owner()
        _, text = DeviceKey.issue(device=device)
        page = admin_client(factories.admin())
        fields = {"owner": other.pk, "name": "Pump", "time_zone": "UTC", "is_active": "on"}
        changed = page.post(url(Device, "change", device.pk), fields, follow=True)
        assert "former owner may still have its keys" in changed.content.decode()
        assert "Ended: 1." in choose(page, Device, "revoke_keys", device).content.decode()
        assert not self.is_usable(text)
