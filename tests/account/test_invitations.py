"""Invitations: a link, used once and in time, makes an account with the role that an admin chose."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics.activity.models import PendingEvent
from tests.account.people import logged_in, person
from users.account.invitations import InvitationRefused, accept, invite, open_invitation
from users.models import Invitation, Role, User

pytestmark = pytest.mark.django_db
PAGE = "/portal/account/invitations/"
INVITED = {"email": "mary@example.com", "role": "staff"}
FORM = {"name": "Mary", "login": "mary", "password1": "nine-lines-down", "password2": "nine-lines-down"}
LINK = re.compile(r"http://testserver(/portal/account/invited/[^<\s]+/)")


def link(admin: Client, **fields: str) -> str:
    [path] = LINK.findall(admin.post(PAGE, INVITED | fields).content.decode())
    return path


@pytest.fixture
def admin() -> Client:
    return logged_in(person(Role.ADMIN))


def test_an_invited_person_makes_their_own_account(admin):
    path, guest = link(admin), Client()
    assert "mary@example.com" in guest.get(path).content.decode()
    assert guest.post(path, FORM).status_code == 302
    mary = User.objects.get(login="mary")
    assert (mary.email, mary.role, mary.check_password("nine-lines-down")) == (
        "mary@example.com",
        "staff",
        True,
    )
    assert guest.get("/portal/devices/").status_code == 200
    assert [event.name for event in PendingEvent.objects.filter(user_id=mary.pk)] == ["login"]
    assert "Accepted" in admin.get(PAGE).content.decode()


def test_the_link_is_shown_once_and_not_stored(admin):
    path = link(admin)
    secret = path.rstrip("/").rpartition("/")[2]
    assert secret not in admin.get(PAGE).content.decode()
    assert secret.partition(".")[2] not in str(Invitation.objects.values().get())


def test_it_is_sent_where_mail_works(admin, mail):
    path = link(admin)
    [message] = mail
    assert (message.to, path in message.body) == (["mary@example.com"], True)


def test_without_mail_the_page_says_so(admin):
    assert "no mail server" in admin.post(PAGE, INVITED).content.decode()


def test_a_link_works_once(admin):
    path = link(admin)
    Client().post(path, FORM)
    again = Client().post(path, FORM | {"login": "other"})
    assert again.status_code == 410
    assert Client().get(path).status_code == 410
    assert not User.objects.filter(login="other").exists()


def test_two_at_once_make_one_account(admin):
    """Both have seen the open invitation before either is done."""
    path, now = link(admin), timezone.now()
    secret = path.rstrip("/").rpartition("/")[2]
    first, second = open_invitation(secret, now), open_invitation(secret, now)
    accept(first, login="a", name="A", password="nine-lines-down", now=now)
    with pytest.raises(InvitationRefused):
        accept(second, login="b", name="B", password="nine-lines-down", now=now)


@pytest.mark.parametrize(
    "change",
    [
        {"expires_at": timezone.now() - timedelta(seconds=1)},
        {"revoked_at": timezone.now()},
        {"invited_by": None},
    ],
    ids=["expired", "withdrawn", "inviter deleted"],
)
def test_a_void_one_is_refused(admin, change):
    path = link(admin)
    Invitation.objects.update(**change)
    assert Client().post(path, FORM).status_code == 410
    assert not User.objects.filter(login="mary").exists()


@pytest.mark.parametrize("change", [{"role": Role.STAFF}, {"is_active": False}])
def test_who_is_no_admin_any_more_invites_nobody(change):
    inviter = person(Role.ADMIN)
    person(Role.ADMIN)
    path = link(logged_in(inviter))
    User.objects.filter(pk=inviter.pk).update(**change)
    assert Client().post(path, FORM).status_code == 410


def test_a_new_one_replaces_the_old(admin):
    old, new = link(admin), link(admin, email="MARY@example.com")
    assert Client().get(old).status_code == 410
    assert Client().get(new).status_code == 200


def test_one_is_withdrawn(admin):
    path = link(admin)
    admin.post(f"{PAGE}{Invitation.objects.get().prefix}/withdraw/")
    assert Client().get(path).status_code == 410


@pytest.mark.parametrize("role", [Role.STAFF, Role.OWNER])
def test_only_admins_invite(role):
    invitation, _ = invite("x@example.com", Role.OWNER, by=person(Role.ADMIN), now=timezone.now())
    stranger = logged_in(person(role))
    assert stranger.get(PAGE).status_code == 403
    assert stranger.post(PAGE, INVITED).status_code == 403
    assert stranger.post(f"{PAGE}{invitation.prefix}/withdraw/").status_code == 403
    assert Invitation.objects.filter(revoked_at=None).count() == 1


@pytest.mark.parametrize("field", ["role", "email", "is_active"])
def test_the_invited_person_cannot_choose_more(admin, field):
    path = link(admin, role="owner")
    Client().post(path, FORM | {field: "admin"})
    mary = User.objects.get(login="mary")
    assert (mary.role, mary.email, mary.is_active) == ("owner", "mary@example.com", True)


@pytest.mark.parametrize(
    "fields",
    [
        {"password2": "another-7-line"},
        {"password1": "short", "password2": "short"},
        {"password1": "mary@example.com", "password2": "mary@example.com"},
        {"password1": "password1234", "password2": "password1234"},
        {"login": "not a login"},
        {"login": ""},
        {"name": ""},
    ],
)
def test_nonsense_makes_no_account_and_leaves_the_link(admin, fields):
    path = link(admin)
    assert Client().post(path, FORM | fields).status_code == 400
    assert not User.objects.filter(email="mary@example.com").exists()
    assert Client().post(path, FORM).status_code == 302


def test_a_taken_login_is_told(admin):
    taken = person()
    answer = Client().post(link(admin), FORM | {"login": taken.login.upper()})
    assert (answer.status_code, b"This login is taken." in answer.content) == (400, True)


def test_who_has_an_account_is_not_invited(admin):
    answer = admin.post(PAGE, INVITED | {"email": person().email.upper()})
    assert (answer.status_code, Invitation.objects.count()) == (400, 0)


def test_an_email_used_meanwhile_is_told(admin):
    path = link(admin)
    User.objects.create_user("x", "Mary@Example.com")
    assert Client().post(path, FORM).status_code == 400


@pytest.mark.parametrize(
    "secret", ["x", "pli_00000000.abc", "plt_00000000.abc", "a" * 500, "%00", "pli_0%00"]
)
def test_guessed_links_are_refused(secret):
    assert Client().get(f"/portal/account/invited/{secret}/").status_code == 410


def test_no_log_has_the_link_or_the_password(admin, caplog):
    caplog.set_level("DEBUG")
    path = link(admin)
    Client().post(path, FORM)
    assert path.rstrip("/").rpartition("/")[2].partition(".")[2] not in caplog.text
    assert FORM["password1"] not in caplog.text


def test_queries_do_not_grow_with_the_invitations(admin):
    by = person(Role.ADMIN)
    invite("a@example.com", Role.OWNER, by=by, now=timezone.now())
    admin.get(PAGE)
    with CaptureQueriesContext(connection) as before:
        admin.get(PAGE)
    for number in range(20):
        invite(f"{number}@example.com", Role.OWNER, by=by, now=timezone.now())
    with CaptureQueriesContext(connection) as after:
        admin.get(PAGE)
    assert len(after) == len(before)
