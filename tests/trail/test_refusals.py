"""Log-ins, failed ones, and refused credentials in the trail: few rows, however many there are."""

from collections.abc import Callable

import pytest
from django.db.models import Max
from django.test import Client

from tests.account.people import logged_in, person, try_password
from tests.support import factories
from users.trail import notes, tally
from users.trail.acting import acting
from users.trail.models import Entry

pytestmark = pytest.mark.django_db


def refuse(authorization: str, **meta: str) -> None:
    answer = Client(**meta).get("/devices/", headers={"Authorization": authorization})
    assert answer.status_code == 401


@pytest.fixture
def entries(db) -> Callable[[str], list[Entry]]:
    """The entries of an action since the test began: nothing empties the trail between tests."""
    newest = Entry.objects.aggregate(newest=Max("id"))["newest"] or 0
    return lambda action: list(Entry.objects.filter(action=action, pk__gt=newest).order_by("id"))


def let_the_window_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes.tally, "end", 0.0)


def test_log_in_and_log_out_are_noted_with_the_address():
    user = person()
    client = logged_in(user, REMOTE_ADDR="203.0.113.7")
    client.post("/portal/logout/")
    for action in ("logged_in", "logged_out"):
        [entry] = Entry.objects.filter(action=action, thing=f"user:{user.pk}")
        assert (entry.actor, entry.address) == (user.login, "203.0.113.7")


def test_a_wrong_password_is_noted_and_what_was_typed_is_not(entries):
    user = person()
    try_password(user.login.upper(), "wrong-password", REMOTE_ADDR="203.0.113.7")
    try_password("my-password-in-the-wrong-field", "wrong-password")
    known, unknown = entries("log_in_failed")
    assert (known.thing, known.label, known.actor) == (f"user:{user.pk}", user.login, "")
    assert known.address == "203.0.113.7"
    assert (unknown.thing, unknown.label) == ("", "unknown")
    assert "my-password" not in str(list(Entry.objects.values()))


@pytest.mark.parametrize("state", ["unknown", "revoked", "deactivated"])
def test_a_refused_token_is_noted_by_its_prefix(state, entries):
    user = factories.owner(is_active=state != "deactivated")
    token, text = factories.token(user)
    if state == "revoked":
        token.revoke(token.created_at)
    if state == "unknown":
        text = f"{token.prefix}.{'x' * 43}"
    refuse(f"Token {text}", REMOTE_ADDR="203.0.113.7")
    [entry] = entries("refused")
    assert (entry.kind, entry.label, entry.address) == ("token", token.prefix, "203.0.113.7")
    assert text.partition(".")[2] not in str(list(Entry.objects.values()))


def test_a_text_that_is_no_credential_is_not_named(entries):
    refuse("Token my-password")
    refuse("Device my-password")
    assert [(entry.kind, entry.label) for entry in entries("refused")] == [
        ("token", "unknown"),
        ("device_key", "unknown"),
    ]


def test_a_thousand_refusals_of_one_credential_are_two_entries(monkeypatch, entries):
    with acting(lambda: {"address": "203.0.113.7"}):
        for _ in range(1000):
            notes.note_refusal("refused", "token", label="plt_00000000")
    assert len(entries("refused")) == 1
    let_the_window_end(monkeypatch)
    # Any request writes the count, such as a probe.
    Client().get("/livez")
    first, rest = entries("refused")
    assert (first.times, first.until) == (1, None)
    assert (rest.times, rest.label, rest.address) == (999, first.label, first.address)
    assert rest.until > first.at
    assert not notes.tally.is_due()


def test_a_thousand_different_ones_are_few_entries(monkeypatch, entries):
    for number in range(1000):
        notes.note_refusal("refused", "token", label=f"plt_{number:08}")
    assert len(entries("refused")) == tally.MOST_KEYS
    let_the_window_end(monkeypatch)
    notes.write_counts()
    *_, others = entries("refused")
    assert (others.label, others.times) == ("many others", 1000 - tally.MOST_KEYS)


def test_a_good_credential_leaves_no_entry():
    _, text = factories.token()
    before = Entry.objects.count()
    assert Client().get("/devices/", headers={"Authorization": f"Token {text}"}).status_code == 200
    assert Entry.objects.count() == before
