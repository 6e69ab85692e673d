"""Pages show moments in the zone of the reader's account; a device's own pages in the zone chosen there."""

import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.test import Client

from analytics.models import Analysis, Calculation
from devices.imports.models import Upload
from devices.models import Device, DeviceKey
from tests.account.people import logged_in, person
from tests.imports import uploads
from tests.support import factories
from tests.support.factories import NOON
from users.models import Invitation, Role, Token, User

pytestmark = pytest.mark.django_db(databases=["default", "activity"])

TOKYO, BERLIN, UTC = (f"2026-11-21 {hour}:00:00" for hour in (21, 13, 12))


@pytest.fixture
def reader() -> User:
    """An admin, who sees every page and owns the device."""
    return person(Role.ADMIN, time_zone="Asia/Tokyo")


@pytest.fixture
def pump(reader: User) -> Device:
    device = factories.device(reader, time_zone="Europe/Berlin")
    factories.readings(device, [(1.5, 2, 3)])
    return device


def text_of(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    return answer.content.decode()


def pages_of(reader: User, pump: Device) -> list[str]:
    """Make a row for each list, all of NOON; return the pages that show them."""
    target = {"asked_at": NOON, "asked_by": reader}
    analysis = Analysis.objects.create(device=pump, **target)
    known = {"kernel": "well", "kernel_version": "1", "parameters": {}, "seed": 1}
    calculation = Calculation.objects.create(**known, **target)
    factories.exclusion(pump)
    DeviceKey.issue(device=pump)
    DeviceKey.objects.update(created_at=NOON)
    Token.issue(user=reader, name="Script")
    Token.objects.update(last_used_at=NOON)
    Invitation.issue(email="b@example.com", invited_by=reader, expires_at=NOON)
    upload = uploads.upload(f"{uploads.HEADER}\n{NOON.isoformat()},1,2,3\n", device=pump, by=reader)
    done = uploads.imported(f"{uploads.HEADER}\n2026-11-20T12:00:00Z,1,2,3\n", device=pump, by=reader)
    Upload.objects.update(at=NOON)
    Authenticator.objects.create(user=reader, type="webauthn", data={"name": "Key", "credential": {}})
    Authenticator.objects.update(created_at=NOON)
    UserSession.objects.update(created_at=NOON)
    device, account = f"/portal/devices/{pump.uuid}", "/portal/account"
    return [
        "/portal/devices/",
        *(f"{device}/?zone=mine", f"{device}/readings/?zone=mine", f"{device}/exclusions/"),
        *(f"{device}/runs/", f"{device}/connect/", f"{device}/settings/"),
        *("/portal/analyses/", f"/portal/analyses/{analysis.pk}/"),
        *("/portal/calculations/", f"/portal/calculations/{calculation.pk}/"),
        *("/portal/import/", f"/portal/import/{upload.pk}/", f"/portal/import/{done.pk}/"),
        *(f"{account}/tokens/", f"{account}/sessions/", f"{account}/invitations/"),
        f"{account}/2fa/webauthn/",
    ]


def test_pages_are_in_the_readers_zone(reader: User, pump: Device) -> None:
    client = logged_in(reader)
    for page in pages_of(reader, pump):
        text = text_of(client, page)
        assert (TOKYO in text, UTC in text) == (True, False), page


def test_a_devices_page_is_in_the_zone_chosen_there(reader: User, pump: Device) -> None:
    client, page = logged_in(reader), f"/portal/devices/{pump.uuid}/"
    for part in ("", "latest/", "readings/"):
        for zone, stamp in (("", BERLIN), ("mine", TOKYO), ("utc", UTC)):
            text = text_of(client, f"{page}{part}?zone={zone}")
            assert [shown for shown in (BERLIN, TOKYO, UTC) if shown in text] == [stamp], part


def test_who_has_chosen_no_zone_sees_the_portals(pump: Device) -> None:
    colleague = logged_in(person(Role.STAFF))
    assert UTC in text_of(colleague, "/portal/devices/")
