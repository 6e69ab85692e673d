"""Tests of `POST /data`, `GET` and `DELETE /statistics/{sensor}` by the contract."""

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.portal import Person, Portal, eventually
from tests.support.senders import (
    STAMP,
    UNUSUAL_JSON,
    Answer,
    Connection,
    at_once,
    connection_to_each,
    new_profile,
)

NOTHING = {"last_measurement": None, "count": 0, "avg": 0.0}
doors = pytest.mark.parametrize("content_type", ["application/json", UNUSUAL_JSON], ids=["gate", "rest"])


@pytest.fixture
def connection(portal: Portal) -> Iterator[Connection]:
    with Connection(portal) as connection:
        yield connection


Post = Callable[..., Answer]


@pytest.fixture
def post(connection: Connection, owner: Person) -> Post:
    def post(items: Any, query: str = "", **options: Any) -> Answer:
        return connection.post("/data" + query, items, token=owner.token, **options)

    return post


def item(sensor: str, value: float, timestamp: str = STAMP) -> dict[str, Any]:
    return {"sensor": sensor, "timestamp": timestamp, "value": value}


def path(sensor: str) -> str:
    """A client that follows the rules writes every other character as %xx, slashes and dots, too."""
    return "/statistics/" + "".join(f"%{byte:02X}" for byte in sensor.encode())


def statistics(connection: Connection, sensor: str, person: Person, written: str | None = None) -> dict:
    """Ask for the sensor's statistics; `written` is its path as it stands in the request."""
    answer = connection.send("GET", written or path(sensor), token=person.token)
    assert answer.status == 200, answer
    return answer.json()


def registered(portal: Portal, person: Person) -> dict[str, dict]:
    """The person's devices by external id."""
    return {device["external_id"]: device for device in portal.get("/devices/?limit=1000", person.token)}


# --- the source's own way


def test_the_sources_own_example(portal: Portal, owner: Person, connection: Connection, post: Post) -> None:
    """A mix of sensors and offsets; the last reading is the one with the largest time, not the last sent."""
    assert statistics(connection, "sensor-1", owner) == NOTHING
    answer = post(
        [
            item("sensor-1", 10, "2020-01-01T12:00:00+02:00"),
            item("sensor-2", -7.5, "2020-01-01T12:00:00-08:00"),
            item("sensor-1", 20, "2020-01-01T11:00:00Z"),
            item("sensor-1", 33, "2020-01-01T09:59:59.999999Z"),
        ]
    )
    assert (answer.status, answer.json()) == (201, {"accepted": 4, "rejected": []})
    first = {"last_measurement": "2020-01-01T11:00:00Z", "count": 3, "avg": 21.0}
    assert statistics(connection, "sensor-1", owner) == first
    second = {"last_measurement": "2020-01-01T20:00:00Z", "count": 1, "avg": -7.5}
    assert statistics(connection, "sensor-2", owner) == second

    cleared = connection.send("DELETE", "/statistics/sensor-1", token=owner.token)
    assert (cleared.status, cleared.body) == (204, b"")
    assert statistics(connection, "sensor-1", owner) == NOTHING
    assert statistics(connection, "sensor-2", owner) == second
    assert connection.send("DELETE", "/statistics/sensor-1", token=owner.token).status == 204

    post([item("sensor-1", 4, "2019-06-01T00:00:00Z")])
    assert statistics(connection, "sensor-1", owner) == {
        "last_measurement": "2019-06-01T00:00:00Z",
        "count": 1,
        "avg": 4.0,
    }


@doors
def test_empty_array_is_taken(portal: Portal, owner: Person, post: Post, content_type: str) -> None:
    answer = post([], content_type=content_type)
    assert (answer.status, answer.json()) == (201, {"accepted": 0, "rejected": []})
    assert registered(portal, owner) == {}


def test_unknown_sensor_is_deleted_like_any(connection: Connection, owner: Person) -> None:
    answer = connection.send("DELETE", "/statistics/nobody-knows-it", token=owner.token)
    assert (answer.status, answer.body) == (204, b"")


@doors
def test_unknown_sensor_is_registered_under_the_holder(
    portal: Portal, owner: Person, post: Post, content_type: str
) -> None:
    assert post([item("a", 1), item("b", 2), item("a", 3)], content_type=content_type).status == 201
    found = registered(portal, owner)
    assert found.keys() == {"a", "b"}
    for sensor, device in found.items():
        assert (device["profile"], device["user_id"], device["name"]) == ("scalar", owner.id, sensor)
        assert [channel["name"] for channel in device["channels"]] == ["value"]


def test_refused_batch_registers_nobody(portal: Portal, owner: Person, post: Post) -> None:
    answer = post([item("new", 1), item("new too", True)])
    assert answer.status == 400
    assert answer.json()["errors"] == [{"index": 1, "message": "value: Must be a number."}]
    assert registered(portal, owner) == {}


def test_partial_registers_those_with_a_good_reading(portal: Portal, owner: Person, post: Post) -> None:
    answer = post([item("good", 1), item("bad", None), item("", 1), item("good", 2)], "?partial=true")
    assert (answer.status, answer.json()["accepted"]) == (201, 2)
    assert [rejected["index"] for rejected in answer.json()["rejected"]] == [1, 2]
    assert registered(portal, owner).keys() == {"good"}


def test_registered_device_of_one_channel_is_a_sensor(
    portal: Portal, owner: Person, connection: Connection, post: Post
) -> None:
    """A known device keeps its range and zone; one with several channels or inactive is refused by index."""
    profile = new_profile(portal, level=(0, 100))
    portal.new_device(owner, profile, external_id="tank", time_zone="Asia/Tokyo")
    portal.new_device(owner, external_id="pump")
    portal.new_device(owner, "scalar", external_id="off", active=False)
    answer = post([item("tank", 100.5), item("pump", 1), item("off", 1), item("tank", 100)])
    assert [error["index"] for error in answer.json()["errors"]] == [0, 1, 2]
    answer = post([item("tank", 50, "2020-02-02T12:00:00"), item("new", 1, "2020-02-02T12:00:00")])
    assert answer.json() == {"accepted": 2, "rejected": [], "assumed_timezone": "Asia/Tokyo, UTC"}
    assert statistics(connection, "tank", owner)["last_measurement"] == "2020-02-02T03:00:00Z"
    assert statistics(connection, "new", owner)["last_measurement"] == "2020-02-02T12:00:00Z"


def test_too_far_ahead_is_refused_by_index(connection: Connection, owner: Person, post: Post) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    soon, later = now + timedelta(minutes=4), now + timedelta(minutes=6)
    answer = post([item("s", 1, soon.isoformat()), item("s", 2, later.isoformat())], "?partial=true")
    assert [rejected["index"] for rejected in answer.json()["rejected"]] == [1]
    assert datetime.fromisoformat(statistics(connection, "s", owner)["last_measurement"]) == soon


def test_ten_thousand_sensors_in_one_post(portal: Portal, owner: Person, post: Post) -> None:
    assert post([item(f"s{number}", number) for number in range(10_000)]).status == 201
    [(count,)] = portal.query("SELECT count(*) FROM devices_device WHERE owner_id = %s", owner.id)
    assert count == 10_000
    assert post([item("s", 1)] * 10_001).status == 413


# --- whose they are


def test_sensors_of_two_owners_with_the_same_id_are_two(
    portal: Portal, owner: Person, connection: Connection, post: Post
) -> None:
    stranger = portal.new_user()
    post([item("s", 1)])
    connection.post("/data", [item("s", 10), item("s", 30)], token=stranger.token)
    assert statistics(connection, "s", owner)["avg"] == 1.0
    assert statistics(connection, "s", stranger)["avg"] == 20.0
    assert connection.send("DELETE", "/statistics/s", token=stranger.token).status == 204
    assert statistics(connection, "s", owner)["count"] == 1
    assert statistics(connection, "s", stranger) == NOTHING


def test_strangers_sensor_is_as_unknown_as_any(portal: Portal, connection: Connection, post: Post) -> None:
    stranger = portal.new_user()
    post([item("s", 1)])
    assert statistics(connection, "s", stranger) == NOTHING
    assert connection.send("DELETE", "/statistics/s", token=stranger.token).status == 204
    [(count,)] = portal.query("SELECT count(*) FROM devices_device WHERE owner_id = %s", stranger.id)
    assert count == 0


def test_staff_see_the_sensor_whose_ever_it_is(portal: Portal, owner: Person, connection: Connection) -> None:
    sensor = secrets.token_hex(8)
    connection.post("/data", [item(sensor, 1)], token=owner.token)
    assert statistics(connection, sensor, portal.new_user("staff"))["count"] == 1


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_statistics_are_for_those_who_may_read_or_write(
    portal: Portal, owner: Person, connection: Connection, post: Post, method: str
) -> None:
    post([item("s", 1)])
    device = portal.new_device(owner)
    assert connection.send(method, "/statistics/s").status == 401
    assert connection.send(method, "/statistics/s", device_key=device.key).status == 403
    only_posts = portal.new_token(owner.id, scopes=["ingest"])
    assert connection.send(method, "/statistics/s", token=only_posts).status == 403
    assert statistics(connection, "s", owner)["count"] == 1


def test_devices_key_posts_no_sensors(portal: Portal, owner: Person, connection: Connection) -> None:
    device = portal.new_device(owner, "scalar", external_id="s")
    assert connection.post("/data", [item("s", 1)], device_key=device.key).status == 403


# --- ids

HARD_IDS = [
    *("a/b", "/", "//", "a/", "/a", "a//b", "..", ".", "../..", "./a", "a/../b", "/statistics/a"),
    *("%", "%2F", "%252F", "%00", "100%", "a b", " ", "+", "a+b", "?", "a?b=c", "#", "a#b", "&", ";", "a;b"),
    *("Größe", "温度", "💧", "e\u0301", "é", "\u202eabc", "\u00a0", "\ufeff", "\U0010ffff", "ſ", "İ"),
    *("a\nb", "\n", "a\r\nb", "\t", "\x01", "\x7f", "\u2028", "\\", "\\n", '"', "'", "'; --", "<b>", "{}"),
    *("null", "None", "0", "-1", "A", "a", "s" * 255, "ß" * 255, "💧" * 255, "statistics", "data.json"),
]


def test_hard_ids_are_sensors_each_of_its_own(
    portal: Portal, owner: Person, connection: Connection, post: Post
) -> None:
    assert len(set(HARD_IDS)) == len(HARD_IDS)
    assert post([item(sensor, number) for number, sensor in enumerate(HARD_IDS)]).status == 201
    assert registered(portal, owner).keys() == set(HARD_IDS)
    for number, sensor in enumerate(HARD_IDS):
        found = {"last_measurement": STAMP, "count": 1, "avg": float(number)}
        assert statistics(connection, sensor, owner) == found, sensor
        # As libraries write it, which leave dots and letters as they are.
        assert statistics(connection, sensor, owner, "/statistics/" + quote(sensor, safe="")) == found, sensor
    for sensor in HARD_IDS[::7]:
        assert connection.send("DELETE", path(sensor), token=owner.token).status == 204
        assert statistics(connection, sensor, owner) == NOTHING
    [(count,)] = portal.query(
        "SELECT count(*) FROM devices_reading JOIN devices_device d ON d.id = device_id"
        " WHERE d.owner_id = %s",
        owner.id,
    )
    assert count == len(HARD_IDS) - len(HARD_IDS[::7])


def test_slash_at_the_end_is_optional_here_too(connection: Connection, owner: Person, post: Post) -> None:
    """A slash that belongs to the sensor comes as %2F; one in its middle may also stand as it is."""
    post([item("a", 1), item("a/", 2), item("a/b", 3)])
    for written, average in (
        ("a", 1),
        ("a/", 1),
        ("a%2F", 2),
        ("a%2f", 2),
        ("a%2F/", 2),
        ("a/b", 3),
        ("a%2Fb", 3),
        ("a/b/", 3),
        ("a%2Fb/", 3),
    ):
        assert statistics(connection, "", owner, f"/statistics/{written}")["avg"] == average, written
    assert connection.send("DELETE", "/statistics/a/", token=owner.token).status == 204
    assert statistics(connection, "a", owner) == NOTHING
    assert statistics(connection, "a/", owner)["count"] == 1


def test_statistics_of_no_sensor_are_404(connection: Connection, owner: Person) -> None:
    for written in ("/statistics", "/statistics/"):
        answer = connection.send("GET", written, token=owner.token)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


def test_ids_that_no_sensor_can_have_have_no_readings(connection: Connection, owner: Person) -> None:
    for sensor in ("s" * 256, "a\0b", "s" * 5000):
        assert statistics(connection, sensor, owner) == NOTHING
        assert connection.send("DELETE", path(sensor), token=owner.token).status == 204
    # No UTF-8.
    assert statistics(connection, "", owner, "/statistics/%FF") == NOTHING


@pytest.mark.parametrize("sensor", ["", "s" * 256, "ß" * 256, "a\0b", "a\ud800", None, 7, True, ["s"]])
@doors
def test_what_is_no_id_is_refused_by_index(
    portal: Portal, owner: Person, post: Post, sensor: Any, content_type: str
) -> None:
    answer = post([item("s", 1), item(sensor, 1)], content_type=content_type)
    assert answer.status == 400
    [error] = answer.json()["errors"]
    assert (error["index"], error["message"].startswith("sensor: ")) == (1, True)
    assert registered(portal, owner) == {}


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=255)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(texts, st.floats(allow_nan=False, allow_infinity=False))
@example("\U0001f4a7" * 255, 5e-324)
@example("-", -0.0)
def test_any_text_and_any_number_come_back_as_they_were_sent(
    portal: Portal, owner: Person, connection: Connection, sensor: str, value: float
) -> None:
    connection.send("DELETE", path(sensor), token=owner.token)
    assert connection.post("/data", [item(sensor, value)], token=owner.token).status == 201
    found = statistics(connection, sensor, owner)
    # The mean of one number is that number; its zero has lost the sign.
    assert (found["count"], found["avg"]) == (1, value)
    device = registered_as(portal, owner, sensor)
    [reading] = portal.get(f"/stats/{device}/?limit=1", owner.token)
    assert float(reading["value"]).hex() == value.hex()


def registered_as(portal: Portal, person: Person, sensor: str) -> str:
    [(uuid,)] = portal.query(
        "SELECT uuid::text FROM devices_device WHERE owner_id = %s AND external_id = %s", person.id, sensor
    )
    return uuid


# --- right at once


def test_average_of_the_largest_numbers_is_no_error(
    connection: Connection, owner: Person, post: Post
) -> None:
    largest = 1.7976931348623157e308
    post([item("huge", largest)] * 3)
    assert statistics(connection, "huge", owner)["avg"] == largest
    post([item("both", largest), item("both", -largest), item("both", largest)])
    assert statistics(connection, "both", owner)["avg"] == pytest.approx(largest / 3)
    post([item("squares", 1e200), item("squares", 3e200)])
    assert statistics(connection, "squares", owner)["avg"] == 2e200


def test_count_and_average_are_right_at_once_through_every_process(portal: Portal, owner: Person) -> None:
    with connection_to_each(portal) as connections:
        for number in range(1, 31):
            poster = connections[number % len(connections)]
            stamp = f"2020-02-02T12:00:{number:02}Z"
            # The later the number, the older it is; one more of the largest stamp at last.
            reading = item("s", number, stamp if number < 30 else "2019-01-01")
            assert poster.post("/data", [reading], token=owner.token).status == 201
            for connection in connections:
                found = statistics(connection, "s", owner)
                assert (found["count"], found["avg"]) == (number, (number + 1) / 2)
                assert found["last_measurement"] == f"2020-02-02T12:00:{min(number, 29):02}Z"
        assert connections[0].send("DELETE", "/statistics/s", token=owner.token).status == 204
        for connection in connections:
            assert statistics(connection, "s", owner) == NOTHING


def test_concurrent_posts_are_all_counted(portal: Portal, owner: Person) -> None:
    def post_ten(number: int) -> None:
        with Connection(portal) as connection:
            for turn in range(10):
                value = number * 10 + turn
                assert connection.post("/data", [item("s", value)], token=owner.token).status == 201
                assert statistics(connection, "s", owner)["count"] > turn

    at_once(post_ten)
    with connection_to_each(portal) as connections:
        for connection in connections:
            assert statistics(connection, "s", owner)["count"] == 160
            assert statistics(connection, "s", owner)["avg"] == sum(range(160)) / 160


def test_count_and_average_are_of_what_concurrent_deletes_have_left(portal: Portal, owner: Person) -> None:
    def post_or_delete(number: int) -> None:
        with Connection(portal) as connection:
            for turn in range(20):
                if number % 4 == 0:
                    assert connection.send("DELETE", "/statistics/s", token=owner.token).status == 204
                else:
                    items = [item("s", number * 100 + turn)] * 3
                    assert connection.post("/data", items, token=owner.token).status == 201

    at_once(post_or_delete)
    rows = portal.query(
        "SELECT values[1] FROM devices_reading JOIN devices_device d ON d.id = device_id"
        " WHERE d.owner_id = %s",
        owner.id,
    )
    left = [value for (value,) in rows]
    # Of each post all or nothing is left.
    assert all(left.count(value) == 3 for value in left)
    average = pytest.approx(sum(left) / max(len(left), 1))
    with connection_to_each(portal) as connections:
        for connection in connections:
            found = statistics(connection, "s", owner)
            assert (found["count"], found["avg"]) == (len(left), average)
        assert connections[0].send("DELETE", "/statistics/s", token=owner.token).status == 204
        assert statistics(connections[1], "s", owner) == NOTHING


@doors
def test_concurrent_first_posts_of_a_sensor_register_it_once(
    portal: Portal, owner: Person, content_type: str
) -> None:
    def post_first(number: int) -> int:
        with Connection(portal) as connection:
            items = [item(f"new/{(number + i) % 20}", number) for i in range(20)]
            return connection.post("/data", items, token=owner.token, content_type=content_type).status

    assert at_once(post_first) == [201] * 16
    rows = portal.query("SELECT external_id FROM devices_device WHERE owner_id = %s", owner.id)
    assert sorted(rows) == sorted((f"new/{i}",) for i in range(20))
    with Connection(portal) as connection:
        for i in range(20):
            assert statistics(connection, f"new/{i}", owner)["count"] == 16


def test_sensor_of_an_erased_device_starts_anew(portal: Portal, owner: Person) -> None:
    """Within some seconds every process has forgotten the old device; it is never seen again."""
    with connection_to_each(portal) as connections:
        for connection in connections:
            assert connection.post("/data", [item("s", 1)], token=owner.token).status == 201
        old = registered_as(portal, owner, "s")
        assert connections[0].send("DELETE", f"/devices/{old}/", token=owner.token).status == 204
        assert statistics(connections[0], "s", owner) == NOTHING

        def starts_anew() -> bool:
            assert connections[0].post("/data", [item("s", 2)], token=owner.token).status == 201
            return statistics(connections[1], "s", owner)["count"] > 0

        eventually(starts_anew)
        found = statistics(connections[0], "s", owner)
        assert found["avg"] == 2.0
        assert registered_as(portal, owner, "s") != old
