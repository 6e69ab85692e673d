"""The page of one's own tokens."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.account.people import PASSWORD, later, logged_in, person
from tests.support import factories
from tests.users.admin_pages import CREDENTIAL
from users.models import Role, Token

pytestmark = pytest.mark.django_db
PAGE = "/portal/account/tokens/"
NEW = {"name": "export", "scopes": ["read", "ingest"], "days": "30"}


def test_a_token_is_shown_in_the_answer_of_its_post_alone():
    user = person()
    client = logged_in(user)
    answer = client.post(PAGE, NEW)
    [text] = CREDENTIAL.findall(answer.content.decode())
    token = Token.find(text, timezone.now())
    assert (token.user, token.name, token.scopes) == (user, "export", ["read", "ingest"])
    assert timedelta(29) < token.expires_at - timezone.now() <= timedelta(30)
    assert text.partition(".")[2] not in client.get(PAGE).content.decode()
    assert text.partition(".")[2] not in str(answer.cookies) + str(client.session.items())


def test_a_token_without_an_end_has_none():
    user = person()
    logged_in(user).post(PAGE, NEW | {"days": ""})
    assert user.tokens.get().expires_at is None


@pytest.mark.parametrize(
    "fields", [{"scopes": []}, {"scopes": ["admin"]}, {"days": "9999"}, {"name": ""}, {"name": "x" * 101}]
)
def test_nonsense_issues_no_token(fields):
    user = person()
    assert logged_in(user).post(PAGE, NEW | fields).status_code == 400
    assert not user.tokens.exists()


def test_an_old_log_in_is_asked_for_the_password_first():
    user = person()
    client = later(logged_in(user))
    asked = client.post(PAGE, NEW)
    assert asked["Location"].startswith("/portal/account/reauthenticate/")
    assert not user.tokens.exists()
    wrong = client.post(asked["Location"], {"password": "wrong"})
    assert wrong.status_code == 200
    assert not user.tokens.exists()
    done = client.post(asked["Location"], {"password": PASSWORD}, follow=True)
    assert len(CREDENTIAL.findall(done.content.decode())) == user.tokens.count() == 1


def test_an_old_log_in_makes_none_by_the_api():
    user = person()
    client, path = logged_in(user), f"/users/{user.pk}/tokens/"
    assert client.post(path, {"name": "fresh"}, content_type="application/json").status_code == 201
    refused = later(client).post(path, {"name": "old"}, content_type="application/json")
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    [confirm] = re.findall(r"/portal/account/reauthenticate/\S+\w", refused.json()["detail"])
    assert client.post(confirm, {"password": PASSWORD})["Location"] == "/docs"
    assert client.post(path, {"name": "new"}, content_type="application/json").status_code == 201
    assert set(user.tokens.values_list("name", flat=True)) == {"fresh", "new"}


def test_an_old_admin_makes_none_for_others_by_the_api():
    path = f"/users/{person().pk}/tokens/"
    refused = later(logged_in(person(Role.ADMIN))).post(path, {}, content_type="application/json")
    assert refused.status_code == 403
    assert not Token.objects.exists()


def test_one_revokes_ones_own():
    user = person()
    token, text = factories.token(user)
    logged_in(user).post(f"{PAGE}{token.prefix}/revoke/")
    assert Token.find(text, timezone.now()) is None


def test_a_stranger_neither_sees_nor_revokes_it():
    token, text = factories.token(person(), name="precious")
    stranger = logged_in(person())
    assert "precious" not in stranger.get(PAGE).content.decode()
    assert stranger.post(f"{PAGE}{token.prefix}/revoke/").status_code == 404
    assert Token.find(text, timezone.now()) is not None


def test_revoking_needs_a_post():
    user = person()
    token, _ = factories.token(user)
    assert logged_in(user).get(f"{PAGE}{token.prefix}/revoke/").status_code == 405


def test_queries_do_not_grow_with_the_tokens():
    user = person()
    client = logged_in(user)
    factories.token(user)
    client.get(PAGE)
    with CaptureQueriesContext(connection) as before:
        client.get(PAGE)
    for _ in range(60):
        factories.token(user)
    with CaptureQueriesContext(connection) as after:
        page = client.get(PAGE).content.decode()
    assert len(after) == len(before)
    assert "Page 1 of 2" in page
