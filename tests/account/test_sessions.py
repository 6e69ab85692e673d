"""Sessions: listed, ended one by one or everywhere, each with its event."""

import time
from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics.activity.models import PendingEvent
from config.middleware.idle_sessions import SEEN_AT
from tests.account.people import PASSWORD, logged_in, person
from tests.support import factories
from users.account.browsers import browser_name
from users.models import Role, Token
from users.tasks import forget_sessions

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


@pytest.mark.parametrize("is_wished", [True, False])
def test_a_new_password_revokes_tokens_if_wished(is_wished):
    user, other = person(), person()
    (_, text), (_, others) = factories.token(user), factories.token(other)
    client = logged_in(user)
    fields = {"oldpassword": PASSWORD, "password1": "nine-lines-down", "password2": "nine-lines-down"}
    assert "Revoke all my API tokens" in client.get("/portal/account/password/change/").content.decode()
    client.post("/portal/account/password/change/", fields | ({"revoke_tokens": "on"} if is_wished else {}))
    assert (Token.find(text, timezone.now()) is None) == is_wished
    assert Token.find(others, timezone.now()) is not None


class TestIdle:
    def test_a_session_ends_after_silence(self, settings):
        settings.SESSION_IDLE_MINUTES = 30
        client = logged_in(person())
        assert client.cookies["sessionid"]["max-age"] == 1800
        self.pass_minutes(29)
        assert is_in(client)
        # Each use begins the half hour anew.
        self.pass_minutes(29)
        assert is_in(client)
        self.pass_minutes(31)
        assert not is_in(client)

    def test_it_is_written_once_a_minute(self, settings):
        settings.SESSION_IDLE_MINUTES = 30
        client = logged_in(person())
        with CaptureQueriesContext(connection) as queries:
            client.get(PAGE)
        assert not [query for query in queries if "UPDATE" in query["sql"]]

    @pytest.mark.parametrize(("headers", "is_use"), [({}, True), ({"Plumbline-Poll": "1"}, False)])
    def test_what_a_page_asks_by_a_timer_is_no_use(self, settings, headers, is_use):
        settings.SESSION_IDLE_MINUTES = 30
        client = logged_in(person())
        for _ in range(2):
            self.pass_minutes(20)
            client.get("/portal/devices/", headers=headers)
        assert is_in(client) == is_use

    def test_a_minute_is_enough_for_who_works(self, settings):
        settings.SESSION_IDLE_MINUTES = 1
        client = logged_in(person())
        for _ in range(3):
            self.pass_minutes(0.75)
            assert is_in(client)

    def test_it_can_be_switched_off(self, settings):
        settings.SESSION_IDLE_MINUTES = 0
        client = logged_in(person())
        assert client.cookies["sessionid"]["max-age"] == settings.SESSION_COOKIE_AGE

    def pass_minutes(self, minutes: float) -> None:
        for row in Session.objects.all():
            session = SessionStore(row.session_key)
            session[SEEN_AT] = session.get(SEEN_AT, int(time.time())) - 60 * minutes
            values = session.encode(dict(session.items()))
            ends = row.expire_date - timedelta(minutes=minutes)
            Session.objects.filter(pk=row.pk).update(session_data=values, expire_date=ends)


def test_a_new_secret_key_leaves_a_session_its_key_and_its_place_in_the_list(settings):
    user = person()
    this, other = logged_in(user), logged_in(user)
    key = other.cookies["sessionid"].value
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "n" * 40
    assert is_in(other)
    # What the same browser asked at the same time does no harm, nor does a log-in, which looks through all.
    other.cookies["sessionid"] = key
    assert is_in(other)
    third = logged_in(user)
    settings.SECRET_KEY_FALLBACKS = []
    assert is_in(other)
    assert UserSession.objects.filter(user=user, session_key=key).exists()
    settings.SECRET_KEY_FALLBACKS = ["f" * 40]
    third.post(PAGE, {"end": "others"})
    assert [is_in(client) for client in (this, other, third)] == [False, False, True]


def test_what_is_over_is_deleted_by_beat(settings):
    over, alive = person(), person()
    clients = [logged_in(over), logged_in(alive)]
    Session.objects.filter(pk=clients[0].session.session_key).update(expire_date=timezone.now())
    UserSession.objects.update(created_at=timezone.now() - timedelta(days=2))
    caches["default"].set("old", 1, -1)
    AccessAttempt.objects.create(username="x", ip_address="1.1.1.1", failures_since_start=1)
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(days=1))
    assert "users.tasks.forget_sessions" in [job["task"] for job in settings.CELERY_BEAT_SCHEDULE.values()]
    forget_sessions()
    assert [row.user for row in UserSession.objects.all()] == [alive]
    assert Session.objects.count() == 1
    assert not AccessAttempt.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM users_attempt_cache WHERE key LIKE '%old'")
        assert cursor.fetchone() == (0,)


def test_messages_are_in_no_cookie():
    client = logged_in(person())
    answer = client.post("/portal/account/", {"name": "Ada", "language": "en", "theme": "dark"})
    assert (answer.status_code, set(answer.cookies) & {"messages"}) == (302, set())
    assert "Saved." in client.get("/portal/account/").content.decode()


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


def test_a_cookie_may_say_anything():
    """A quoted cookie has octal escapes, of NUL among them."""
    for key in ("aaaaaaaa\\000aaa", "aaaaaaaa\\377aaa", "'; --aaaaaaaa", "a" * 5000):
        answer = Client().get("/portal/devices/", HTTP_COOKIE=f'{settings.SESSION_COOKIE_NAME}="{key}"')
        assert answer.status_code == 302
