"""Events from outside, in bulk: decoded strictly, checked item by item. Nothing is stored here.

A bad item is rejected by its index; the others are accepted.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import msgspec

from analytics.activity.events.event import EARLIEST, EVENT_KINDS, LATEST, LOGIN, LOGOUT, Event, event_id
from analytics.activity.models import Blog, Post
from devices.ingestion.checks import Fault, InvalidItems, Rejections, printable, unknown_names
from devices.ingestion.decoding import decode_loosely, require_batch, require_few_items
from devices.timeline.periods import BadStamp, parse_stamp
from users.models import User

MAX_ID_LENGTH = 255
# A batch that is not well formed is decoded loosely, every number as a double: from here on not exact.
EXACT_LIMIT = 2**53
INVALID_ID = f"Must be a text of 1 to {MAX_ID_LENGTH} characters, or a whole number below 2^53."
BY_PORTAL = "The portal notes log-ins and log-outs itself; only staff bring those of other systems."
BATCH_ZONE = "UTC"
MODELS: dict[str, type[Blog] | type[Post]] = {"blog": Blog, "post": Post}


class PostedEvent(msgspec.Struct, forbid_unknown_fields=True):
    """One item. `id` is the sender's own: items of one sender with the same id are one event."""

    login: str
    event: str
    at: str
    object_id: int | None = None
    id: str | int | None = None


BATCH_DECODER = msgspec.json.Decoder(list[PostedEvent])
REQUIRED_KEYS = ("login", "event", "at")
OPTIONAL_KEYS = ("object_id", "id")


class EventIntake(NamedTuple):
    """Checked events, and the receipt that is sent once they are stored."""

    events: list[Event]
    receipt: dict[str, Any]


class KnownObjects:
    """Users, blogs and posts that events may name: those that `asker` sees, or all without an asker."""

    def __init__(self, asker: User | None) -> None:
        self.asker = asker

    @property
    def may_bring_sessions(self) -> bool:
        """Whether log-ins and log-outs may be among the events: an owner could make up their own."""
        return self.asker is None or self.asker.is_staff

    def look_up(self, items: Sequence[PostedEvent]) -> None:
        """Find all that the items name, by one query per model."""
        logins = {item.login for item in items if is_text(item.login)}
        users = User.objects.visible_to(self.asker) if self.asker else User.objects.all()
        self.users = dict(users.filter(login__in=logins).values_list("login", "pk"))
        self.objects = {space: self.visible_ids(space, items) for space in MODELS}

    def visible_ids(self, space: str, items: Sequence[PostedEvent]) -> set[int]:
        numbers = (
            item.object_id
            for item in items
            if item.event in EVENT_KINDS and EVENT_KINDS[item.event].space == space
        )
        named = {number for number in numbers if number is not None and 0 < number < EXACT_LIMIT}
        rows = MODELS[space].objects
        visible = rows.visible_to(self.asker) if self.asker else rows.all()
        return set(visible.filter(pk__in=named).values_list("pk", flat=True))


def take_events(body: bytes, asker: User) -> EventIntake:
    """Check a JSON array of events of one sender. Raises InvalidItems, BatchTooLong."""
    require_few_items(body)
    try:
        items: list[Any] = BATCH_DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        items = decode_loosely(body, error)
        if not isinstance(items, list):
            raise InvalidItems([{"field": "body", "message": "Must be an array of events."}]) from error
    require_batch(len(items))
    return take_event_items(items, KnownObjects(asker), f"user:{asker.pk}", [uuid4() for _ in items])


def take_event_items(
    items: Sequence[Any], known: KnownObjects, sender: str, ids: Sequence[UUID]
) -> EventIntake:
    """Check decoded items, each a `PostedEvent` or any other JSON.

    `ids`, one for each item, are for events to which the sender gave none.
    """
    read = [read_item(item) for item in items]
    known.look_up([item for item in read if isinstance(item, PostedEvent)])
    events, rejections, is_naive = [], Rejections(), False
    for index, item in enumerate(read):
        try:
            if isinstance(item, list):
                raise InvalidItems(item)
            at, assumed = check_event(item, known)
        except InvalidItems as error:
            rejections.add(index, error.errors)
            continue
        identity = ids[index] if item.id is None else event_id(sender, str(item.id))
        events.append(Event(identity, known.users[item.login], item.event, at, item.object_id))
        is_naive |= assumed
    receipt = {"accepted": len(events), "rejected": rejections.faults}
    return EventIntake(events, receipt | ({"assumed_timezone": BATCH_ZONE} if is_naive else {}))


def read_item(item: Any) -> PostedEvent | list[Fault]:
    """Return the event, or the faults of its shape."""
    if isinstance(item, PostedEvent):
        return item
    faults = shape_faults(item)
    return faults or msgspec.convert(item | whole_numbers(item), PostedEvent)


def whole_numbers(item: dict[str, Any]) -> dict[str, int]:
    """Convert the numbers that were decoded as doubles."""
    return {name: int(item[name]) for name in ("object_id", "id") if isinstance(item.get(name), float)}


def shape_faults(item: Any) -> list[Fault]:
    if not isinstance(item, dict):
        return [{"field": "body", "message": "Must be an object."}]
    faults = []
    for name in REQUIRED_KEYS:
        if name not in item:
            faults.append({"field": name, "message": "Is missing."})
        elif not isinstance(item[name], str):
            faults.append({"field": name, "message": "Must be a string."})
    if not is_whole_or_null(item.get("object_id")):
        faults.append({"field": "object_id", "message": "Must be a whole number."})
    if not isinstance(item.get("id"), str) and not is_whole_or_null(item.get("id")):
        faults.append({"field": "id", "message": "Must be a string or a whole number."})
    for name in unknown_names(item, {*REQUIRED_KEYS, *OPTIONAL_KEYS}):
        faults.append({"field": name, "message": "Unknown key."})
    return faults


def is_whole_or_null(value: Any) -> bool:
    if value is None:
        return True
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < EXACT_LIMIT and value % 1 == 0


def check_event(item: PostedEvent, known: KnownObjects) -> tuple[datetime, bool]:
    """Return the time of an event, and whether its zone was assumed. Raises InvalidItems with every fault."""
    faults = []
    if item.login not in known.users:
        faults.append({"field": "login", "message": "There is no such user."})
    if item.event in (LOGIN, LOGOUT) and not known.may_bring_sessions:
        faults.append({"field": "event", "message": BY_PORTAL})
    faults += object_faults(item, known)
    if item.id is not None and not is_own_id(item.id):
        faults.append({"field": "id", "message": INVALID_ID})
    try:
        at, assumed = parse_stamp(item.at, UTC)
        if not EARLIEST <= at < LATEST:
            raise BadStamp(f"Must lie between {EARLIEST.year} and {LATEST.year}.")
    except BadStamp as error:
        faults.append({"field": "at", "message": str(error)})
    if faults:
        raise InvalidItems(faults)
    return at, assumed


def object_faults(item: PostedEvent, known: KnownObjects) -> list[Fault]:
    if item.event not in EVENT_KINDS:
        return [{"field": "event", "message": f"Must be one of {', '.join(EVENT_KINDS)}."}]
    space = EVENT_KINDS[item.event].space
    if space not in MODELS:
        is_valid, message = item.object_id is None, f"A {item.event} has no object."
    else:
        is_valid, message = item.object_id in known.objects[space], f"There is no such {space}."
    return [] if is_valid else [{"field": "object_id", "message": message}]


def is_own_id(own_id: str | int) -> bool:
    if isinstance(own_id, int):
        return abs(own_id) < EXACT_LIMIT
    return 0 < len(own_id) <= MAX_ID_LENGTH and is_text(own_id)


def is_text(text: str) -> bool:
    """Return whether the database can store it: no NUL, no half of a surrogate pair."""
    return "\0" not in text and text == printable(text)
