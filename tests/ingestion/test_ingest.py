import json
import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from devices.access.grants import Target
from devices.ingestion import intake
from devices.ingestion.checks import InvalidItems
from devices.ingestion.group_commit import store_now
from devices.storage import row_codec
from devices.storage.postgresql import readings_table
from devices.timeline.periods import Period
from tests.support import factories

NOW = factories.NOON
BEYOND = "1" + "0" * 400
reproducible = hypothesis_settings(derandomize=True, deadline=None)


def target(*names: str) -> Target:
    unbounded = (math.inf,) * len(names)
    return Target(1, names, tuple(-bound for bound in unbounded), unbounded, ZoneInfo("UTC"))


def decode(body: bytes, *names: str) -> list[float]:
    """The values as they are on their way to the database."""
    taken = intake.take_one(target(*names), body, NOW)
    row = np.frombuffer(taken.rows.payload, row_codec.row_type(len(names)))
    return row["items"]["value"][0].tolist()


def post(device, body: bytes) -> dict:
    return store_now(intake.take_one(Target.of(device), body, NOW))


def post_all(device, readings: list[tuple[datetime, list[float]]]) -> None:
    """Take a batch. Raises InvalidItems, whose messages name the channel."""
    names = Target.of(device).names
    items = [
        dict(zip(names, values, strict=True)) | {"timestamp": time.isoformat()} for time, values in readings
    ]
    store_now(intake.take_batch(Target.of(device), json.dumps(items).encode(), NOW))


def faulty_fields(body: bytes | str) -> list[str]:
    with pytest.raises(InvalidItems) as refused:
        decode(body.encode() if isinstance(body, str) else body, *factories.XYZ)
    return [error["field"] for error in refused.value.errors]


def stored(device) -> list[list[float]]:
    return factories.stored_values(device.pk, Period(), len(device.channels)).T.tolist()


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (b'{"x": 1.5, "y": 2.5, "z": -3.5}', [1.5, 2.5, -3.5]),
        (b'{"z": 3, "y": 2, "x": 1}', [1.0, 2.0, 3.0]),
        (b' {"x":0,"y":-0.0,"z":5e-324}\n', [0.0, -0.0, 5e-324]),
        (
            b'{"x": 9007199254740993, "y": 1E2, "z": 1.7976931348623157e308}',
            [2.0**53, 100.0, 1.7976931348623157e308],
        ),
    ],
)
def test_values_come_in_the_order_of_the_channels(body, values):
    assert str(decode(body, *factories.XYZ)) == str(values)


@reproducible
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
@example([-0.0, 5e-324, 2.2250738585072011e-308])
def test_every_double_is_decoded_as_python_wrote_it(values):
    body = json.dumps(dict(zip(factories.XYZ, values, strict=True)))
    assert list(map(float.hex, decode(body.encode(), *factories.XYZ))) == list(map(float.hex, values))


@pytest.mark.parametrize(
    "value",
    [
        "true",
        "false",
        "null",
        '"1"',
        '"1_000"',
        '"NaN"',
        "[]",
        "[1]",
        "{}",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        BEYOND,
        "1" * 5000,
    ],
)
def test_what_is_no_finite_number_is_refused_by_its_channel(value):
    assert faulty_fields('{"x": 1, "y": VALUE, "z": 3}'.replace("VALUE", value)) == ["y"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ("{}", ["x", "y", "z"]),
        ('{"x": 1, "z": 3}', ["y"]),
        ('{"x": 1, "y": 2, "z": 3, "w": 4}', ["w"]),
        ('{"X": 1, "x": 1, "y": 2, "z": 3, "": 4}', ["", "X"]),
        ('{"x": true, "z": "3", "w": 4, "timestamp": true}', ["x", "y", "z", "timestamp", "w"]),
        ('{"x": 1, "y": 2, "z": 3, "timestamp": null}', ["timestamp"]),
        ('{"x": 1, "y": 2, "z": 3, "timestamp": 1e300}', ["timestamp"]),
        ('{"x": 1, "y": 2, "z": 3, "timestamp": ["2026-11-21"]}', ["timestamp"]),
    ],
)
def test_every_fault_is_named(body, fields):
    assert faulty_fields(body) == fields


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b"x=1&y=2&z=3", b"null", b"true", b"1", b'"x"', b"[]", b'[{"x":1,"y":2,"z":3}]'),
        *(b'{"x":1,"y":2,"z":3}{}', b'{"x":1,"y":2,"z":3,}', b"{'x':1,'y':2,'z':3}", b'{"x":01,"y":2,"z":3}'),
        *(
            b'{"x":.5,"y":2,"z":3}',
            b'{"x":1.,"y":2,"z":3}',
            b'{"x":+1,"y":2,"z":3}',
            b'{"x":0x1,"y":2,"z":3}',
        ),
        *(b'{"x":1_0,"y":2,"z":3}', '{"x":١,"y":2,"z":3}'.encode(), b'{"x":1,"y":2,"z":3,"\xff":4}'),
        *(
            '{"x":1,"y":2,"z":3}'.encode("utf-16"),
            b'\xef\xbb\xbf{"x":1,"y":2,"z":3}',
            b'{"x":1,"y":2,"z":3}\x00',
        ),
        *(b"[" * 5000, b'{"x":' * 5000, b'{"x":1,"y":2,"z":3,"w":' + b"[" * 100_000),
    ],
)
def test_what_is_no_json_object_is_refused_as_a_body(body):
    assert faulty_fields(body) == ["body"]


def test_words_of_python_can_be_channels():
    assert decode(b'{"c0": 3, "self": 2, "class": 1}', "class", "self", "c0") == [1.0, 2.0, 3.0]


@pytest.mark.django_db
class TestPostReading:
    def test_without_a_stamp_the_reading_is_of_now(self):
        device = factories.device()
        assert post(device, b'{"x":1,"y":2,"z":3}') == {"status": "ok"}
        assert readings_table.latest([device.pk])[device.pk][:3] == (device.pk, NOW, [1.0, 2.0, 3.0])

    def test_a_naive_stamp_is_read_in_the_devices_zone_and_the_receipt_says_so(self):
        device = factories.device(time_zone="Asia/Tokyo")
        body = b'{"x":1,"y":2,"z":3,"timestamp":"2026-11-21T20:00:00"}'
        assert post(device, body)["assumed_timezone"] == "Asia/Tokyo"
        assert readings_table.first_time([device.pk]) == NOW - timedelta(hours=1)

    def test_a_bad_stamp_is_named_beside_bad_values(self):
        device = ranged_device(minimum=0.0)
        with pytest.raises(InvalidItems) as refused:
            post(device, b'{"level": -1, "timestamp": "yesterday"}')
        assert [error["field"] for error in refused.value.errors] == ["level", "timestamp"]
        assert stored(device) == []

    def test_five_minutes_ahead_is_a_clock_and_more_a_mistake(self):
        device = factories.device()
        ahead = NOW + timedelta(minutes=5)
        post_all(device, [(ahead, (1, 2, 3))])
        with pytest.raises(InvalidItems) as refused:
            post_all(device, [(ahead + timedelta(microseconds=1), (4, 5, 6))])
        assert refused.value.errors[0]["message"].startswith("timestamp: ")
        assert stored(device) == [[1, 2, 3]]

    def test_any_age_is_taken_unless_retention_is_limited(self):
        device = factories.device()
        post(device, b'{"x":1,"y":2,"z":3,"timestamp":"0001-01-01T00:00:00Z"}')
        assert readings_table.first_time([device.pk]).year == 1

    def test_what_retention_would_delete_is_refused(self, settings):
        settings.RETENTION_DAYS = 30
        device = factories.device()
        oldest = NOW - timedelta(days=30)
        post_all(device, [(oldest, (1, 2, 3))])
        with pytest.raises(InvalidItems, match="30 days"):
            post_all(device, [(oldest - timedelta(microseconds=1), (4, 5, 6))])
        assert stored(device) == [[1, 2, 3]]

    @pytest.mark.parametrize(("value", "is_stored"), [(-2, False), (-1, True), (1, True), (2, False)])
    def test_the_range_of_a_channel_includes_its_ends(self, value, is_stored):
        device = ranged_device(minimum=-1.0, maximum=1.0)
        if is_stored:
            post_all(device, [(NOW, [value])])
        else:
            with pytest.raises(InvalidItems) as refused:
                post_all(device, [(NOW, [value])])
            assert refused.value.errors[0]["message"].startswith("level: ")
        assert stored(device) == [[value]] * is_stored

    @pytest.mark.parametrize("bounds", [{"minimum": 0.0}, {"maximum": 0.0}])
    def test_one_bound_alone_bounds_one_side(self, bounds):
        device = ranged_device(**bounds)
        sign = 1 if "minimum" in bounds else -1
        post_all(device, [(NOW, [sign * 1e300])])
        with pytest.raises(InvalidItems):
            post_all(device, [(NOW, [-sign * 5e-324])])

    def test_one_bad_reading_of_many_leaves_none(self):
        device = ranged_device(maximum=1.0)
        with pytest.raises(InvalidItems):
            post_all(device, [(NOW, [1.0]), (NOW, [math.pi]), (NOW, [0.5])])
        assert stored(device) == []


def ranged_device(**bounds: float):
    profile = factories.profile("tank", ["level"])
    profile.channels.update(**bounds)
    return factories.device(profile=profile)
