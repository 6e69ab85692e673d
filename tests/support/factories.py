"""Functions that create rows for tests; people by role: admin, owner, colleague, stranger."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import numpy as np

from analytics.activity import storage
from analytics.activity.events.event import EVENT_KINDS, Event
from analytics.activity.models import Blog, EventType, Post, SpaceType
from devices import exclusions
from devices import storage as readings_storage
from devices.exclusions import Extent
from devices.models import Device, DeviceProfile, Exclusion
from devices.storage import interface, row_codec
from devices.storage.postgresql import readings_by_span
from devices.timeline.instants import unix_microseconds
from devices.timeline.periods import Period
from devices.timeline.spans import Span
from users.models import Role, Token, User

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
XYZ = ("x", "y", "z")

numbers = count(1)


def person(role: Role, login: str = "", **fields: Any) -> User:
    login = login or f"{role}-{next(numbers)}"
    return User.objects.create_user(login, f"{login}@example.com", **{"name": login, "role": role, **fields})


def admin(**fields: Any) -> User:
    return person(Role.ADMIN, **fields)


def owner(**fields: Any) -> User:
    return person(Role.OWNER, **fields)


def colleague(**fields: Any) -> User:
    """Create a staff user, who sees all data but manages no users."""
    return person(Role.STAFF, **fields)


def stranger(**fields: Any) -> User:
    """Create another owner, who may not see the test's rows."""
    return owner(**fields)


def token(user: User | None = None, **fields: Any) -> tuple[Token, str]:
    return Token.issue(user=user or owner(), **fields)


def profile(name: str = "xyz", channels: Iterable[str] = XYZ, unit: str = "") -> DeviceProfile:
    """Get or create a profile: an earlier transactional test may have flushed what migrations created."""
    found, is_new = DeviceProfile.objects.get_or_create(name=name)
    if is_new:
        for position, channel in enumerate(channels):
            found.channels.create(position=position, name=channel, unit=unit)
    return found


def device(user: User | None = None, **fields: Any) -> Device:
    return Device.objects.create(owner=user or owner(), **{"profile": profile(), "name": "Pump", **fields})


def readings(sender: Device, rows: Iterable[Sequence[float]], start: datetime = NOON) -> None:
    """Store readings a second apart."""
    times = (start + timedelta(seconds=second) for second in count())
    append((sender.pk, time, row) for time, row in zip(times, rows, strict=False))


def append(readings: Iterable[tuple[int, datetime, Sequence[float]]]) -> None:
    """Store readings given as (device's integer id, time, values), in one COPY."""
    rows = [
        row_codec.encode_row(device_id, unix_microseconds(time), values)
        for device_id, time, values in readings
    ]
    payload = b"".join(row.payload for row in rows)
    readings_storage.current().append(interface.Rows(payload, [time for row in rows for time in row.times]))


def exclusion(
    sender: Device,
    start: datetime = NOON,
    end: datetime = NOON + timedelta(hours=1),
    values: list[float] | None = None,
) -> Exclusion:
    """Exclude readings, by default those of the hour from NOON."""
    extent = Extent(start, end, values)
    return exclusions.make(sender, extent, reason="Cleaning", by="colleague", now=NOON)


def blog(user: User | None = None, **fields: Any) -> Blog:
    return Blog.objects.create(owner=user or owner(), **{"name": "Field notes", **fields})


def post(author: User | None = None, **fields: Any) -> Post:
    """Create a post without the event that publishing writes."""
    author = author or owner()
    return Post.objects.create(
        author=author, **{"blog": fields.get("blog") or blog(author), "header": "Frost", **fields}
    )


def log(user: User | int, name: str, at: datetime = NOON, of: int | None = None) -> Event:
    """Store an event."""
    event = Event(uuid4(), getattr(user, "pk", user), name, at, of)
    storage.current().append([event])
    return event


def event_types() -> None:
    """Create the event types again: an earlier transactional test may have flushed them."""
    for number, name in enumerate(("global", "blog", "post"), start=1):
        space, _ = SpaceType.objects.get_or_create(id=number, defaults={"name": name})
        for kind_name, kind in EVENT_KINDS.items():
            if kind.space == name:
                EventType.objects.get_or_create(id=kind.number, defaults={"name": kind_name, "space": space})


def stored_values(device_id: int, period: Period, channels: int) -> np.ndarray:
    """The stored values, of shape (channels, readings)."""
    return readings_by_span.read([Span.of(device_id, period)], channels)[0][1]
