"""What an entry says of before and after, for people."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from users.trail.models import Entry

# A column with the id of a user.
OF_USER = ("owner_id", "user_id", "invited_by_id", "accepted_by_id", "author_id", "asked_by_id")
MOST_CHARACTERS = 200


class ValueChange(NamedTuple):
    name: str
    before: str
    after: str


def user_ids(entries: Iterable[Entry]) -> set[int]:
    """Ids of the users that the entries' values name."""
    sides = (side for entry in entries for side in (entry.before, entry.after) if side)
    return {side[name] for side in sides for name in OF_USER if isinstance(side.get(name), int)}


def changes_of(entry: Entry, logins: Mapping[int, str]) -> list[ValueChange]:
    """The entry's values by name; of what was created or deleted, those that are not empty."""
    before, after = entry.before or {}, entry.after or {}
    found = []
    for name in sorted({*before, *after} - {"id"}):
        old, new = (value_text(name, side.get(name), logins) for side in (before, after))
        if entry.action == "changed" or old or new:
            found.append(ValueChange(name.removesuffix("_id").replace("_", " "), old, new))
    return found


def value_text(name: str, value: Any, logins: Mapping[int, str]) -> str:
    if name in OF_USER and isinstance(value, int):
        return logins.get(value, f"user {value}")
    text = text_of(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def text_of(value: Any) -> str:
    """A text as it is, nothing as nothing, anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
