"""Tests of `POST /devices/{id}/stats/batch` by the contract, and of what it shares with `POST /data`."""

import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support import factories
from tests.support.portal import Person, Portal, Sender
from tests.support.senders import (
    STAMP,
    UNUSUAL_JSON,
    Answer,
    Connection,
    at_once,
    batch_path,
    new_profile,
    stats_path,
)

MAX_ITEMS, MAX_BYTES = 10_000, 5 * 1024 * 1024
READING = {"timestamp": STAMP, "x": 1, "y": 2.5, "z": -3}
doors = pytest.mark.parametrize("content_type", ["application/json", UNUSUAL_JSON], ids=["gate", "rest"])


Post = Callable[..., Answer]


@pytest.fixture
def post(portal: Portal, device: Sender) -> Post:
    def post(body: Any, query: str = "", **options: Any) -> Answer:
        with Connection(portal) as connection:
            return connection.post(batch_path(device) + query, body, device_key=device.key, **options)

    return post


def stored(portal: Portal, device: Sender) -> list[tuple[datetime, list[float]]]:
    """All readings, in their order of time."""
    return portal.query(
        "SELECT time, values FROM devices_reading WHERE device_id ="
        " (SELECT id FROM devices_device WHERE uuid = %s) ORDER BY time, values",
        device.id,
    )


def numbered(count: int) -> list[dict[str, Any]]:
    return [READING | {"x": number} for number in range(count)]


# --- receipts


@doors
def test_receipt_counts_what_was_stored(
    portal: Portal, device: Sender, post: Post, content_type: str
) -> None:
    answer = post(numbered(3), content_type=content_type)
    assert (answer.status, answer.json()) == (201, {"accepted": 3, "rejected": []})
    assert answer.headers["content-type"] == "application/json"
    time = datetime.fromisoformat(STAMP)
    assert stored(portal, device) == [(time, [float(number), 2.5, -3.0]) for number in range(3)]


@doors
def test_empty_batch_is_a_batch(portal: Portal, device: Sender, post: Post, content_type: str) -> None:
    answer = post([], content_type=content_type)
    assert (answer.status, answer.json()) == (201, {"accepted": 0, "rejected": []})
    assert stored(portal, device) == []


def test_readings_with_the_same_stamp_and_values_are_all_kept(
    portal: Portal, device: Sender, post: Post
) -> None:
    for _ in range(2):
        assert post([READING] * 5).json()["accepted"] == 5
    assert len(stored(portal, device)) == 10
    assert len(portal.get(f"/stats/{device.id}/")) == 10


def test_one_bad_item_and_nothing_is_stored(portal: Portal, device: Sender, post: Post) -> None:
    items = numbered(6)
    items[2] = READING | {"y": None}
    items[5] = {"x": 1, "y": 2, "z": 3}
    answer = post(items)
    assert answer.status == 400
    assert answer.json()["errors"] == [
        {"index": 2, "message": "y: Must be a number."},
        {"index": 5, "message": "timestamp: Is missing."},
    ]
    assert stored(portal, device) == []


@doors
def test_partial_stores_the_good_ones_and_names_the_others(
    portal: Portal, device: Sender, post: Post, content_type: str
) -> None:
    items = numbered(6)
    items[0] = READING | {"timestamp": "yesterday"}
    items[4] = 4
    answer = post(items, "?partial=true", content_type=content_type)
    receipt = answer.json()
    assert (answer.status, receipt["accepted"]) == (201, 4)
    assert [rejected["index"] for rejected in receipt["rejected"]] == [0, 4]
    assert all(rejected["message"] for rejected in receipt["rejected"])
    assert [values[0] for _, values in stored(portal, device)] == [1, 2, 3, 5]


def test_partial_where_all_are_bad_stores_nothing(portal: Portal, device: Sender, post: Post) -> None:
    answer = post([None, {}], "?partial=true")
    assert (answer.status, answer.json()["accepted"], len(answer.json()["rejected"])) == (201, 0, 2)
    assert stored(portal, device) == []


@pytest.mark.parametrize("query", ["?partial=yes", "?partial=", "?Partial=true", "?partial=true&limit=1"])
def test_unknown_query_is_400_by_its_name(portal: Portal, device: Sender, post: Post, query: str) -> None:
    answer = post([READING], query)
    assert answer.status == 400
    assert answer.json()["errors"][0]["field"] in ("partial", "Partial", "limit")
    assert stored(portal, device) == []


def test_all_are_answered_only_when_they_are_stored(portal: Portal, owner: Person) -> None:
    """Batches of 16 devices at once go into one commit or several; each is there when it is answered."""
    devices = [portal.new_device(owner) for _ in range(16)]

    def post_and_count(number: int) -> int:
        device = devices[number]
        with Connection(portal) as connection:
            assert connection.post(batch_path(device), [READING] * 100, device_key=device.key).status == 201
        return len(stored(portal, device))

    assert at_once(post_and_count) == [100] * 16


# --- limits


@doors
def test_ten_thousand_items_are_taken_and_one_more_is_413(
    portal: Portal, device: Sender, post: Post, content_type: str
) -> None:
    # Partial or not: a batch that is too long is not cut.
    for query in ("", "?partial=true"):
        answer = post([READING] * (MAX_ITEMS + 1), query, content_type=content_type)
        assert answer.status == 413
        assert answer.headers["content-type"] == "application/problem+json"
    assert stored(portal, device) == []
    answer = post([READING] * MAX_ITEMS, content_type=content_type)
    assert (answer.status, answer.json()["accepted"]) == (201, MAX_ITEMS)
    assert len(stored(portal, device)) == MAX_ITEMS


@doors
def test_five_mebibytes_are_taken_and_one_byte_more_is_413(
    portal: Portal, device: Sender, post: Post, content_type: str
) -> None:
    body = json.dumps([READING]).encode()
    body += b" " * (MAX_BYTES - len(body))
    answer = post(body + b" ", content_type=content_type)
    assert answer.status == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert stored(portal, device) == []
    assert post(body, content_type=content_type).status == 201
    assert len(stored(portal, device)) == 1


def test_client_that_waits_for_leave_to_send_its_body_gets_it(portal: Portal, device: Sender) -> None:
    """curl does this with long bodies."""
    body = json.dumps([READING]).encode()
    lines = (
        f"POST {batch_path(device)} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: close",
        f"Authorization: Device {device.key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Expect: 100-continue",
    )
    with socket.create_connection(("127.0.0.1", portal.port), timeout=30) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode())
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 201 ")
    assert len(stored(portal, device)) == 1


def test_other_media_types_are_415(portal: Portal, device: Sender, post: Post) -> None:
    for content_type in ("text/plain", "application/xml", "application/x-www-form-urlencoded", "nonsense"):
        answer = post([READING], content_type=content_type)
        assert (answer.status, answer.headers["content-type"]) == (415, "application/problem+json")
    assert stored(portal, device) == []


# --- time


def test_offsets_may_be_mixed_and_microseconds_are_kept(portal: Portal, device: Sender, post: Post) -> None:
    texts = {
        "2020-02-02T12:00:00.000001Z": datetime(2020, 2, 2, 12, 0, 0, 1, UTC),
        "2020-02-02T12:00:00.123456+05:30": datetime(2020, 2, 2, 6, 30, 0, 123456, UTC),
        "2020-02-02 12:00:00,5-11:00": datetime(2020, 2, 2, 23, 0, 0, 500000, UTC),
        "2020-02-02T12:00:00.123456789+0000": datetime(2020, 2, 2, 12, 0, 0, 123456, UTC),
        "2020-02-02t12:00z".replace("t", "T"): datetime(2020, 2, 2, 12, tzinfo=UTC),
        "0001-01-01T00:00:00Z": datetime(1, 1, 1, tzinfo=UTC),
        "1969-12-31T23:59:59.999999Z": datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
    }
    receipt = post([READING | {"timestamp": text} for text in texts]).json()
    assert receipt == {"accepted": len(texts), "rejected": []}
    assert [time for time, _ in stored(portal, device)] == sorted(texts.values())


@doors
def test_naive_stamps_are_read_in_the_devices_zone_and_the_receipt_says_so(
    portal: Portal, owner: Person, content_type: str
) -> None:
    device = portal.new_device(owner, time_zone="Europe/Berlin")
    naive = READING | {"timestamp": "2020-07-01T12:00:00"}
    with Connection(portal) as connection:
        options = {"device_key": device.key, "content_type": content_type}
        answer = connection.post(batch_path(device), [READING, naive], **options)
        assert answer.json() == {"accepted": 2, "rejected": [], "assumed_timezone": "Europe/Berlin"}
        assert connection.post(batch_path(device), [READING], **options).json().keys() == {
            "accepted",
            "rejected",
        }
        single = connection.post(stats_path(device), naive, **options)
        assert single.json() == {"status": "ok", "assumed_timezone": "Europe/Berlin"}
    assert stored(portal, device)[-1][0] == datetime(2020, 7, 1, 10, tzinfo=UTC)


def ahead(delta: timedelta) -> dict[str, Any]:
    return READING | {"timestamp": (datetime.now(UTC) + delta).isoformat()}


def test_more_than_five_minutes_ahead_is_refused(portal: Portal, device: Sender, post: Post) -> None:
    soon, later = ahead(timedelta(minutes=4)), ahead(timedelta(minutes=6))
    answer = post([soon, later])
    assert [error["index"] for error in answer.json()["errors"]] == [1]
    assert "5 minutes" in answer.json()["errors"][0]["message"]
    assert post([soon]).status == 201
    assert len(stored(portal, device)) == 1


def test_profile_may_allow_the_future(portal: Portal, owner: Person) -> None:
    """A forecast lies in the future; partitions are made for any month."""
    profile = new_profile(portal, allows_future=True, x=(None, None), y=(None, None), z=(None, None))
    device = portal.new_device(owner, profile)
    texts = [ahead(timedelta(days=400))["timestamp"], "9999-12-31T23:59:59.999999Z"]
    with Connection(portal) as connection:
        for text in texts:
            reading = READING | {"timestamp": text}
            for path, body in ((batch_path(device), [reading]), (stats_path(device), reading)):
                assert connection.post(path, body, device_key=device.key).status == 201
    assert [time for time, _ in stored(portal, device)] == [
        datetime.fromisoformat(text) for text in texts for _ in range(2)
    ]


def test_late_data_of_any_age_is_taken(portal: Portal, owner: Person, device: Sender, post: Post) -> None:
    """The readings come in any order and over many partitions."""
    texts = [f"{year:04}-{1 + year % 12:02}-01T00:00:00Z" for year in (2019, 1, 2015, 1999, 1582, 2017)]
    post([READING])
    assert post([READING | {"timestamp": text} for text in texts]).json()["accepted"] == len(texts)
    assert [time.year for time, _ in stored(portal, device)] == [1, 1582, 1999, 2015, 2017, 2019, 2020]
    assert portal.get(f"/devices/{device.id}/", owner.token)["last_reading"]["timestamp"] == STAMP


@pytest.mark.django_db
def test_what_retention_would_delete_is_refused_by_index(client: Client, settings) -> None:
    settings.RETENTION_DAYS = 30
    device = factories.device()
    _, token = factories.token(device.owner)
    items = [
        READING | {"timestamp": (datetime.now(UTC) - timedelta(days=days)).isoformat()} for days in (29, 31)
    ]
    answer = client.post(
        f"/devices/{device.uuid}/stats/batch",
        items,
        content_type="application/json",
        headers={"authorization": f"Token {token}"},
    )
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"index": 1, "message": "timestamp: Is older than the 30 days that are kept."}
    ]


# --- ranges and numbers


def test_ranges_of_the_profile_are_kept_by_index(portal: Portal, owner: Person) -> None:
    device = portal.new_device(owner, new_profile(portal, x=(0, 1), y=(None, 5), z=(-5, None)))
    values = [(0, 5, -5), (1, -1e308, 1e308), (-5e-324, 0, 0), (0, 5.000001, 0), (0, 0, -6)]
    items = [{"timestamp": STAMP, "x": x, "y": y, "z": z} for x, y, z in values]
    with Connection(portal) as connection:
        answer = connection.post(batch_path(device), items, device_key=device.key)
        errors = [(error["index"], error["message"]) for error in answer.json()["errors"]]
        assert errors == [
            (2, "x: Must be at least 0.0."),
            (3, "y: Must be at most 5.0."),
            (4, "z: Must be at least -5.0."),
        ]
        assert connection.post(batch_path(device), items[:2], device_key=device.key).status == 201
    assert len(stored(portal, device)) == 2


def test_integers_and_extreme_numbers_come_back_as_they_went_in(
    portal: Portal, device: Sender, post: Post
) -> None:
    numbers = [0, -1, 2**53, 123456789012345678, 5e-324, -1.7976931348623157e308, 0.1, -0.0]
    post([READING | {"x": number} for number in numbers])
    found = [values[0] for _, values in stored(portal, device)]
    assert sorted(map(repr, found)) == sorted(repr(float(number)) for number in numbers)
    listed = [reading["x"] for reading in portal.get(f"/stats/{device.id}/")]
    assert sorted(map(repr, listed)) == sorted(map(repr, found))


# --- queries


@pytest.mark.django_db
@pytest.mark.parametrize("route", ["batch", "data"])
def test_queries_do_not_grow_with_the_readings(client: Client, route: str) -> None:
    factories.profile("scalar", ["value"])
    device = factories.device()
    _, token = factories.token(device.owner)
    path = "/data" if route == "data" else f"/devices/{device.uuid}/stats/batch"

    def queries(count: int) -> int:
        # Sensors that nobody knows yet, and some again.
        sensors = [{"sensor": f"{count}/{i % 500}", "timestamp": STAMP, "value": i} for i in range(count)]
        items = sensors if route == "data" else [READING] * count
        with CaptureQueriesContext(connection) as captured:
            answer = client.post(
                path, items, content_type="application/json", headers={"authorization": f"Token {token}"}
            )
        assert answer.json()["accepted"] == count
        return len(captured)

    # What the first request finds out stays known for some seconds; on a busy machine it is asked for again.
    queries(1)
    assert queries(1000) <= queries(2) + 10
