"""Kinds of events that are logged about people, and one event. Only values: no database, no clock."""

import hashlib
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

LOGIN, LOGOUT = "login", "logout"
CREATE_POST, DELETE_POST, COMMENT = "create_post", "delete_post", "comment"

# Every storage can hold stamps within these bounds; ClickHouse's DateTime64 spans 1900 to 2299.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


class EventKind(NamedTuple):
    """`number` is what PostgreSQL stores; `space` names the object: nothing (global), a blog or a post."""

    number: int
    space: str


EVENT_KINDS = {
    LOGIN: EventKind(1, "global"),
    LOGOUT: EventKind(2, "global"),
    CREATE_POST: EventKind(3, "blog"),
    DELETE_POST: EventKind(4, "blog"),
    COMMENT: EventKind(5, "post"),
}
BLOG_ACTIONS = (CREATE_POST, DELETE_POST)


class Event(NamedTuple):
    """An event, which the logs store once by its `id`."""

    id: UUID
    user_id: int
    name: str
    at: datetime
    object_id: int | None = None


def event_id(sender: str, own_id: str) -> UUID:
    """Make the id of the event that a sender calls `own_id`; equal arguments make equal ids."""
    digest = hashlib.sha256(f"{sender}\0{own_id}".encode()).digest()
    return UUID(bytes=digest[:16])
