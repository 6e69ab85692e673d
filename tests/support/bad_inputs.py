"""Some 700 request bodies that must be refused, each with its name and the place of its fault.

Each bad body is the route's good body with one thing wrong. Devices have the channels x, y and z, and x is
limited to -1e6 … 1e6. Sensors have one channel without limits.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

Route = Literal["stats", "batch", "data"]

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
STAMP = "2020-02-02T09:30:00.123456Z"
XYZ = ("x", "y", "z")
LOWEST, HIGHEST = -1e6, 1e6
ITEMS = 5
# Positions of the bad item in a batch.
PLACES = (0, 2, ITEMS - 1)


class BadInput(NamedTuple):
    """`where`: the field of a single reading, the index of an item in a batch, or "body"."""

    name: str
    route: Route
    body: bytes
    where: str | int


# JSON texts that are not finite numbers.
NUMBERS = {
    "true": "true",
    "false": "false",
    "null": "null",
    "text of a number": '"1.5"',
    "text with underscore": '"1_000"',
    "empty text": '""',
    "text NaN": '"NaN"',
    "hexadecimal text": '"0x10"',
    "Arabic digits": '"١٢"',
    "array": "[1]",
    "empty array": "[]",
    "object": '{"value": 1}',
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "1e400": "1e400",
    "-1e400": "-1e400",
    "exponent of many digits": "1e999999999999999999999",
    "integer of 401 digits": "1" + "0" * 400,
    "negative integer of 401 digits": "-1" + "0" * 400,
    "integer of 5000 digits": "7" * 5000,
    "just beyond the largest double": "1.797693134862315808e308",
    "nested 50 deep": "[" * 50 + "1" + "]" * 50,
}

HALF_PAIR = "half a surrogate pair"
# JSON texts that are not timestamps that may be stored.
STAMPS = {
    "number of the next century": "4950000000",
    "milliseconds for seconds": "1795000000000",
    "number before the first year": "-62135596800.1",
    "number of the year 10000": "253402300800",
    "number NaN": "NaN",
    "number Infinity": "Infinity",
    "number 1e400": "1e400",
    "number 1e308": "1e308",
    "number of 21 digits": "1" + "0" * 20,
    "number of 5000 digits": "7" * 5000,
    "null": "null",
    "true": "true",
    "array": f'["{STAMP}"]',
    "object": "{}",
    "empty": '""',
    "word": '"yesterday"',
    "now": '"now"',
    "Unix time as text": '"1795000000"',
    "month 13": '"2026-13-01T00:00:00Z"',
    "month 0": '"2026-00-01T00:00:00Z"',
    "30 February": '"2026-02-30T00:00:00Z"',
    "29 February of no leap year": '"2025-02-29"',
    "hour 25": '"2026-11-20T25:00:00Z"',
    "minute 60": '"2026-11-20T09:60:00Z"',
    "leap second": '"2016-12-31T23:59:60Z"',
    "offset of 25 hours": '"2026-11-20T09:30:00+25:00"',
    "offset of 60 minutes": '"2026-11-20T09:30:00+01:60"',
    "offset of one digit": '"2026-11-20T09:30:00+1"',
    "offset without a sign": '"2026-11-20T09:30:0001:00"',
    "zone's name": '"2026-11-20T09:30:00 Europe/Berlin"',
    "zone in brackets": '"2026-11-20T09:30:00Z[UTC]"',
    "week date": '"2026-W47-5"',
    "day of the year": '"2026-325"',
    "no hyphens": '"20261120T093000Z"',
    "slashes": '"2026/11/20 09:30:00"',
    "HTTP date": '"Fri, 20 Nov 2026 09:30:00 GMT"',
    "hour alone": '"2026-11-20T09"',
    "hour of one digit": '"2026-11-20T9:30:00Z"',
    "T at the end": '"2026-11-20T"',
    "ten digits of a second": '"2026-11-20T09:30:00.1234567890Z"',
    "point without digits": '"2026-11-20T09:30:00.Z"',
    "space at the start": '" 2026-11-20T09:30:00Z"',
    "space at the end": '"2026-11-20T09:30:00Z "',
    "line end": '"2026-11-20T09:30:00Z\\n"',
    "NUL": '"2026-11-20T09:30:00Z\\u0000"',
    HALF_PAIR: '"2026-11-20T09:30:00Z\\ud800"',
    "Arabic digits": '"٢٠٢٦-١١-٢٠"',
    "full-width digits": '"２０２６-11-20"',
    "minus sign for hyphen": '"2026−11−20"',
    "year 0": '"0000-01-01T00:00:00Z"',
    "negative year": '"-0001-01-01T00:00:00Z"',
    "year of five digits": '"10000-01-01T00:00:00Z"',
    "before the first year in UTC": '"0001-01-01T00:00:00+01:00"',
    "after the last year in UTC": '"9999-12-31T23:59:59-01:00"',
    "the last of all moments": '"9999-12-31T23:59:59.999999Z"',
    "next century": '"2126-11-20T09:30:00Z"',
    "just over five minutes ahead": json.dumps((NOW + timedelta(minutes=5, microseconds=1)).isoformat()),
    "naive and an hour ahead": '"2026-11-21T13:00:00"',
}

# JSON texts that are not names of sensors.
SENSORS = {
    "number": "7",
    "null": "null",
    "true": "true",
    "array": '["boiler"]',
    "object": "{}",
    "empty": '""',
    "256 characters": json.dumps("s" * 256),
    "256 characters beyond ASCII": json.dumps("ß" * 256, ensure_ascii=False),
    "NUL": '"a\\u0000b"',
    "first half of a surrogate pair": '"a\\ud800"',
    "second half of a surrogate pair": '"\\udc00a"',
}

# JSON texts that are not items of a batch.
INVALID_ITEMS = {
    "null": "null",
    "number": "1",
    "text": '"x"',
    "true": "true",
    "empty array": "[]",
    "item in an array": None,
    "empty object": "{}",
    "NaN": "NaN",
}


def good(route: Route, item: int = 0) -> dict[str, str]:
    """The members of a good reading, as JSON texts."""
    stamp = json.dumps(STAMP)
    if route == "data":
        return {"sensor": json.dumps(f"boiler/{item % 2}"), "timestamp": stamp, "value": f"{item}.25"}
    return {"timestamp": stamp, "x": f"{item}", "y": "-2.5", "z": "1e-3"}


def written(members: dict[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in members.items()) + "}"


def good_body(route: Route) -> bytes:
    if route == "stats":
        return written(good(route)).encode()
    return ("[" + ", ".join(written(good(route, item)) for item in range(ITEMS)) + "]").encode()


def with_item(route: Route, place: int, text: str) -> bytes:
    """A batch of good items with `text` at position `place`."""
    items = [text if item == place else written(good(route, item)) for item in range(ITEMS)]
    return ("[" + ", ".join(items) + "]").encode("utf-8", "surrogatepass")


def places(name: str, route: Route, field: str, text: str) -> Iterator[BadInput]:
    """Yield the fault in a single reading, or at each of PLACES in a batch."""
    if route == "stats":
        yield BadInput(f"{route}: {name}", route, text.encode("utf-8", "surrogatepass"), field)
        return
    for place in PLACES:
        yield BadInput(f"{route}: {name}, item {place}", route, with_item(route, place, text), place)


def bad_numbers() -> Iterator[BadInput]:
    for route, names in (("stats", XYZ), ("batch", ("y",)), ("data", ("value",))):
        for kind, text in NUMBERS.items():
            for name in names:
                yield from places(f"{kind} for {name}", route, name, written(good(route) | {name: text}))


def bad_stamps() -> Iterator[BadInput]:
    for kind, text in STAMPS.items():
        for route in ("stats", "batch", "data"):
            # In a single reading half a surrogate pair makes the whole body invalid.
            field = "body" if kind == HALF_PAIR else "timestamp"
            item = written(good(route) | {"timestamp": text})
            # One position in the batch is enough here.
            yield next(places(f"stamp {kind}", route, field, item))


def bad_sensors() -> Iterator[BadInput]:
    for kind, text in SENSORS.items():
        yield from places(f"sensor {kind}", "data", "sensor", written(good("data") | {"sensor": text}))


def bad_ranges() -> Iterator[BadInput]:
    for kind, text in {
        "too small": "-1000000.0000000001",
        "too large": "1000001",
        "far off": "-1e308",
    }.items():
        for route in ("stats", "batch"):
            yield from places(f"x {kind}", route, "x", written(good(route) | {"x": text}))


def bad_members() -> Iterator[BadInput]:
    """Missing, unknown and misspelt members."""
    for route in ("stats", "batch", "data"):
        for name in good(route):
            if (route, name) != ("stats", "timestamp"):
                left = {other: text for other, text in good(route).items() if other != name}
                yield from places(f"no {name}", route, name, written(left))
        for name in ("w", "", "X", " x", "index", "message", "field", "id", "device_id", "ı", "💧", "a\0b"):
            yield from places(f"unknown {name!r}", route, name, written(good(route) | {name: "1"}))
        surrogate = written(good(route))[:-1] + ', "\\ud800": 1}'
        yield from places("unknown half of a surrogate pair", route, "\\ud800", surrogate)


def bad_items() -> Iterator[BadInput]:
    for route in ("batch", "data"):
        for kind, text in INVALID_ITEMS.items():
            item = f"[{written(good(route))}]" if text is None else text
            yield from places(f"{kind} for an item", route, "body", item)


def bad_bodies() -> Iterator[BadInput]:
    """Bodies that are not JSON, or not the kind of JSON value that the route accepts."""
    for route in ("stats", "batch", "data"):
        body = good_body(route)
        first = "x" if route != "data" else "value"
        number = b'"' + first.encode() + b'": 0'
        assert number in body
        other = b"[" + body + b"]" if route == "stats" else written(good(route)).encode()
        for kind, text in {
            "empty": b"",
            "blank": b" \n",
            "null": b"null",
            "number": b"1",
            "text": b'"x"',
            "true": b"true",
            "array for object, object for array": other,
            "cut short": body[:-1],
            "cut within a text": body[:4],
            "opening bracket alone": body[:1],
            "two documents": body + body,
            "comma at the end": body + b",",
            "comma before the end": body[:-1] + b"," + body[-1:],
            "NUL at the end": body + b"\0",
            "byte order mark": b"\xef\xbb\xbf" + body,
            "UTF-16": body.decode().encode("utf-16"),
            "UTF-32": body.decode().encode("utf-32"),
            "invalid UTF-8 in a name": body.replace(b'"timestamp"', b'"timestamp\xff"', 1),
            "surrogate in UTF-8": body.replace(b'"timestamp"', b'"\xed\xa0\x80"', 1),
            "overlong UTF-8": body.replace(b'"timestamp"', b'"\xc0\xaf"', 1),
            "control character in a text": body.replace(b"2020", b"2020\n", 1),
            "unknown escape": body.replace(b'"timestamp"', b'"\\timestamp\\x41"', 1),
            "single quotes": body.replace(b'"', b"'"),
            "names without quotes": body.replace(b'"timestamp"', b"timestamp", 1),
            "comment": b"/* now */" + body,
            "form": b"x=1&y=2&z=3",
            "XML": b"<reading x='1' y='2' z='3'/>",
            "HTML": b"<!DOCTYPE html><html></html>",
            "line of CSV": b"2026-11-20T09:30:00Z,1,2,3",
            "gzip without saying so": bytes.fromhex("1f8b0800000000000003"),
            "zero in front": body.replace(number, number + b"1"),
            "plus in front": body.replace(number, number[:-1] + b"+1"),
            "point in front": body.replace(number, number[:-1] + b".5"),
            "point at the end": body.replace(number, number + b".,"),
            "underscore": body.replace(number, number[:-1] + b"1_0"),
            "hexadecimal": body.replace(number, number + b"x10"),
            "number with a letter": body.replace(number, number + b"f"),
            "Arabic digits": body.replace(number, number[:-1] + "١".encode()),
            "Python's None": body.replace(number, number[:-1] + b"None"),
            "nan": body.replace(number, number[:-1] + b"nan"),
            "5000 arrays": b"[" * 5000,
            "100000 arrays, closed": b"[" * 100_000 + b"]" * 100_000,
            "5000 objects": b'{"x":' * 5000,
            "deep in an unknown member": body[:-1] + b', "w": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        }.items():
            yield BadInput(f"{route}: body {kind}", route, text, "body")


BAD_INPUTS = [
    *bad_numbers(),
    *bad_stamps(),
    *bad_sensors(),
    *bad_ranges(),
    *bad_members(),
    *bad_items(),
    *bad_bodies(),
]
