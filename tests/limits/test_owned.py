"""What one owner may have is bounded, at every door; a refusal names the setting and stores nothing."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from devices import exclusions
from devices.exclusions import Extent
from devices.imports.models import Upload
from devices.models import Device, DeviceKey, Exclusion
from tests.support import factories
from tests.support.concurrency import at_the_same_time
from users.limits import LimitReached
from users.models import Token, User

pytestmark = pytest.mark.django_db
STAMP = "2026-11-20T08:00:00Z"
DAY = timedelta(days=1)


def call(asker: User, method: str, path: str, body: Any = None) -> Any:
    """A request of the API by a token made beforehand, so that it is none that a test counts."""
    text = Token.issue(user=asker)[1] if asker.login not in tokens else tokens[asker.login]
    tokens[asker.login] = text
    content = b"" if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Token {text}"}
    return Client().generic(method, path, content, "application/json", headers=headers)


tokens: dict[str, str] = {}


@pytest.fixture(autouse=True)
def _forget_tokens() -> None:
    tokens.clear()


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def refused(response: Any, setting: str, count: int) -> None:
    assert response.status_code == 409, response.content
    assert response["Content-Type"] == "application/problem+json"
    detail = response.json()["detail"]
    assert setting in detail
    assert str(count) in detail


class TestDevices:
    @pytest.fixture(autouse=True)
    def _two(self, settings: Any) -> None:
        settings.DEVICES_PER_OWNER = 2

    @pytest.fixture
    def full(self) -> User:
        owner = factories.owner()
        factories.device(owner, external_id="known", profile=factories.profile("scalar", ["value"]))
        factories.device(owner).put_into_bin(timezone.now())
        return owner

    def test_no_more_are_registered(self, full: User) -> None:
        body = {"user_id": full.pk}
        refused(call(full, "POST", "/devices/", body), "DEVICES_PER_OWNER", 2)
        refused(call(factories.admin(), "POST", "/devices/", body), "DEVICES_PER_OWNER", 2)
        assert Device.everything.count() == 2
        assert (
            call(factories.admin(), "POST", "/devices/", {"user_id": factories.owner().pk}).status_code == 201
        )

    def test_none_is_given_to_an_owner_who_has_as_many(self, full: User) -> None:
        device, staff = factories.device(), factories.colleague()
        path = f"/devices/{device.uuid}/"
        refused(call(staff, "PATCH", path, {"user_id": full.pk}), "DEVICES_PER_OWNER", 2)
        page = f"/portal/devices/{device.uuid}/settings/"
        fields = {"name": "Pump", "time_zone": "UTC", "owner": full.login}
        assert "DEVICES_PER_OWNER" in browser(staff).post(page, fields).content.decode()
        assert Device.objects.get(pk=device.pk).owner == device.owner
        assert call(staff, "PATCH", path, {"name": "Other"}).status_code == 200

    def test_pages_say_so(self, full: User) -> None:
        form = {"uuid": "0b5f9c1e-6f53-4d3e-9d0e-1d1f6c2b7a10", "name": "Third", "profile": "scalar"}
        answer = browser(full).post("/portal/devices/new/", form | {"time_zone": "UTC"})
        assert "DEVICES_PER_OWNER" in answer.content.decode()
        admin = browser(factories.admin())
        fields = {"owner": full.pk, "profile": full.devices.first().profile_id, "time_zone": "UTC"}
        answer = admin.post("/admin/devices/device/add/", fields | {"name": "Third", "is_active": "on"})
        assert answer.status_code == 409
        assert "DEVICES_PER_OWNER" in answer.content.decode()
        assert Device.everything.count() == 2

    def test_nor_by_batches_of_sensors(self, full: User) -> None:
        items = [
            {"sensor": name, "timestamp": STAMP, "value": 1.0} for name in ("known", "new", "known", "newer")
        ]
        refused(call(full, "POST", "/data", items), "DEVICES_PER_OWNER", 2)
        answer = call(full, "POST", "/data?partial=true", [*items, {"sensor": "bad"}])
        assert answer.status_code == 201
        receipt = answer.json()
        assert receipt["accepted"] == 2
        assert [fault["index"] for fault in receipt["rejected"]] == [1, 3, 4]
        assert "DEVICES_PER_OWNER" in receipt["rejected"][0]["message"]
        assert Device.everything.count() == 2
        # Known sensors need no room.
        assert call(full, "POST", "/data", items[:1]).status_code == 201

    def test_nor_by_an_imported_file(self, full: User, tmp_path: Path, capsys: Any) -> None:
        file = tmp_path / "readings.csv"
        file.write_text(f"sensor,timestamp,value\nnew,{STAMP},1\n")
        with pytest.raises(CommandError, match="Bad lines: 1"):
            call_command("import_readings", str(file), "--owner", full.login)
        assert "DEVICES_PER_OWNER" in capsys.readouterr().err
        assert Device.everything.count() == 2

    @pytest.mark.django_db(transaction=True)
    def test_simultaneous_requests_count_each_other(self) -> None:
        factories.profile()
        owner = factories.owner()
        text = Token.issue(user=owner)[1]

        def register() -> int:
            headers = {"Authorization": f"Token {text}"}
            body = json.dumps({"user_id": owner.pk})
            return (
                Client().post("/devices/", body, content_type="application/json", headers=headers).status_code
            )

        assert sorted(at_the_same_time(register, times=4)) == [201, 201, 409, 409]

    def test_a_known_sensor_counts_nothing(self, full: User, django_assert_max_num_queries: Any) -> None:
        """Devices are counted only when one is made: posts of readings must not get slower."""
        item = {"sensor": "known", "timestamp": STAMP, "value": 1.0}
        call(full, "POST", "/data", [item])
        with django_assert_max_num_queries(20) as counted:
            assert call(full, "POST", "/data", [item]).status_code == 201
        assert not [query for query in counted.captured_queries if "pg_advisory_xact_lock" in query["sql"]]


class TestCredentials:
    @pytest.fixture(autouse=True)
    def _three(self, settings: Any) -> None:
        settings.TOKENS_PER_USER = settings.KEYS_PER_DEVICE = 3

    def test_tokens_of_a_user(self) -> None:
        owner, admin = factories.owner(), factories.admin()
        for _ in range(3):
            token, _text = Token.issue(user=owner)
        refused(call(admin, "POST", f"/users/{owner.pk}/tokens/", {}), "TOKENS_PER_USER", 3)
        with pytest.raises(CommandError, match="TOKENS_PER_USER"):
            call_command("create_token", owner.login)
        token.revoke(timezone.now())
        Token.objects.filter(user=owner).exclude(pk=token.pk).first().revoke(timezone.now())
        assert call(admin, "POST", f"/users/{owner.pk}/tokens/", {}).status_code == 201

    def test_keys_of_a_device(self) -> None:
        device = factories.device()
        path = f"/devices/{device.uuid}/keys/"
        for _ in range(3):
            assert call(device.owner, "POST", path, {}).status_code == 201
        refused(call(device.owner, "POST", path, {}), "KEYS_PER_DEVICE", 3)
        page = browser(device.owner).post(
            f"/portal/devices/{device.uuid}/connect/", {"overlap_seconds": "86400"}
        )
        assert page.status_code == 409
        assert "KEYS_PER_DEVICE" in page.content.decode()
        DeviceKey.objects.update(expires_at=timezone.now() - DAY)
        assert call(device.owner, "POST", path, {"overlap_seconds": 0}).status_code == 201

    def test_of_those_that_are_over_the_newest_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("users.models.MOST_KEPT", 2)
        device, now = factories.device(), timezone.now()
        keys = [DeviceKey.issue(device=device)[0] for _ in range(3)]
        for age, key in enumerate(keys):
            DeviceKey.objects.filter(pk=key.pk).update(created_at=now - age * DAY, revoked_at=now)
        DeviceKey.issue(device=device)
        assert set(device.keys.filter(revoked_at=now)) == set(keys[:2])


def test_exclusions_in_force_of_a_device(settings: Any) -> None:
    settings.EXCLUSIONS_PER_DEVICE = 2
    device, staff = factories.device(), factories.colleague()
    path, body = f"/devices/{device.uuid}/exclusions/", {"start": STAMP, "end": "2026-11-20T09:00:00Z"}
    body |= {"reason": "Cleaning"}
    first = call(staff, "POST", path, body).json()
    assert call(staff, "POST", path, body).status_code == 201
    refused(call(staff, "POST", path, body), "EXCLUSIONS_PER_DEVICE", 2)
    page = f"/portal/devices/{device.uuid}/exclusions/"
    fields = {"start": "2026-11-20T08:00", "end": "2026-11-20T09:00", "reason": "Cleaning"}
    assert "EXCLUSIONS_PER_DEVICE" in browser(staff).post(page, fields).content.decode()
    with pytest.raises(LimitReached):
        exclusions.make(
            device, Extent(factories.NOON, factories.NOON + DAY), reason="-", by="-", now=timezone.now()
        )
    # A test reading that is to be excluded is not stored instead.
    connect = f"/portal/devices/{device.uuid}/connect/test/"
    browser(device.owner).post(connect, {"exclude": "on"})
    assert device.newest_readings(1) == []
    assert call(staff, "POST", f"{path}{first['id']}/lift/").status_code == 200
    assert call(staff, "POST", path, body).status_code == 201
    assert Exclusion.objects.count() == 3


def test_imports_that_are_not_over(settings: Any) -> None:
    settings.OPEN_IMPORTS = 1
    staff = browser(factories.colleague())

    def upload() -> str:
        file = SimpleUploadedFile("readings.csv", f"sensor,timestamp,value\na,{STAMP},1\n".encode())
        return staff.post("/portal/import/", {"file": file}, follow=True).content.decode()

    assert "OPEN_IMPORTS" not in upload()
    assert "OPEN_IMPORTS" in upload()
    assert Upload.objects.count() == 1
