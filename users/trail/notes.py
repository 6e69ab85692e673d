"""Entries that no change of a row shows: log-ins, refused credentials, deleted readings."""

import logging
import re
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from users.trail.acting import facts
from users.trail.models import Entry
from users.trail.tally import Tally

logger = logging.getLogger(__name__)

PREFIX = re.compile(r"(pl[td]_[0-9a-f]{8})\.")
UNKNOWN = "unknown"


class Refused(NamedTuple):
    """What counts as the same, refused again. No text that somebody typed: it may be a password."""

    action: str
    kind: str
    thing: str = ""
    label: str = ""
    address: str | None = None


# In each process.
tally = Tally(Refused("refused", "token", label="many others"))


def note(action: str, kind: str, thing: str, label: str, *, parent: str = "") -> None:
    """Add an entry of whoever acts, in the transaction of what happened."""
    Entry.objects.create(
        at=timezone.now(), action=action, kind=kind, thing=thing, label=label, parent=parent, **known_facts()
    )


def note_session(action: str, user: Any) -> None:
    """Note that a user logged in or out: the request's user may still be, or already be, nobody."""
    acting = known_facts() | {"actor_id": user.pk, "actor": user.login}
    Entry.objects.create(
        at=timezone.now(), action=action, kind="user", thing=f"user:{user.pk}", label=user.login, **acting
    )


def known_facts() -> dict[str, Any]:
    found = facts()
    texts = {name: found.get(name) or "" for name in ("actor", "credential", "request_id", "source")}
    return {**texts, "actor_id": found.get("actor_id"), "address": found.get("address")}


def on_failed_log_in(credentials: dict[str, Any], **_: Any) -> None:
    """Note a wrong password. An unknown login is not named: people type passwords there."""
    user = known_user(str(credentials.get("username", "")))
    thing, label = (f"user:{user.pk}", user.get_username()) if user else ("", UNKNOWN)
    note_refusal("log_in_failed", "user", thing, label)


def on_wrong_code(user: Any, reauthentication: bool, **_: Any) -> None:
    """Note a wrong code of an authenticator app, or a wrong recovery code, after a right password."""
    action = "refused" if reauthentication else "log_in_failed"
    note_refusal(action, "second_factor", f"user:{user.pk}", user.get_username())


def note_unlocking(login: str, address: str | None) -> None:
    """Note that whoever acts lets a login at an address try again. An unknown one is not named."""
    user = known_user(login)
    label = user.get_username() if user else UNKNOWN
    note("unlocked", "user", f"user:{user.pk}" if user else "", f"{label} at {address}" if address else label)


def known_user(login: str) -> Any:
    users = get_user_model().objects
    try:
        return users.get_by_natural_key(login.replace("\0", "").encode(errors="replace").decode())
    except get_user_model().DoesNotExist:
        return None


def note_refused_credential(kind: str, text: str) -> None:
    """Note a token or key that was not accepted, by its prefix, which is no secret."""
    prefix = PREFIX.match(text)
    label = prefix[1] if prefix else UNKNOWN
    note_refusal("refused", kind, label=label)


def note_refusal(action: str, kind: str, thing: str = "", label: str = "") -> None:
    """Note a refusal of whoever makes the request; count it if the same was refused a moment ago."""
    known, now = known_facts(), timezone.now()
    refusal = Refused(action, kind, thing, label, known["address"])
    if tally.is_first(refusal, now):
        # Nobody acts: the credential was not accepted.
        unnamed = known | {"actor_id": None, "actor": "", "credential": ""}
        Entry.objects.create(at=now, **unnamed | refusal._asdict())


def write_counts() -> None:
    """Write how often refusals were repeated since their first entries."""
    try:
        Entry.objects.bulk_create(
            Entry(at=count.until, until=count.until, times=count.times, **refusal._asdict())
            for refusal, count in tally.take()
        )
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Repeated refusals are missing in the trail: %s", error)
