"""Wrong passwords lock a login at an address; other addresses stay open until a higher bound."""

from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.test import Client
from django.utils import timezone

from tests.account.guessing.hashers import WatchedHasher
from tests.account.people import PASSWORD, person, try_password
from tests.support.concurrency import at_the_same_time
from users.account.lockout import ADDRESS_FAILURES, LOCK_SECONDS, LOGIN_FAILURES, PAIR_FAILURES
from users.models import Role, User
from users.trail.models import Entry

pytestmark = pytest.mark.django_db
PAGES = pytest.mark.parametrize("page", ["/portal/login/", "/admin/login/"])


@pytest.fixture
def ada() -> User:
    return person()


def fail(login: str, times: int = PAIR_FAILURES, **meta: str) -> None:
    for _ in range(times):
        assert try_password(login, "wrong", **meta).status_code in (200, 429)


def count(login: str, address: str, failures: int) -> None:
    """Store failures as they are stored one by one."""
    fields = {"user_agent": "", "failures_since_start": failures}
    AccessAttempt.objects.create(username=login, ip_address=address, **fields)


def is_let_in(login: str, **meta: str) -> bool:
    return try_password(login, **meta).status_code == 302


@PAGES
def test_right_password_is_refused_while_locked(ada, page):
    form = {"username": ada.login, "password": "wrong"}
    for _ in range(PAIR_FAILURES):
        answer = Client().post(page, form)
    assert answer.status_code == 429
    locked = Client().post(page, {**form, "password": PASSWORD})
    assert locked.status_code == 429
    assert "sessionid" not in locked.cookies
    assert 0 < int(locked["Retry-After"]) <= LOCK_SECONDS
    assert f"Wait {locked['Retry-After']} seconds" in locked.content.decode()
    assert not is_let_in(ada.login.upper())


def test_fewer_wrong_passwords_do_no_harm(ada):
    fail(ada.login, PAIR_FAILURES - 1)
    assert is_let_in(ada.login)


def test_a_right_password_gives_no_new_tries(ada):
    fail(ada.login, PAIR_FAILURES - 1)
    assert is_let_in(ada.login)
    fail(ada.login, 1)
    assert not is_let_in(ada.login)


def test_two_people_behind_one_proxy_are_told_apart(ada, settings):
    settings.TRUSTED_PROXIES = 1
    proxy = {"REMOTE_ADDR": "10.0.0.1"}
    fail(ada.login, HTTP_X_FORWARDED_FOR="6.6.6.6", **proxy)
    assert not is_let_in(ada.login, HTTP_X_FORWARDED_FOR="6.6.6.6", **proxy)
    assert is_let_in(ada.login, HTTP_X_FORWARDED_FOR="9.9.9.9", **proxy)


def test_a_guesser_cannot_choose_another_address(ada, settings):
    settings.TRUSTED_PROXIES = 1
    for number in range(PAIR_FAILURES):
        fail(ada.login, 1, HTTP_X_FORWARDED_FOR=f"1.1.1.{number}, 6.6.6.6")
    assert not is_let_in(ada.login, HTTP_X_FORWARDED_FOR="2.2.2.2, 6.6.6.6")


def test_the_header_is_not_believed_without_proxies(ada):
    for number in range(PAIR_FAILURES):
        fail(ada.login, 1, HTTP_X_FORWARDED_FOR=f"1.1.1.{number}")
    assert not is_let_in(ada.login, HTTP_X_FORWARDED_FOR="2.2.2.2")


def test_other_people_at_the_address_get_in_until_its_higher_bound(ada):
    fail(ada.login)
    other = person()
    assert is_let_in(other.login)
    count("many", "127.0.0.1", ADDRESS_FAILURES - PAIR_FAILURES)
    assert not is_let_in(other.login)
    assert is_let_in(other.login, REMOTE_ADDR="127.0.0.2")


def test_a_login_guessed_from_everywhere_is_locked_at_its_higher_bound(ada):
    for number in range(LOGIN_FAILURES // 5 - 1):
        count(ada.login, f"1.1.1.{number}", 5)
    assert is_let_in(ada.login)
    count(ada.login, "2.2.2.2", 5)
    assert not is_let_in(ada.login)


def test_the_lock_ends_by_itself_and_tries_do_not_prolong_it(ada):
    fail(ada.login, PAIR_FAILURES + 3)
    [attempt] = AccessAttempt.objects.all()
    assert attempt.failures_since_start == PAIR_FAILURES
    old = timezone.now() - timedelta(seconds=LOCK_SECONDS + 1)
    AccessAttempt.objects.update(attempt_time=old)
    assert is_let_in(ada.login)


def test_nothing_typed_into_the_form_is_stored(ada):
    fail("my secret password", 1)
    fail(ada.login, 1)
    stored = str(list(AccessAttempt.objects.values("post_data", "get_data", "user_agent", "http_accept")))
    assert "wrong" not in stored
    assert "csrf" not in stored


@pytest.mark.parametrize("login", ["\0", "x" * 1000, "", "💣"])
def test_strange_logins_are_wrong_and_no_error(login):
    assert try_password(login, "wrong").status_code == 200


def test_log_in_works_without_redis(ada, settings):
    redis = settings.CACHES["redis"] | {"LOCATION": "unix:///nowhere.sock"}
    settings.CACHES = settings.CACHES | {"redis": redis}
    fail(ada.login)
    assert not is_let_in(ada.login)
    assert is_let_in(ada.login, REMOTE_ADDR="127.0.0.2")


def test_an_admin_unlocks_by_deleting_the_row(ada):
    fail(ada.login)
    admin = Client()
    admin.force_login(person(Role.ADMIN, login="grace"))
    [attempt] = AccessAttempt.objects.all()
    page = f"/admin/axes/accessattempt/{attempt.pk}/delete/"
    assert admin.post(page, {"post": "yes"}).status_code == 302
    assert is_let_in(ada.login)
    # One of a text that is no login, which may be a password, from the list.
    try_password("my-password", "wrong")
    chosen = AccessAttempt.objects.filter(username="my-password").values_list("pk", flat=True)
    fields = {"action": "delete_selected", "_selected_action": list(chosen), "post": "yes"}
    assert admin.post("/admin/axes/accessattempt/", fields).status_code == 302
    assert not AccessAttempt.objects.filter(username="my-password").exists()
    entries = Entry.objects.filter(action="unlocked", actor="grace").order_by("id")
    assert [(entry.thing, entry.label) for entry in entries] == [
        (f"user:{ada.pk}", f"{ada.login} at 127.0.0.1"),
        ("", "unknown at 127.0.0.1"),
    ]


def test_staff_do_not_see_attempts():
    colleague = Client()
    colleague.force_login(person(Role.STAFF))
    assert colleague.get("/admin/axes/accessattempt/").status_code == 403


@pytest.mark.django_db(transaction=True)
def test_guesses_at_the_same_time_are_counted_before_they_are_made(ada, settings):
    """Without that, each of them finds the count of before, and is made."""
    count(ada.login, "127.0.0.1", PAIR_FAILURES - 2)
    settings.PASSWORD_HASHERS = ["tests.account.guessing.hashers.WatchedHasher"]
    WatchedHasher.calls.clear()
    at_the_same_time(lambda: try_password(ada.login, "wrong"), times=6)
    # None at all, if each saw the others': better than one too many.
    assert len(WatchedHasher.calls) <= 2
