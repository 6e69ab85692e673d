"""Timestamps as numbers, over HTTP: by the gate and by the REST view, known heads, batches and sensors."""

from datetime import UTC, datetime
from typing import Any

import pytest

from devices.ingestion.batch_stamps import parse_batch_stamps
from tests.support.portal import Person, Portal, Sender
from tests.support.senders import UNUSUAL_JSON, Answer, Connection, batch_path, stats_path

XYZ = {"x": 1, "y": 2, "z": 3}
TIME = datetime(2024, 11, 27, 9, 33, 20, 123456, tzinfo=UTC)
WRITTEN = {
    "": "1732700000.123456",
    "?precision=s": "1732700000.123456",
    "?precision=ms": "1732700000123.456",
    "?precision=us": "1732700000123456",
    "?precision=ns": "1732700000123456400",
}
doors = pytest.mark.parametrize("content_type", ["application/json", UNUSUAL_JSON], ids=["gate", "rest"])
units = pytest.mark.parametrize(("query", "number"), WRITTEN.items(), ids=lambda text: text or "default")


def stored(portal: Portal, device: Sender) -> list[datetime]:
    found = portal.query(
        "SELECT time FROM devices_reading WHERE device_id ="
        " (SELECT id FROM devices_device WHERE uuid = %s) ORDER BY time",
        device.id,
    )
    return [time for (time,) in found]


def reading(number: str) -> bytes:
    return b'{"timestamp": %b, "x": 1, "y": 2, "z": 3}' % number.encode()


@doors
@units
def test_a_reading(portal: Portal, device: Sender, query: str, number: str, content_type: str) -> None:
    with Connection(portal) as connection:
        # The second time the gate knows the head.
        for _ in range(2):
            answer = connection.post(
                stats_path(device) + query, reading(number), device_key=device.key, content_type=content_type
            )
            assert (answer.status, answer.json()) == (201, {"status": "ok"})
    assert stored(portal, device) == [TIME, TIME]


@doors
@units
def test_a_batch(portal: Portal, device: Sender, query: str, number: str, content_type: str) -> None:
    path = batch_path(device) + query
    texts = b'{"timestamp": "2024-11-27T09:33:20.123456Z", "x": 1, "y": 2, "z": 3}'
    with Connection(portal) as connection:
        for items in ([reading(number)] * 2, [reading(number), texts]):
            body = b"[%b]" % b",".join(items)
            answer = connection.post(path, body, device_key=device.key, content_type=content_type)
            assert (answer.status, answer.json()) == (201, {"accepted": 2, "rejected": []})
    assert stored(portal, device) == [TIME] * 4


@units
def test_a_bad_item_beside_it_leaves_a_number_exact(
    portal: Portal, device: Sender, query: str, number: str
) -> None:
    path = batch_path(device) + (f"{query}&partial=true" if query else "?partial=true")
    with Connection(portal) as connection:
        answer = connection.post(path, b"[%b, null]" % reading(number), device_key=device.key)
    assert answer.json()["accepted"] == 1
    assert stored(portal, device) == [TIME]


@doors
@units
def test_sensors(portal: Portal, owner: Person, query: str, number: str, content_type: str) -> None:
    items = b'[{"sensor": "boiler", "timestamp": %b, "value": 1}]' % number.encode()
    with Connection(portal) as connection:
        answer = connection.post("/data" + query, items, token=owner.token, content_type=content_type)
    assert answer.status == 201, answer.body
    found = portal.get("/statistics/boiler", owner.token)
    assert found["last_measurement"] == "2024-11-27T09:33:20.123456Z"


def refused(answer: Answer) -> dict[str, Any]:
    assert answer.status == 400
    [error] = answer.json()["errors"]
    return error


@doors
@pytest.mark.parametrize("name", ["", "S", "m", "sec", "minutes", "1", "ms,us", "%00"])
def test_an_unknown_precision_is_named(portal: Portal, device: Sender, name: str, content_type: str) -> None:
    with Connection(portal) as connection:
        for path in (stats_path(device), batch_path(device)):
            body = reading("1") if path == stats_path(device) else b"[]"
            query = f"?precision={name}"
            answer = connection.post(path + query, body, device_key=device.key, content_type=content_type)
            assert refused(answer) == {"field": "precision", "message": "Must be one of s, ms, us, ns."}
    assert stored(portal, device) == []


@doors
@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("NaN", "Must be a finite number."),
        ("1e400", "Must be a finite number."),
        ("true", "Must be a string or a number."),
        ("1732700000123", "Not a date and time: the year must be 1 to 9999."),
        ("4102444800", "Is more than 5 minutes in the future."),
    ],
)
def test_a_bad_number_is_named(
    portal: Portal, device: Sender, number: str, message: str, content_type: str
) -> None:
    with Connection(portal) as connection:
        answer = connection.post(
            stats_path(device), reading(number), device_key=device.key, content_type=content_type
        )
        error = refused(answer)
        assert (error["field"], error["message"][: len(message)]) == ("timestamp", message)
        body = b"[%b, %b]" % (reading("1"), reading(number))
        answer = connection.post(batch_path(device), body, device_key=device.key, content_type=content_type)
        error = refused(answer)
        assert (error["index"], error["message"][: len(message) + 11]) == (1, f"timestamp: {message}")
    assert stored(portal, device) == []


@doors
def test_the_same_key_and_body_in_another_precision_is_another_request(
    portal: Portal, device: Sender, content_type: str
) -> None:
    options = {"device_key": device.key, "content_type": content_type, "headers": {"Idempotency-Key": "k"}}
    with Connection(portal) as connection:
        statuses = [
            connection.post(stats_path(device) + query, reading("1732700000"), **options).status
            for query in ("", "?precision=s", "?precision=ms", "")
        ]
    assert statuses == [201, 201, 409, 201]
    assert stored(portal, device) == [TIME.replace(microsecond=0)]


def test_a_batch_of_numbers_is_parsed_together_unless_one_is_bad() -> None:
    assert parse_batch_stamps([1, 1.5, -2]).tolist() == [1_000_000, 1_500_000, -2_000_000]
    assert parse_batch_stamps([1, 1e300]) is None
    assert parse_batch_stamps([1, "2024-11-27T09:33:20Z"]) is None
    assert parse_batch_stamps([1, True]) is None
