"""A process hashes a few passwords at a time; whatever needs one more is refused with 429."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Thread

import pytest
from axes.models import AccessAttempt
from django.test import Client
from django.utils import timezone

from tests.account.people import PASSWORD, later, logged_in, person, try_password
from tests.account.test_email import NEW, RESET, link_in
from tests.support.portal import Portal, eventually
from users.account import hashing
from users.account.hashing import Places, TooManyHashes
from users.account.invitations import invite
from users.models import Role, User


@pytest.fixture(autouse=True)
def quick(settings) -> None:
    settings.PASSWORD_HASHERS = ["tests.account.guessing.hashers.QuickHasher"]


class TestPlaces:
    def test_as_many_wait_as_work_and_the_next_is_turned_away(self, monkeypatch):
        monkeypatch.setattr(hashing, "PATIENCE_SECONDS", 60)
        places, done = Places(1), []

        def wait_for_a_place() -> None:
            with places.one():
                done.append(True)

        with places.one():
            waiting = Thread(target=wait_for_a_place)
            waiting.start()
            eventually(lambda: places.admitted == 2)
            with pytest.raises(TooManyHashes), places.one():
                pass
            assert not done
        waiting.join()
        assert done

    def test_nobody_waits_for_ever(self, monkeypatch):
        monkeypatch.setattr(hashing, "PATIENCE_SECONDS", 0.01)
        places = Places(1)
        with places.one(), pytest.raises(TooManyHashes), places.one():
            pass
        with places.one():
            assert places.admitted == 1


@pytest.fixture
def full(monkeypatch) -> Iterator[ExitStack]:
    """All places but one are taken, and nobody gets the last in time, until the stack is closed."""
    monkeypatch.setattr(hashing, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(hashing, "places", Places(1))
    with ExitStack() as stack:
        stack.enter_context(hashing.places.one())
        yield stack


def is_refused(answer) -> bool:
    return answer.status_code == 429 and int(answer["Retry-After"]) > 0


@pytest.mark.django_db
class TestPages:
    """Each way to a hash. The people are made before the places are taken."""

    @pytest.fixture
    def ada(self) -> User:
        return person()

    @pytest.fixture
    def seen(self, ada) -> Client:
        return logged_in(ada)

    def test_a_log_in_is_refused_and_not_counted(self, ada, full):
        for login in (ada.login, "nobody"):
            answer = try_password(login, "wrong")
            assert is_refused(answer)
            assert b"Too many attempts" in answer.content
        assert not AccessAttempt.objects.exists()
        hashing.places.admitted += 1
        assert is_refused(try_password(ada.login))
        hashing.places.admitted -= 1
        full.close()
        assert try_password(ada.login).status_code == 302

    def test_so_is_a_changed_password(self, ada, seen, full):
        fields = {"oldpassword": PASSWORD, **NEW}
        assert is_refused(seen.post("/portal/account/password/change/", fields))
        ada.refresh_from_db()
        full.close()
        assert ada.check_password(PASSWORD)

    def test_so_is_proving_who_one_is(self, seen, full):
        assert is_refused(later(seen).post("/portal/account/reauthenticate/", {"password": PASSWORD}))

    def test_so_is_a_forgotten_password(self, ada, mail, full):
        Client().post(RESET, {"email": ada.email})
        guest = Client()
        shown = guest.get(link_in(mail[0]), follow=True)
        assert is_refused(guest.post(shown.request["PATH_INFO"], NEW))

    def test_so_is_an_invitation(self, full):
        admin = User.objects.create(login="a", email="a@example.com", role=Role.ADMIN)
        _row, secret = invite("m@example.com", Role.OWNER, by=admin, now=timezone.now())
        fields = {"name": "Mary", "login": "mary", **NEW}
        assert is_refused(Client().post(f"/portal/account/invited/{secret}/", fields))
        assert not User.objects.filter(login="mary").exists()
        full.close()
        assert Client().post(f"/portal/account/invited/{secret}/", fields).status_code == 302


def test_a_flood_of_log_ins_stops_nobody(portal: Portal, owner):
    """300 log-ins at once without credentials, each for another login; meanwhile others are answered."""
    page = portal.request("GET", "/portal/login/")
    token = page.cookies["csrftoken"]
    with ExitStack() as stack:
        flood = [
            stack.enter_context(socket.create_connection(("127.0.0.1", portal.port), 60)) for _ in range(300)
        ]
        for number, connection in enumerate(flood):
            body = f"csrfmiddlewaretoken={token}&username=nobody-{number}&password=x"
            head = (
                f"POST /portal/login/ HTTP/1.1\r\nHost: 127.0.0.1:{portal.port}\r\n"
                f"Cookie: csrftoken={token}\r\n"
                f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall((head + body).encode())
        for _ in range(5):
            assert portal.request("GET", "/healthz").status_code == 204
            assert portal.get("/devices/", owner.token) == []
        answers = [connection.recv(65536) for connection in flood]
    refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 429")]
    assert all(b"retry-after: " in answer.lower() for answer in refused)
    tried = portal.query("DELETE FROM axes_accessattempt WHERE username LIKE 'nobody-%' RETURNING username")
    # Wrong, and told so; their number depends on the machine.
    assert 0 < len(tried) == len(answers) - len(refused) < 100
