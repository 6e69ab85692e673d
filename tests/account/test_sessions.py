"""Sessions: listed, ended one by one or everywhere, each with its event."""

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics.activity.models import PendingEvent
from tests.account.people import PASSWORD, logged_in, person
from users.account.browsers import browser_name
from users.models import Role

pytestmark = pytest.mark.django_db
PAGE = "/portal/account/sessions/"


def is_in(client: Client) -> bool:
    return client.get("/portal/devices/").status_code == 200


def events(user) -> list[str]:
    return sorted(PendingEvent.objects.filter(user_id=user.pk).values_list("name", flat=True))


def test_they_are_listed_with_browser_and_address():
    user = person()
    logged_in(user, HTTP_USER_AGENT="Lynx", REMOTE_ADDR="9.9.9.9")
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"
    page = logged_in(user, HTTP_USER_AGENT=agent).get(PAGE).content.decode()
    assert all(text in page for text in ("Lynx", "9.9.9.9", "Firefox on Linux", "This one"))


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("", "Unknown browser"),
        ("curl/8.0", "curl"),
        ("Lynx/2.9", "Lynx/2.9"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/1 Chrome/150.0 Safari/1 Edg/150.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 16) AppleWebKit/1 Chrome/150.0 Mobile Safari/1", "Chrome on Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 20 like Mac OS X) Version/20 Safari/1", "Safari on iPhone"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14) Version/20 Safari/1", "Safari on macOS"),
    ],
)
def test_browsers_have_short_names(agent, name):
    assert browser_name(agent) == name


def test_logging_out_everywhere_else_leaves_this_one():
    user = person()
    others, this = [logged_in(user), logged_in(user)], logged_in(user)
    assert this.post(PAGE, {"end": "others"}).status_code == 302
    assert [is_in(client) for client in (*others, this)] == [False, False, True]
    assert events(user) == ["login"] * 3 + ["logout"] * 2


def test_logging_out_everywhere_ends_all():
    user = person()
    other, this = logged_in(user), logged_in(user)
    this.post(PAGE, {"end": "all"})
    assert not is_in(other)
    assert not is_in(this)
    assert events(user) == ["login", "login", "logout", "logout"]


def test_one_of_them_is_ended():
    user = person()
    other, third, this = logged_in(user), logged_in(user), logged_in(user)
    number = other.session.session_key
    page = this.get(PAGE).content.decode()
    row = UserSession.objects.get(session_key=number)
    assert f'value="{row.pk}"' in page
    this.post(PAGE, {"end": row.pk})
    assert [is_in(client) for client in (other, third, this)] == [False, True, True]
    assert this.post(PAGE, {"end": row.pk}).status_code == 404
    assert events(user).count("logout") == 1


@pytest.mark.parametrize("role", Role)
def test_a_stranger_ends_nobody_else_s(role):
    victim = person()
    theirs, stranger = logged_in(victim, HTTP_USER_AGENT="Victim's"), logged_in(person(role))
    row = UserSession.objects.get(user=victim)
    assert "Victim" not in stranger.get(PAGE).content.decode()
    assert stranger.post(PAGE, {"end": row.pk}).status_code == 404
    stranger.post(PAGE, {"end": "others"})
    assert is_in(theirs)
    assert events(victim) == ["login"]


@pytest.mark.parametrize("end", ["x", "-1", "9" * 30, "²", ""])
def test_nonsense_ends_nothing(end):
    user = person()
    other = logged_in(user)
    assert logged_in(user).post(PAGE, {"end": end}).status_code in (400, 404)
    assert is_in(other)


def test_queries_do_not_grow_with_the_sessions():
    user = person()
    client = logged_in(user)
    client.get(PAGE)
    with CaptureQueriesContext(connection) as before:
        client.get(PAGE)
    for _ in range(5):
        logged_in(user)
    with CaptureQueriesContext(connection) as after:
        client.get(PAGE)
    assert len(after) == len(before)
    with CaptureQueriesContext(connection) as first:
        logged_in(person())
    with CaptureQueriesContext(connection) as sixth:
        logged_in(user)
    assert len(sixth) <= len(first) + 1


def test_expired_ones_are_not_listed():
    user = person()
    logged_in(user, HTTP_USER_AGENT="Lynx")
    Session.objects.update(expire_date=timezone.now())
    page = logged_in(user).get(PAGE).content.decode()
    assert "Lynx" not in page


def test_a_new_password_ends_the_other_sessions():
    user = person()
    other, this = logged_in(user), logged_in(user)
    fields = {"oldpassword": PASSWORD, "password1": "nine-lines-down", "password2": "nine-lines-down"}
    assert this.post("/portal/account/password/change/", fields).status_code == 302
    assert [is_in(other), is_in(this)] == [False, True]
    user.refresh_from_db()
    assert user.check_password("nine-lines-down")


@pytest.mark.parametrize("old", ["wrong", ""])
def test_a_new_password_needs_the_old_one(old):
    user = person()
    fields = {"oldpassword": old, "password1": "nine-lines-down", "password2": "nine-lines-down"}
    logged_in(user).post("/portal/account/password/change/", fields)
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


def test_no_session_outlives_logging_out():
    client = logged_in(person())
    client.post("/portal/logout/")
    assert not Session.objects.exists()
