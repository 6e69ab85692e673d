"""Name, language, time zone and theme; and who gets to pages of an account."""

import re

import pytest
from django.test import Client
from django.utils import timezone

from tests.account.people import logged_in, person
from tests.support import factories
from users.models import Role

pytestmark = pytest.mark.django_db
FIELDS = {"name": "Ada L.", "language": "ru", "time_zone": "Asia/Tokyo", "theme": "dark"}
PAGES = [
    *("", "email/", "tokens/", "sessions/", "invitations/", "password/change/", "2fa/", "2fa/totp/activate/"),
    *("2fa/webauthn/", "2fa/webauthn/add/", "reauthenticate/"),
]


def test_one_changes_name_language_zone_and_theme():
    user = person()
    client = logged_in(user)
    assert client.post("/portal/account/", FIELDS).status_code == 302
    user.refresh_from_db()
    assert {name: getattr(user, name) for name in FIELDS} == FIELDS
    assert 'data-theme="dark"' in client.get("/portal/devices/").content.decode()


def test_the_zone_is_typed_with_proposals_as_a_devices_is():
    client = logged_in(person(time_zone="Asia/Tokyo"))
    page = client.get("/portal/account/").content.decode()
    assert re.search('<input name="time_zone" [^>]*value="Asia/Tokyo" list="zones"', page)
    assert '<option value="Europe/Berlin">' in page
    assert "“Mars” is not an IANA time zone" in (
        client.post("/portal/account/", FIELDS | {"time_zone": "Mars"}).content.decode()
    )
    assert client.post("/portal/account/", FIELDS | {"time_zone": ""}).status_code == 302


def test_the_system_decides_the_theme_unless_one_chooses():
    client = logged_in(person())
    assert "data-theme" not in client.get("/portal/devices/").content.decode()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("time_zone", "Nowhere/City"),
        ("time_zone", "../UTC"),
        ("theme", "pink"),
        ("language", "xx"),
        ("name", ""),
    ],
)
def test_nonsense_is_refused(field, value):
    user = person()
    answer = logged_in(user).post("/portal/account/", FIELDS | {field: value})
    assert answer.status_code == 400
    before = getattr(user, field)
    user.refresh_from_db()
    assert getattr(user, field) == before


@pytest.mark.parametrize("field", ["role", "login", "email", "is_active"])
def test_what_an_admin_decides_cannot_be_sent_along(field):
    user = person()
    before = getattr(user, field)
    logged_in(user).post("/portal/account/", FIELDS | {field: "admin"})
    user.refresh_from_db()
    assert getattr(user, field) == before


def test_pages_show_times_in_ones_own_zone_and_the_api_in_utc():
    user = person(time_zone="Asia/Tokyo")
    client = logged_in(user)
    token, _ = factories.token(user, name="x")
    type(token).objects.update(last_used_at=timezone.datetime.fromisoformat("2026-01-01T20:00:00Z"))
    assert "2026-01-02 05:00" in client.get("/portal/account/tokens/").content.decode()
    [listed] = client.get(f"/users/{user.pk}/tokens/").json()
    assert listed["last_used_at"] == "2026-01-01T20:00:00Z"


@pytest.mark.parametrize("page", PAGES)
def test_nobody_sees_an_account_without_a_log_in(page):
    answer = Client().get(f"/portal/account/{page}")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/portal/login/?next=")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_there_and_ours(page):
    answer = logged_in(person(Role.ADMIN)).get(f"/portal/account/{page}", follow=True)
    assert answer.status_code == 200
    text = answer.content.decode()
    assert "· Plumbline</title>" in text
    assert "/style/plumbline." in text
    assert "<style" not in text
    assert " style=" not in text


@pytest.mark.parametrize("path", ["signup/", "signup/passkey/", "login/", "login/code/", "3rdparty/"])
def test_nobody_signs_up(path):
    assert Client().get(f"/portal/account/{path}").status_code in (302, 404)
    assert Client().post(f"/portal/account/{path}").status_code in (302, 404)
