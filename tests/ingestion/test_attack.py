"""Attacks that once succeeded, repeated as they were done: each must fail."""

import os
import secrets
import socket
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from config.demo.accounts import Account
from config.demo.embedded import Place, create_cluster
from devices.models import Device, DeviceProfile
from tests.support import factories
from tests.support.concurrency import own_connection, wait_until_blocked
from tests.support.portal import Portal
from users.authentication import PageSessionAuthentication
from users.models import Role, Token, User

at_once = pytest.mark.django_db(transaction=True)
in_database = pytest.mark.django_db


def call(user: User, method: str, path: str, body: Any = None, token: str = "") -> HttpResponse:
    headers = {"Authorization": f"Token {token or factories.token(user)[1]}"}
    return Client().generic(
        method, path, b"" if body is None else msgspec.json.encode(body), "application/json", headers=headers
    )


def meanwhile(first: Any, user: User, *request: Any) -> HttpResponse:
    """Return the answer to a request that arrives after `first` is done and before it is committed."""
    token = factories.token(user)[1]
    body = request[2] if len(request) > 2 else None
    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            first()
            answer = threads.submit(own_connection(call), user, *request[:2], body, token)
            wait_until_blocked()
        return answer.result()


# --- Two at the same moment


@at_once
def test_deactivation_and_role_are_not_undone_by_an_older_change_of_the_name() -> None:
    user, admin = factories.colleague(), factories.admin()

    def demote() -> None:
        User.objects.filter(pk=user.pk).update(is_active=False, role=Role.OWNER)

    assert meanwhile(demote, admin, "PATCH", f"/users/{user.pk}/", {"name": "New"}).status_code == 200
    user.refresh_from_db()
    assert (user.name, user.is_active, user.role) == ("New", False, Role.OWNER)


@at_once
def test_two_admins_cannot_demote_each_other() -> None:
    one, other = factories.admin(), factories.admin()

    def demote() -> None:
        User.objects.filter(pk=other.pk).update(role=Role.OWNER)

    answer = meanwhile(demote, other, "PATCH", f"/users/{one.pk}/", {"role": "owner"})
    assert answer.status_code == 400
    assert User.objects.get(pk=one.pk).is_admin


@at_once
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "", {"name": "New"}),
        ("DELETE", "", None),
        ("POST", "keys/", {}),
        ("GET", "analytics/", None),
    ],
)
def test_a_device_that_was_erased_meanwhile_is_404_and_stays_erased(
    method: str, path: str, body: Any
) -> None:
    device = factories.device()
    answer = meanwhile(device.erase, factories.admin(), method, f"/devices/{device.uuid}/{path}", body)
    assert answer.status_code == 404
    assert not Device.objects.filter(uuid=device.uuid).exists()


@at_once
@pytest.mark.parametrize("path", ["/devices/", "/users/{}/tokens/"])
def test_what_refers_to_a_user_deleted_meanwhile_is_a_conflict(path: str) -> None:
    user = factories.owner()
    factories.profile()
    body = {"user_id": user.pk} if path == "/devices/" else {}
    answer = meanwhile(user.delete, factories.admin(), "POST", path.format(user.pk), body)
    assert (answer.status_code, answer["Content-Type"]) == (409, "application/problem+json")


@at_once
def test_a_login_made_up_for_two_at_the_same_moment_is_made_up_again() -> None:
    def create() -> None:
        User.objects.create_user("twin", "twin@one.example")

    body = {"name": "Twin", "email": "twin@two.example"}
    answer = meanwhile(create, factories.admin(), "POST", "/users/", body)
    assert (answer.status_code, answer.json().get("login")) == (201, "twin-2")


# --- Rights


def pages(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@in_database
def test_the_last_admin_stays_one_in_django_admin_too() -> None:
    admin = factories.admin()
    client = pages(admin)
    change = {"login": admin.login, "name": "A", "email": admin.email, "role": "owner", "is_active": "on"}
    for form in (change, change | {"role": "admin", "is_active": ""}):
        assert client.post(reverse("admin:users_user_change", args=[admin.pk]), form).status_code == 200
        assert User.objects.get(pk=admin.pk).is_admin
    client.post(reverse("admin:users_user_delete", args=[admin.pk]), {"post": "yes"})
    action = {"action": "delete_selected", "_selected_action": [admin.pk], "post": "yes"}
    client.post(reverse("admin:users_user_changelist"), action)
    assert User.objects.get(pk=admin.pk).is_admin

    factories.admin()
    assert client.post(reverse("admin:users_user_change", args=[admin.pk]), change).status_code == 302
    assert not User.objects.get(pk=admin.pk).is_admin


@in_database
def test_an_expiring_token_cannot_hand_out_a_longer_life() -> None:
    user = factories.owner()
    end = timezone.now() + timedelta(hours=1)
    text = factories.token(user, expires_at=end)[1]
    path = f"/users/{user.pk}/tokens/"
    for later in (None, (end + timedelta(seconds=1)).isoformat()):
        assert call(user, "POST", path, {"expires_at": later}, text).status_code == 400
    made = call(user, "POST", path, {}, text).json()
    assert Token.objects.get(prefix=made["prefix"]).expires_at == end


@in_database
def test_a_login_that_is_alike_in_capitals_locks_nobody_out() -> None:
    User.objects.create_user("adm\N{LATIN SMALL LETTER DOTLESS I}n", "other@example.com")
    User.objects.create_user("admin", "admin@example.com", "a long password", role=Role.ADMIN)
    form = {"username": "Admin", "password": "a long password"}
    assert Client().post(reverse("activity:login"), form).status_code == 302


@in_database
@pytest.mark.parametrize(
    ("method", "origin", "is_refused"),
    [
        ("POST", "http://evil.example", True),
        ("POST", "null", True),
        ("POST", "http://[", True),
        ("POST", "http://127.0.0.1:3000", True),
        ("POST", "http://127.0.0.1:8080", False),
        ("POST", None, False),
        ("GET", "http://evil.example", False),
    ],
)
def test_a_page_of_another_site_changes_nothing_in_an_open_demo(
    method: str, origin: str | None, is_refused: bool
) -> None:
    headers = {"HTTP_HOST": "127.0.0.1:8080"} | ({"HTTP_ORIGIN": origin} if origin else {})
    request = RequestFactory().generic(method, "/users/1/tokens/", **headers)
    request.is_open_demo, request.user = True, factories.admin()
    if is_refused:
        with pytest.raises(PermissionDenied):
            PageSessionAuthentication().authenticate(Request(request))
    else:
        assert PageSessionAuthentication().authenticate(Request(request)) == (request.user, None)


# --- Input


@in_database
@pytest.mark.parametrize(
    ("time", "place", "status"),
    [
        ("2026-01-01T00:00:00Z", "(\N{FULLWIDTH DIGIT ONE},\N{FULLWIDTH DIGIT ONE})", 400),
        ("2026-01-01T00:00:00+23:59", "(1,1)", 200),
        ("0001-01-01T00:00:00+14:00", "(1,1)", 400),
        ("9999-12-31T23:59:59-14:00", "(1,1)", 400),
    ],
)
def test_a_made_up_cursor_is_no_server_error(time: str, place: str, status: int) -> None:
    device = factories.device()
    factories.readings(device, [(1, 2, 3)])
    cursor = urlsafe_b64encode(msgspec.msgpack.encode((time, 1, place))).decode().rstrip("=")
    assert call(device.owner, "GET", f"/stats/?cursor={cursor}").status_code == status


@in_database
def test_stamps_are_answered_in_utc_whatever_the_zone_of_the_portal(settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    device = factories.device()
    factories.readings(device, [(1, 2, 3)])
    assert call(device.owner, "GET", "/stats/").json()[0]["timestamp"] == "2026-11-21T12:00:00Z"
    assert call(device.owner, "GET", f"/users/{device.owner.pk}/").json()["created_at"].endswith("Z")
    body = {"expires_at": "2030-01-01T00:00:00"}
    made = call(device.owner, "POST", f"/users/{device.owner.pk}/tokens/", body).json()
    assert made["expires_at"] == "2030-01-01T00:00:00Z"


@in_database
def test_staff_cannot_put_a_device_with_readings_under_another_profile_in_django_admin() -> None:
    device = factories.device()
    factories.readings(device, [(1, 2, 3)])
    other = factories.profile("scalar", ["value"])
    form = {"owner": device.owner.pk, "profile": other.pk, "name": "New", "time_zone": "UTC"}
    pages(factories.colleague()).post(reverse("admin:devices_device_change", args=[device.pk]), form)
    device.refresh_from_db()
    assert (device.name, device.profile.name) == ("New", "xyz")


@in_database
def test_a_profile_without_channels_is_refused() -> None:
    form = {
        "name": "empty",
        **{f"channels-{name}": "0" for name in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS")},
    }
    answer = pages(factories.colleague()).post(reverse("admin:devices_deviceprofile_add"), form)
    assert (answer.status_code, DeviceProfile.objects.filter(name="empty").exists()) == (200, False)


# --- The machine


def test_clients_that_send_slowly_hold_nobody_up(portal: Portal) -> None:
    """None of these requests needs a credential, and each once held one of the few threads."""
    head = (
        f"POST /portal/login/ HTTP/1.1\r\nHost: 127.0.0.1:{portal.port}\r\nCookie: csrftoken={'a' * 32}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\na"
    )
    with ExitStack() as stack:
        for _ in range(40):
            address = ("127.0.0.1", portal.port)
            stack.enter_context(socket.create_connection(address, timeout=10)).sendall(head.encode())
        assert portal.request("GET", "/healthz").status_code == 204
        assert portal.request("GET", "/portal/login/").status_code == 200


def test_a_large_upload_is_not_taken_in_from_strangers(portal: Portal) -> None:
    """A form with a file of any size was once written to disk before its CSRF token was checked."""
    head = (
        f"POST /portal/login/ HTTP/1.1\nHost: 127.0.0.1:{portal.port}\nCookie: csrftoken={'a' * 32}\n"
        "Content-Type: multipart/form-data; boundary=x\nContent-Length: 1000000000\nConnection: close\n\n"
    )
    assert portal.raw(head.encode(), b"--x\r\n")[0] in (400, 403, 413)


def test_a_link_in_the_place_of_the_password_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "password").symlink_to(victim)
    seen = []

    def run_once(_: Any) -> None:
        seen.append(((tmp_path / "password").read_text(), (tmp_path / "password").stat().st_mode & 0o777))

    place = Place(SimpleNamespace(run_once=run_once), tmp_path, tmp_path, Account(os.geteuid(), os.getegid()))
    password = secrets.token_urlsafe()
    create_cluster(place, tmp_path / "cluster", password)
    assert (seen, victim.read_text()) == ([(password, 0o600)], "precious")
