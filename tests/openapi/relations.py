"""What JSON Schema cannot say about a request: `repair` makes a generated one meet it.

The document says each of these in words. Values within a single field are the document's alone: nothing here
changes a length, a range or a form.
"""

import secrets
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from schemathesis import Case

from analytics.analyses.question import BUCKETS
from devices.timeline.unix_time import PRECISIONS, SECOND
from tests.openapi.world import GOOD, STAMPED, World

GOOD_OF = {operation_id: make for (operation_id, _, _), make in GOOD.items()}
# These change what they name: each gets a row of its own, and leaves alone those that other operations use.
OWN: dict[str, Callable[[World], dict[str, Any]]] = {
    "device_change": lambda world: {"uuid": world.new_device()},
    "user_change": lambda world: {"id": world.portal.new_user().id},
    "post_change": lambda world: {"id": world.new_post()},
    "blog_change": lambda world: {"id": world.new_blog()},
    # The owner has the devices of all examples, too many for short buckets.
    "user_analysis_ask": lambda world: {"id": world.other.id},
    "user_analysis_post": lambda world: {"id": world.other.id},
}
# Made once for all examples: they take a run that ended, or one that waits. Later examples find it changed.
ONCE = {"task_delete", "task_cancel", "calculation_cancel", "calculation_read"}
PERIOD = (datetime.fromisoformat("2026-11-01T00:00:00Z"), timedelta(days=1))


class Repair:
    """Repairs cases with the rows of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.once: dict[str, dict[str, Any]] = {}

    def __call__(self, case: Case) -> None:
        """Change a valid case; of an invalid one only the ids, unless they are what is invalid."""
        operation_id = case.operation.definition.raw["operationId"]
        assert case.meta is not None
        negated = {location.value for location, part in case.meta.components.items() if part.mode.is_negative}
        if case.path_parameters and "path" not in negated:
            case.path_parameters.update({name: str(value) for name, value in self.ids(operation_id).items()})
        if not negated:
            self.relate(operation_id, case)

    def ids(self, operation_id: str) -> dict[str, Any]:
        """Ids of rows that exist: of drawn ones there are none, and 404 would be the only answer."""
        if operation_id in self.once:
            return self.once[operation_id]
        make = OWN.get(operation_id)
        ids = make(self.world) if make else GOOD_OF[operation_id](self.world).ids
        if operation_id in ONCE:
            self.once[operation_id] = ids
        return ids

    def relate(self, operation_id: str, case: Case) -> None:
        case.query = self.query(case.query)
        # The header says how a body is coded, and generated bodies are not coded.
        case.headers.pop("Content-Encoding", None)
        body = whole(case.body)
        if isinstance(body, dict):
            related = BODIES.get(operation_id, unchanged)(dict(body), self.world)
            case.body = question(case.query, related) if operation_id.endswith("analysis_post") else related
        elif isinstance(body, list) and operation_id in ITEMS:
            case.body = [ITEMS[operation_id](dict(item), self.world) for item in body]
        scale(case.body, PRECISIONS[case.query.get("precision", "s")])

    def query(self, query: dict[str, Any]) -> dict[str, Any]:
        query = dict(query)
        # A cursor is one that a page named, and a page one that the list has.
        query.pop("cursor", None)
        if "page" in query:
            query["page"] = 1
        # The name of a profile that exists.
        if "profile" in query:
            query["profile"] = "xyz"
        return ordered(zoned(query))


def whole(value: Any) -> Any:
    """Whole numbers without a point: to JSON Schema, 1.0 is an integer."""
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {name: whole(item) for name, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def scale(body: Any, nanoseconds: int) -> None:
    """Count the seconds of timestamps in the unit of the query."""
    for reading in body if isinstance(body, list) else [body]:
        if isinstance(reading, dict) and isinstance(reading.get("timestamp"), int | float):
            reading["timestamp"] = int(reading["timestamp"]) * SECOND // nanoseconds


def ordered(fields: dict[str, Any]) -> dict[str, Any]:
    """`start` comes before `end`, and few buckets are between."""
    if fields.get("bucket"):
        fields.setdefault("start", "T")
    if {"start", "end"} & {*fields}:
        is_day = all("T" not in str(fields.get(name, "")) for name in ("start", "end"))
        first, long = PERIOD
        for name, time in (("start", first), ("end", first + long)):
            if fields.get(name) is not None:
                fields[name] = time.date().isoformat() if is_day else time.isoformat()
    return fields


def zoned(fields: dict[str, Any]) -> dict[str, Any]:
    """A time zone has a name that IANA knows, and comes with a bucket."""
    if fields.get("time_zone") is not None:
        fields["time_zone"] = "Europe/Berlin"
        if not fields.get("bucket"):
            fields["bucket"] = next(iter(BUCKETS))
    return fields


def question(query: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Query and body ask one question together."""
    numbers = body.get("percentiles")
    if isinstance(numbers, list):
        body["percentiles"] = [round(number, 10) for number in numbers]
    given = {name: value for name, value in body.items() if value is not None}
    return body | ordered(zoned(query | given))


def unchanged(body: dict[str, Any], world: World) -> dict[str, Any]:
    return body


def unique(name: str, longest: int) -> Callable[[dict[str, Any]], None]:
    """Make a text one that no other row has."""

    def change(body: dict[str, Any]) -> None:
        if body.get(name):
            body[name] = f"{secrets.token_hex(6)}{body[name]}"[:longest]

    return change


unique_name, unique_email = unique("name", 50), unique("email", 254)
unique_external_id = unique("external_id", 255)


def of_user(body: dict[str, Any], world: World) -> dict[str, Any]:
    """Login and email are those of no other user. A login's letters are named in words only."""
    if body.get("login"):
        body["login"] = secrets.token_hex(6)
    unique_email(body)
    return body


def of_device(body: dict[str, Any], world: World) -> dict[str, Any]:
    """The owner, the profile and the time zone exist; the external id is that of no other device."""
    unique_external_id(body)
    known = {"user_id": world.other.id, "profile": "xyz", "time_zone": "Europe/Berlin"}
    return body | {name: value for name, value in known.items() if name in body}


def of_profile(body: dict[str, Any], world: World) -> dict[str, Any]:
    """The name is that of no other profile, names of channels differ, and a minimum is below its maximum."""
    unique_name(body)
    for number, channel in enumerate(body.get("channels", ())):
        channel["name"] = f"{channel['name'][:40]}_{number}"
        bounds = [channel.get(name) for name in ("minimum", "maximum")]
        if None not in bounds:
            channel["minimum"], channel["maximum"] = sorted(bounds)
    return body


def of_exclusion(body: dict[str, Any], world: World) -> dict[str, Any]:
    """The reading is one that is stored."""
    return ordered(body) | ({"reading": STAMPED} if body.get("reading") else {})


def of_blog(body: dict[str, Any], world: World) -> dict[str, Any]:
    """Owner, author and blog exist."""
    known = {"owner": world.owner.login, "author": world.owner.login, "blog": world.blog}
    return body | {name: value for name, value in known.items() if name in body}


def of_calculation(body: dict[str, Any], world: World) -> dict[str, Any]:
    """At most 100,000 rows, the device and its channel exist, and a forecast begins in the past.

    The pause is 0 here: a run would hold the worker of the other tests for half an hour.
    """
    if body.get("kernel") == "forecast":
        past = {"until": min(body["until"], PERIOD[0].isoformat())} if "until" in body else {}
        return body | {"device": world.device.id, "channel": "x"} | past
    first = date.fromisoformat(body["date_start"]).replace(year=2026, day=1)
    days = min(body["lag"], 10_000) * 3
    dates = {"date_start": first.isoformat(), "date_fin": (first + timedelta(days=days)).isoformat()}
    return body | dates | ({"pause": 0} if "pause" in body else {})


def stamped(reading: dict[str, Any]) -> dict[str, Any]:
    """The timestamp is a day that its month has, not ahead of the clock, not before 2026.

    Each earlier year would get a partition in the database of the other tests.
    """
    stamp = reading.get("timestamp")
    if isinstance(stamp, str):
        reading["timestamp"] = f"2026-01-{stamp[8:10].replace('31', '30')}{stamp[10:]}"
    elif stamp is not None:
        reading["timestamp"] = 1_780_000_000 + abs(stamp) % 1_000_000
    return reading


def of_reading(body: dict[str, Any], world: World) -> dict[str, Any]:
    """A number for each channel of the device, and no others."""
    numbers = [value for name, value in body.items() if name != "timestamp"] or [0]
    values = {name: numbers[place % len(numbers)] for place, name in enumerate("xyz")}
    return stamped({name: body[name] for name in ("timestamp",) if name in body} | values)


def of_sensor(body: dict[str, Any], world: World) -> dict[str, Any]:
    return stamped(body)


Relate = Callable[[dict[str, Any], World], dict[str, Any]]
BODIES: dict[str, Relate] = {
    "user_create": of_user,
    "user_change": of_user,
    "device_create": of_device,
    "device_change": of_device,
    "profile_create": of_profile,
    "profile_change": of_profile,
    "exclusion_create": of_exclusion,
    "blog_create": of_blog,
    "blog_change": of_blog,
    "post_create": of_blog,
    "calculation_create": of_calculation,
    "reading_create": of_reading,
}
ITEMS: dict[str, Relate] = {"reading_batch_create": of_reading, "sensor_data_create": of_sensor}
