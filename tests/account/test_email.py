"""Mail: a forgotten password, and a change of email."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from axes.models import AccessAttempt
from django.core import signing
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from tests.account.people import PASSWORD, later, logged_in, person, try_password
from tests.support import factories
from users.account import email_change
from users.account.lockout import LOCK_SECONDS, LOGIN_FAILURES, PAIR_FAILURES, RESET_LINKS
from users.models import Role, User
from users.trail.models import Entry

pytestmark = pytest.mark.django_db
RESET, CHANGE = "/portal/account/password/reset/", "/portal/account/email/"
NEW = {"password1": "nine-lines-down", "password2": "nine-lines-down"}


def link_in(message) -> str:
    [path] = re.findall(r"http://testserver(\S+)", message.body)
    return path


def ajax(path: str) -> HttpResponse:
    return Client().get(path, headers={"X-Requested-With": "XMLHttpRequest"})


def reset_with(path: str) -> int:
    """Follow the link of a mail and set a new password; return the status of the last answer."""
    client = Client()
    shown = client.get(path, follow=True)
    return client.post(shown.request["PATH_INFO"], NEW).status_code


class TestForgottenPassword:
    def test_a_link_sets_a_new_one_once(self, mail):
        user = person()
        session = logged_in(user)
        assert Client().post(RESET, {"email": user.email.upper()}).status_code == 302
        [message] = mail
        assert (message.to, message.subject[:11]) == ([user.email], "[Plumbline]")
        path = link_in(message)
        assert reset_with(path) == 302
        assert try_password(user.login, NEW["password1"]).status_code == 302
        assert try_password(user.login, PASSWORD).status_code == 200
        assert session.get("/portal/devices/").status_code == 302
        assert "void" in Client().get(path, follow=True).content.decode()

    def test_the_key_leaves_the_address_of_the_form(self, mail):
        user = person()
        Client().post(RESET, {"email": user.email})
        path = link_in(mail[0])
        shown = Client().get(path, follow=True)
        assert shown.request["PATH_INFO"].endswith("-set-password/")
        assert path.rpartition("-")[2].strip("/") not in shown.content.decode() + str(shown.cookies)

    def test_an_unknown_address_looks_the_same_and_gets_no_mail(self, mail):
        known, unknown = person().email, "nobody@example.com"
        answers = [Client().post(RESET, {"email": email}, follow=True) for email in (known, unknown)]
        assert answers[0].content == answers[1].content
        assert [message.to for message in mail] == [[known]]

    def test_a_deactivated_user_gets_none(self, mail):
        user = person(is_active=False)
        Client().post(RESET, {"email": user.email})
        assert not [message for message in mail if "password/reset/key" in message.body]

    def test_the_link_of_another_does_not_fit(self, mail):
        user, other = person(), person()
        Client().post(RESET, {"email": user.email})
        Client().post(RESET, {"email": other.email})
        first, second = (link_in(message).strip("/").rpartition("/")[2].split("-", 1) for message in mail)
        mixed = f"{RESET}key/{first[0]}-{second[1]}/"
        assert "void" in Client().get(mixed, follow=True).content.decode()

    def test_many_requests_for_one_address_are_refused(self, mail):
        user = person()
        statuses = [Client().post(RESET, {"email": user.email}).status_code for _ in range(8)]
        assert statuses[-1] == 429
        assert len(mail) <= 5

    def test_keys_cannot_be_tried_out(self):
        paths = [f"{RESET}key/1-{number:06}-{'a' * 32}/" for number in range(25)]
        for number, path in enumerate(paths):
            ask = (Client().get, Client().post, ajax)[number % 3]
            assert ask(path).status_code == (429 if number >= PAIR_FAILURES else 200)
        entry = Entry.objects.filter(label=RESET_LINKS).latest("id")
        assert (entry.action, entry.address, entry.thing) == ("refused", "127.0.0.1", "")

    def test_a_guesser_locks_the_links_at_one_address_only(self, mail):
        user = person()
        Client().post(RESET, {"email": user.email})
        path = link_in(mail[0])
        for _ in range(PAIR_FAILURES):
            Client().get(f"{path[:-9]}{'0' * 8}/")
        refused = Client().get(path)
        assert refused.status_code == 429
        assert 0 < int(refused["Retry-After"]) <= LOCK_SECONDS
        assert "You have tried too often" in refused.content.decode()
        assert Client().get(path, REMOTE_ADDR="127.0.0.2").status_code == 302
        assert try_password(person().login).status_code == 302
        AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(seconds=LOCK_SECONDS + 1))
        assert reset_with(path) == 302

    def test_many_guessers_take_the_links_away_from_nobody(self, mail):
        user = person()
        Client().post(RESET, {"email": user.email})
        for number in range(LOGIN_FAILURES // PAIR_FAILURES + 1):
            fields = {"user_agent": "", "failures_since_start": PAIR_FAILURES}
            AccessAttempt.objects.create(username=RESET_LINKS, ip_address=f"1.1.1.{number}", **fields)
        assert reset_with(link_in(mail[0])) == 302

    def test_a_right_key_is_no_try(self, mail):
        user = person()
        Client().post(RESET, {"email": user.email})
        for _ in range(PAIR_FAILURES + 1):
            assert Client().get(link_in(mail[0])).status_code == 302

    def test_without_mail_the_page_says_so(self):
        page = Client().get(RESET).content.decode()
        assert "no mail server" in page
        assert "Send a link" not in page
        done = Client().post(RESET, {"email": person().email}, follow=True)
        assert "No mail was sent" in done.content.decode()

    def test_a_mail_server_that_is_away_shows_nobody_who_exists(self, settings, caplog):
        settings.MAIL_IS_SET_UP = True
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", 1, 1
        for email in (person().email, "nobody@example.com"):
            assert Client().post(RESET, {"email": email}).status_code == 302
        assert "could not be sent" in caplog.text

    def test_a_file_takes_the_mail_of_the_demo(self, settings, tmp_path: Path):
        settings.MAIL_IS_SET_UP = True
        settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
        settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
        user = person()
        Client().post(RESET, {"email": user.email})
        [file] = (tmp_path / "mail").iterdir()
        assert user.email in file.read_text()
        assert "/password/reset/key/" in file.read_text()

    def test_no_log_has_the_link(self, mail, caplog):
        caplog.set_level("DEBUG")
        user = person()
        Client().post(RESET, {"email": user.email})
        path = link_in(mail[0])
        reset_with(path)
        assert path.strip("/").rpartition("-")[2] not in caplog.text
        assert NEW["password1"] not in caplog.text


class TestChange:
    def ask(self, user: User, mail, email: str = "new@example.com") -> str:
        assert logged_in(user).post(CHANGE, {"email": email}).status_code == 200
        [message] = [message for message in mail if message.to == [email]]
        return link_in(message)

    def test_the_new_address_counts_once_it_is_confirmed(self, mail):
        user = person()
        path, old = self.ask(user, mail), user.email
        user.refresh_from_db()
        assert user.email == old
        # Programs that scan mails follow links: looking changes nothing.
        assert Client().get(path).status_code == 200
        user.refresh_from_db()
        assert user.email == old
        assert Client().post(path).status_code == 200
        user.refresh_from_db()
        assert user.email == "new@example.com"
        assert Client().post(path).status_code == 410

    def test_it_outlives_the_replacement_of_the_secret_key(self, mail, settings):
        user = person()
        path = self.ask(user, mail)
        former = settings.SECRET_KEY
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 40, []
        assert Client().post(path).status_code == 410
        settings.SECRET_KEY_FALLBACKS = [former]
        assert Client().post(path).status_code == 200

    def test_an_older_link_is_void_after_a_change(self, mail):
        user = person()
        first, second = self.ask(user, mail, "a@example.com"), self.ask(user, mail, "b@example.com")
        assert Client().post(second).status_code == 200
        assert Client().post(first).status_code == 410

    def test_a_new_password_voids_it(self, mail):
        user = person()
        path = self.ask(user, mail, "evil@example.net")
        user.set_password("nine-lines-down")
        user.save()
        assert Client().post(path).status_code == 410
        user.refresh_from_db()
        assert user.email != "evil@example.net"

    def test_it_stays_void_when_the_old_email_returns(self, mail):
        user = person()
        path, old = self.ask(user, mail), user.email
        assert Client().post(path).status_code == 200
        User.objects.filter(pk=user.pk).update(email=old)
        assert Client().post(path).status_code == 410

    def test_an_admins_change_there_and_back_voids_it(self, mail):
        user, admin = person(), logged_in(person(Role.ADMIN))
        path, api = self.ask(user, mail), f"/users/{user.pk}/"
        for email in ("between@example.com", user.email):
            assert admin.patch(api, {"email": email}, content_type="application/json").status_code == 200
        assert Client().post(path).status_code == 410

    def test_the_old_address_is_told_of_it(self, mail):
        user = person()
        path = self.ask(user, mail)
        Client().post(path)
        told = [message for message in mail if message.to == [user.email]]
        assert [message.subject for message in told] == [
            "[Plumbline] A new email was asked for",
            "[Plumbline] Your email was changed",
        ]
        for message in told:
            assert "new@example.com" in message.body
            assert path not in message.body

    def test_it_expires(self, mail, monkeypatch):
        path = self.ask(person(), mail)
        monkeypatch.setattr(email_change, "MAX_AGE_SECONDS", -1)
        assert Client().post(path).status_code == 410

    def test_a_taken_address_looks_like_a_free_one_and_its_holder_is_told(self, mail):
        other, user = person(), person()
        client = logged_in(user)
        pages = [
            client.post(CHANGE, {"email": email}).content.decode().replace(email, "…")
            for email in (other.email.upper(), "free@example.com")
        ]
        pages = [re.sub(r'value="\w{64}"', "", page) for page in pages]
        assert pages[0] == pages[1]
        told, asked = [message for message in mail if message.to != [user.email]]
        assert (told.to, asked.to) == ([other.email.upper()], ["free@example.com"])
        assert "another account" in told.subject
        assert "/portal/account/email/" not in told.body

    def test_it_sends_no_mails_without_end(self, mail):
        client = logged_in(person())
        statuses = [client.post(CHANGE, {"email": "new@example.com"}).status_code for _ in range(12)]
        sent = [message for message in mail if message.to == ["new@example.com"]]
        assert (statuses[0], statuses[-1], len(sent)) == (200, 429, 10)

    def test_an_address_taken_meanwhile_is_refused(self, mail):
        user = person()
        path = self.ask(user, mail)
        User.objects.create_user("x", "NEW@example.com")
        assert Client().post(path).status_code == 410

    @pytest.mark.parametrize(
        "secret", ["x", "a:b:c", signing.dumps([1, "a", "b"])], ids=["x", "parts", "another salt"]
    )
    def test_a_forged_link_is_refused(self, secret):
        assert Client().post(f"{CHANGE}{secret}/").status_code == 410

    def test_an_old_log_in_is_asked_for_the_password_first(self, mail):
        answer = later(logged_in(person())).post(CHANGE, {"email": "new@example.com"})
        assert answer["Location"].startswith("/portal/account/reauthenticate/")
        assert not mail

    def test_without_mail_the_page_says_so(self):
        user = person()
        client = logged_in(user)
        assert "no mail server" in client.get(CHANGE).content.decode()
        assert "no mail server" in client.post(CHANGE, {"email": "new@example.com"}).content.decode()


class TestChangeByTheApi:
    def change(self, client: Client, user: User, email: str, **headers: str) -> HttpResponse:
        path, body = f"/users/{user.pk}/", {"email": email}
        return client.patch(path, body, content_type="application/json", headers=headers)

    def test_a_token_does_not_take_over_its_account(self, mail):
        user = person()
        _, text = factories.token(user, scopes=["write"])
        answer = self.change(Client(), user, "evil@example.net", Authorization=f"Token {text}")
        assert answer.status_code == 400
        [error] = answer.json()["errors"]
        assert (error["field"], CHANGE in error["message"]) == ("email", True)
        Client().post(RESET, {"email": "evil@example.net"})
        assert not mail

    def test_nor_does_a_session(self):
        for user in (person(), person(Role.STAFF)):
            client, email = logged_in(user), user.email
            assert self.change(client, user, "evil@example.net").status_code == 400
            user.refresh_from_db()
            assert user.email == email
            assert self.change(client, user, email).status_code == 200

    def test_it_does_not_tell_which_emails_are_in_use(self):
        user, other = person(), person()
        answers = [self.change(logged_in(user), user, email) for email in (other.email, "nobody@example.net")]
        assert answers[0].json()["errors"] == answers[1].json()["errors"]

    def test_an_admin_changes_those_of_others(self):
        user = person()
        assert self.change(logged_in(person(Role.ADMIN)), user, "new@example.com").status_code == 200
        user.refresh_from_db()
        assert user.email == "new@example.com"
