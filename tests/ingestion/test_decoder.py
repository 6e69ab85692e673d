"""Decoding names the place of each fault, and takes exactly the values that were sent, to the bit."""

import json
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.db import connection
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from devices.access.grants import Target
from devices.ingestion import checks, intake
from devices.ingestion.checks import InvalidItems
from devices.ingestion.decoding import MAX_PARTS, BatchTooLong, require_few_parts
from devices.ingestion.intake import Intake
from devices.ingestion.sensors import NEW_SENSOR
from devices.storage import row_codec
from devices.storage.interface import Rows
from devices.storage.postgresql import readings_table
from devices.timeline.instants import PG_EPOCH_IN_UNIX
from tests.support.bad_inputs import (
    BAD_INPUTS,
    HIGHEST,
    ITEMS,
    LOWEST,
    NOW,
    STAMP,
    XYZ,
    BadInput,
    good_body,
)
from tests.support.portal import Portal
from tests.support.senders import Connection, batch_path, new_profile, stats_path

ANY = (-math.inf,) * 3, (math.inf,) * 3
DEVICE = Target(7, XYZ, (LOWEST, -math.inf, -math.inf), (HIGHEST, math.inf, math.inf), ZoneInfo("UTC"))
UNBOUNDED = Target(7, XYZ, *ANY, ZoneInfo("UTC"), allows_future=True)
COUNTED_FROM_1970 = datetime(1970, 1, 1, tzinfo=UTC)

numbers = count(1_000_000)


class Registry:
    """The sensors of one holder, in memory."""

    def __init__(self) -> None:
        self.targets: dict[str, Target] = {}

    def find(self, sensors: set[str]) -> dict[str, Target]:
        return {sensor: self.targets[sensor] for sensor in sensors if sensor in self.targets}

    def register(self, sensors: set[str]) -> dict[str, Target]:
        for sensor in sorted(sensors):
            self.targets.setdefault(sensor, NEW_SENSOR._replace(device_id=100 + len(self.targets)))
        return self.find(sensors)


def take(route: str, body: bytes, *, skip_bad: bool = False) -> Intake:
    if route == "stats":
        return intake.take_one(DEVICE, body, NOW)
    if route == "batch":
        return intake.take_batch(DEVICE, body, NOW, skip_bad=skip_bad)
    return intake.take_sensors(Registry(), body, NOW, skip_bad=skip_bad)


def places(errors: Iterable[dict]) -> list[str | int]:
    return [error["field"] if "field" in error else error["index"] for error in errors]


def test_there_are_more_than_300_bad_inputs_and_the_good_ones_are_good():
    assert len({bad.name for bad in BAD_INPUTS}) == len(BAD_INPUTS) > 300
    assert take("stats", good_body("stats")).receipt == {"status": "ok"}
    for route in ("batch", "data"):
        assert take(route, good_body(route)).receipt == {"accepted": ITEMS, "rejected": []}


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_bad_input_is_refused_by_its_place(bad: BadInput):
    """InvalidItems is raised, so there is nothing to store."""
    with pytest.raises(InvalidItems) as refused:
        take(bad.route, bad.body)
    errors = refused.value.errors
    assert places(errors) == [bad.where]
    assert all(error["message"].endswith(".") for error in errors)
    # Whatever the fault, it can be told.
    json.dumps(errors, ensure_ascii=False).encode()


ONE_BAD_ITEM = [bad for bad in BAD_INPUTS if isinstance(bad.where, int)]


@pytest.mark.parametrize("bad", ONE_BAD_ITEM, ids=lambda bad: bad.name)
def test_where_bad_items_may_be_skipped_the_others_are_taken(bad: BadInput):
    taken = take(bad.route, bad.body, skip_bad=True)
    assert (taken.receipt["accepted"], places(taken.receipt["rejected"])) == (ITEMS - 1, [bad.where])
    whole = take(bad.route, good_body(bad.route))
    size = len(whole.rows.payload) // ITEMS
    left = [whole.rows.payload[i * size : (i + 1) * size] for i in range(ITEMS) if i != bad.where]
    # Of sensors only those get a number that have a good reading.
    assert bad.route == "data" or taken.rows.payload == b"".join(left)
    assert len(taken.rows.payload) == len(left) * size


@pytest.mark.parametrize("bad", [bad for bad in BAD_INPUTS if bad.where == "body"], ids=lambda bad: bad.name)
def test_what_is_no_batch_at_all_is_refused_though_bad_items_may_be_skipped(bad: BadInput):
    with pytest.raises(InvalidItems) as refused:
        take(bad.route, bad.body, skip_bad=True)
    assert places(refused.value.errors) == ["body"]


# What is bad for a time only is not here: the server has a clock of its own.
SAMPLE = [bad for bad in BAD_INPUTS[::12] if "ahead" not in bad.name]


def test_through_http_it_is_400_by_its_place_and_nothing_is_stored(portal: Portal):
    owner = portal.new_user()
    profile = new_profile(portal, x=(LOWEST, HIGHEST), y=(None, None), z=(None, None))
    device = portal.new_device(owner, profile)
    paths = {"stats": stats_path(device), "batch": batch_path(device), "data": "/data"}
    with Connection(portal) as connection:
        for bad in SAMPLE:
            answer = connection.post(paths[bad.route], bad.body, token=owner.token)
            assert answer.status == 400, bad.name
            assert answer.headers["content-type"] == "application/problem+json"
            assert places(answer.json()["errors"]) == [bad.where], bad.name
    assert portal.get("/stats/", owner.token) == []
    assert [found["id"] for found in portal.get("/devices/", owner.token)] == [device.id]


def test_every_fault_of_a_reading_is_named():
    body = b'{"x": 1e7, "y": true, "w": 1, "timestamp": false}'
    with pytest.raises(InvalidItems) as refused:
        take("stats", body)
    assert places(refused.value.errors) == ["y", "z", "timestamp", "w"]
    body = b'{"x": 1e7, "y": 1, "z": 1, "timestamp": "yesterday"}'
    with pytest.raises(InvalidItems) as refused:
        take("stats", body)
    assert places(refused.value.errors) == ["x", "timestamp"]


@pytest.mark.parametrize("route", ["batch", "data"])
def test_every_bad_item_is_named(route):
    items = json.loads(good_body(route))
    items[1] = None
    items[3] |= {"timestamp": "yesterday"}
    items[4].pop("timestamp")
    with pytest.raises(InvalidItems) as refused:
        take(route, json.dumps(items).encode())
    assert places(refused.value.errors) == [1, 3, 4]
    assert ["timestamp" in error["message"] for error in refused.value.errors] == [False, True, True]


@pytest.mark.parametrize("route", ["batch", "data"])
@pytest.mark.parametrize("skip_bad", [True, False])
def test_more_than_ten_thousand_items_are_too_many_be_they_good_or_bad(route, skip_bad):
    [item, *_] = json.loads(good_body(route))
    assert take(route, json.dumps([item] * 10_000).encode()).receipt["accepted"] == 10_000
    for extra in (item, None, item | {"timestamp": False}):
        with pytest.raises(BatchTooLong):
            take(route, json.dumps([item] * 10_000 + [extra]).encode(), skip_bad=skip_bad)


def test_an_inactive_sensor_and_one_of_many_channels_are_refused_by_index():
    registry = Registry()
    registry.targets = {"off": NEW_SENSOR._replace(is_active=False), "xyz": DEVICE}
    items = [{"sensor": sensor, "timestamp": STAMP, "value": 1} for sensor in ("new", "off", "xyz")]
    with pytest.raises(InvalidItems) as refused:
        intake.take_sensors(registry, json.dumps(items).encode(), NOW)
    assert places(refused.value.errors) == [1, 2]
    assert "new" not in registry.targets


# --- what is good


def decoded(rows: Rows) -> list[tuple[int, int, list[str]]]:
    """Device, microseconds since 1970 and the values in hexadecimal of rows of PostgreSQL's binary COPY."""
    payload, found, at = memoryview(rows.payload), [], 0
    while at < len(payload):
        size = int.from_bytes(payload[at + 38 : at + 42], "big")
        row = np.frombuffer(payload, row_codec.row_type(size), count=1, offset=at)[0]
        assert (row["fields"], row["l1"], row["l2"], row["l3"]) == (3, 4, 8, 20 + 12 * size)
        assert (row["dimensions"], row["nulls"], row["type"], row["lower"]) == (1, 0, row_codec.FLOAT8, 1)
        assert (row["items"]["length"] == 8).all()
        values = [float(value).hex() for value in row["items"]["value"]]
        found.append((int(row["device"]), int(row["time"]) + PG_EPOCH_IN_UNIX, values))
        at += row.nbytes
    return found


def microseconds(time: datetime) -> int:
    return (time - COUNTED_FROM_1970) // timedelta(microseconds=1)


doubles = st.floats(allow_nan=False, allow_infinity=False)
utc = st.just(UTC)
stamps = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=utc)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timedelta(minutes=minutes))


JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,400})(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?", re.ASCII)


@st.composite
def json_numbers(draw) -> tuple[str, float]:
    """Any spelling of a finite number, and the double that Python, correctly rounded, makes of it."""
    text = draw(st.from_regex(JSON_NUMBER, fullmatch=True))
    value = float(text)
    assume(math.isfinite(value))
    # As msgspec has it, the whole number -0 is 0.
    return text, value if re.search("[.eE]", text) else value + 0.0


@given(st.lists(doubles, min_size=3, max_size=3), stamps)
@example([-0.0, 5e-324, 2.2250738585072011e-308], NOW)
@example([1.7976931348623157e308, -1.7976931348623157e308, 0.1], datetime(1, 1, 2, tzinfo=UTC))
def test_a_reading_is_taken_as_python_wrote_it(values, time):
    body = json.dumps(dict(zip(XYZ, values, strict=True)) | {"timestamp": time.isoformat()}).encode()
    row = (7, microseconds(time), [value.hex() for value in values])
    assert decoded(intake.take_one(UNBOUNDED, body, NOW).rows) == [row]
    assert decoded(intake.take_batch(UNBOUNDED, b"[" + body + b"," + body + b"]", NOW).rows) == [row, row]


@given(json_numbers())
@example(("-0", 0.0))
@example(("-0.0", -0.0))
@example(("9007199254740993", 2.0**53))
@example(("18446744073709551616", 2.0**64))
@example(("1" + "0" * 308, 1e308))
@example(("1797693134862315708145274237317043567981e269", 1.7976931348623157e308))
@example(("2.4703282292062328e-324", 5e-324))
@example(("0.1" + "0" * 1000 + "1", 0.1))
def test_every_spelling_of_a_number_is_rounded_correctly_on_every_way(number):
    """Single readings, well-formed batches, and batches checked item by item because one item is bad."""
    text, value = number
    item = f'{{"x": {text}, "y": {text}, "z": {text}, "timestamp": "{STAMP}"}}'
    hexadecimals = [value.hex()] * 3
    short = [
        intake.take_one(UNBOUNDED, item.encode(), NOW),
        intake.take_batch(UNBOUNDED, f"[{item}]".encode(), NOW),
        intake.take_batch(UNBOUNDED, f"[{item}, null]".encode(), NOW, skip_bad=True),
    ]
    for taken in short:
        assert [row[2] for row in decoded(taken.rows)] == [hexadecimals]
    sensor = f'{{"sensor": "s", "value": {text}, "timestamp": "{STAMP}"}}'
    for body, skip_bad in ((f"[{sensor}]", False), (f"[{sensor}, null]", True)):
        taken = intake.take_sensors(Registry(), body.encode(), NOW, skip_bad=skip_bad)
        assert [row[2] for row in decoded(taken.rows)] == [[value.hex()]]


@given(st.lists(st.tuples(doubles, stamps, offsets, st.booleans()), max_size=8))
def test_both_ways_through_the_decoder_take_the_same(readings):
    items = []
    for value, time, offset, is_naive in readings:
        shifted = time + offset
        suffix = "" if is_naive else f"{'-' if offset < timedelta(0) else '+'}{abs_minutes(offset)}"
        text = shifted.replace(tzinfo=None).isoformat() + suffix
        items.append({"x": value, "y": -value, "z": 1, "timestamp": text})
    zoned = UNBOUNDED._replace(zone=ZoneInfo("Asia/Kolkata"))
    strict = intake.take_batch(zoned, json.dumps(items).encode(), NOW)
    # With another item that is bad all go the long way.
    loose = intake.take_batch(zoned, json.dumps([*items, None]).encode(), NOW, skip_bad=True)
    assert loose.rows.payload == strict.rows.payload
    assert loose.rows.times.tolist() == strict.rows.times.tolist()
    bad = {"index": len(items), "message": "Must be an object."}
    assert loose.receipt == strict.receipt | {"rejected": [bad]}


def abs_minutes(offset: timedelta) -> str:
    minutes = abs(offset) // timedelta(minutes=1)
    return f"{minutes // 60:02}:{minutes % 60:02}"


@given(stamps, offsets)
@example(datetime(2026, 3, 29, 1, 30, tzinfo=UTC), timedelta(hours=2))
def test_a_stamp_is_the_same_moment_whatever_its_offset(time, offset):
    text = (time + offset).replace(tzinfo=None).isoformat()
    text += f"{'-' if offset < timedelta(0) else '+'}{abs_minutes(offset)}"
    assert checks.parse_reading_time(text, UNBOUNDED, NOW) == (microseconds(time), False)


long_ago = st.datetimes(datetime(1, 1, 2), datetime(1999, 12, 31), timezones=utc)
readings_of_long_ago = st.tuples(st.lists(doubles, min_size=3, max_size=3), long_ago)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(readings_of_long_ago, min_size=1, max_size=20))
@example([([-0.0, 5e-324, 1.7976931348623157e308], datetime(1, 1, 2, tzinfo=UTC))] * 3)
@pytest.mark.django_db
def test_what_was_sent_is_what_postgresql_holds_bit_for_bit(readings):
    target = UNBOUNDED._replace(device_id=next(numbers))
    items = [
        dict(zip(XYZ, values, strict=True)) | {"timestamp": time.isoformat()} for values, time in readings
    ]
    readings_table.append(intake.take_batch(target, json.dumps(items).encode(), NOW).rows)
    readings_table.append(intake.take_one(target, json.dumps(items[0]).encode(), NOW).rows)
    with connection.cursor() as cursor:
        cursor.execute("SELECT time, values FROM devices_reading WHERE device_id = %s", [target.device_id])
        stored = [(time, list(map(float.hex, values))) for time, values in cursor.fetchall()]
    sent = [(time, list(map(float.hex, values))) for values, time in [*readings, readings[0]]]
    # Rows take whatever room there is: their place tells nothing of their order.
    assert sorted(stored) == sorted(sent)


class TestParts:
    """Objects and arrays are counted before they are made."""

    @pytest.mark.parametrize("part", [b"[]", b"{}", b'{"a":[]}', b'"\\"",[]'], ids=bytes.decode)
    def test_too_many_are_refused(self, part: bytes) -> None:
        body = b"[" + b",".join([part] * (MAX_PARTS + 1)) + b"]"
        items = json.loads(body)
        with pytest.raises(BatchTooLong, match=f"not {len(items)}"):
            intake.take_batch(DEVICE, body, NOW)
        for take, inner in ((intake.take_one, b'{"x":%b}'), (intake.take_batch, b'[{"x":%b,"y":1}]')):
            with pytest.raises(InvalidItems, match="100,000 objects and arrays"):
                take(DEVICE, inner % body, NOW)

    @pytest.mark.parametrize(
        "text",
        ["[" * 300_000, '\\"[{' * 100_000, '"[', "\\" * 300_001],
        ids=["brackets", "escaped", "two texts", "backslashes"],
    )
    def test_those_within_texts_are_none(self, text: str) -> None:
        require_few_parts(f'["{text}"]'.encode())

    def test_an_open_text_is_looked_through_once(self) -> None:
        require_few_parts(b'["' + b'\\"[' * 1_000_000)

    def test_others_do_not_wait_while_items_are_checked_one_by_one(self) -> None:
        good = {"x": 1.0, "y": 2.0, "z": 3.0, "timestamp": "2026-11-21T12:00:00Z"}
        assert intake.take_batch_at_once(DEVICE, json.dumps([good]).encode(), NOW).receipt["accepted"] == 1
        for items in ([good, {}], [], [good, {**good, "timestamp": 1}], "x", [good] * 10_001):
            with pytest.raises(intake.NeedsThread):
                intake.take_batch_at_once(DEVICE, json.dumps(items).encode(), NOW)
