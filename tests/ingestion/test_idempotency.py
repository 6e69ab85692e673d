"""`Idempotency-Key`: the same key with the same body is stored once, whoever repeats it, where and when."""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devices import maintenance
from devices.models import IdempotencyKey
from tests.support.portal import Person, Portal, Sender
from tests.support.senders import (
    STAMP,
    UNUSUAL_JSON,
    Connection,
    at_once,
    batch_path,
    connection_to_each,
    stats_path,
)

READING = {"x": 1, "y": 2, "z": 3}
DATED = READING | {"timestamp": STAMP}
ITEM = {"sensor": "s", "timestamp": STAMP, "value": 1}
doors = pytest.mark.parametrize("content_type", ["application/json", UNUSUAL_JSON], ids=["gate", "rest"])


@pytest.fixture
def connection(portal: Portal) -> Iterator[Connection]:
    with Connection(portal) as connection:
        yield connection


@pytest.fixture
def key() -> str:
    return secrets.token_hex(16)


def stored(portal: Portal, owner: Person) -> int:
    """Count the readings of all the owner's devices."""
    [(count,)] = portal.query(
        "SELECT count(*) FROM devices_reading JOIN devices_device d ON d.id = device_id"
        " WHERE d.owner_id = %s",
        owner.id,
    )
    return count


@doors
@pytest.mark.parametrize("route", ["stats", "batch", "data"])
def test_same_key_and_body_is_stored_once_and_gets_the_first_receipt(
    portal: Portal, owner: Person, connection: Connection, route: str, content_type: str
) -> None:
    device = portal.new_device(owner, time_zone="Asia/Tokyo")
    path, body, count = {
        "stats": (stats_path(device), READING | {"timestamp": "2020-02-02"}, 1),
        "batch": (batch_path(device) + "?partial=true", [DATED, None, DATED], 2),
        "data": ("/data", [ITEM] * 3, 3),
    }[route]
    options = {"token": owner.token, "key": secrets.token_hex(16)}
    first = connection.post(path, body, content_type=content_type, **options)
    assert first.status == 201
    # Through either door.
    for again in (content_type, "application/json", UNUSUAL_JSON):
        answer = connection.post(path, body, content_type=again, **options)
        assert (answer.status, answer.body) == (201, first.body)
    assert stored(portal, owner) == count
    assert connection.post(path, body, content_type=content_type, token=owner.token).status == 201
    assert stored(portal, owner) == 2 * count


@pytest.mark.parametrize("route", ["stats", "batch", "data"])
def test_sixteen_at_a_time_over_all_processes_store_once(portal: Portal, owner: Person, route: str) -> None:
    """Sent to the gate and to the view; all get the first receipt."""
    device = portal.new_device(owner, time_zone="Asia/Tokyo")
    path, body, count = {
        "stats": (stats_path(device), READING | {"timestamp": "2020-02-02"}, 1),
        "batch": (batch_path(device), [DATED] * 100, 100),
        "data": ("/data", [ITEM | {"sensor": f"s{i}"} for i in range(100)], 100),
    }[route]
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(portal)) for _ in range(14)]
        # And one that is surely the first process', and one the second's.
        connections += stack.enter_context(connection_to_each(portal))
        for turn in range(5):
            options = {"token": owner.token, "key": secrets.token_hex(16)}

            def post(number: int, options: dict[str, str] = options) -> tuple[int, bytes]:
                content_type = UNUSUAL_JSON if number % 4 == 0 else "application/json"
                answer = connections[number].post(path, body, content_type=content_type, **options)
                return answer.status, answer.body

            [(status, _)] = set(at_once(post))
            assert status == 201
            assert stored(portal, owner) == count * (turn + 1)


def test_different_bodies_at_a_time_store_one_and_refuse_the_others(
    portal: Portal, owner: Person, device: Sender
) -> None:
    key = secrets.token_hex(16)

    def post(number: int) -> tuple[int, int]:
        with Connection(portal) as connection:
            body = READING | {"x": number % 4}
            return number % 4, connection.post(
                stats_path(device), body, device_key=device.key, key=key
            ).status

    answers = at_once(post)
    taken = {number for number, status in answers if status == 201}
    assert len(taken) == 1
    assert all(status == (201 if number in taken else 409) for number, status in answers)
    assert stored(portal, owner) == 1


@doors
def test_another_body_with_the_same_key_is_409(
    portal: Portal, device: Sender, connection: Connection, key: str, content_type: str
) -> None:
    options = {"device_key": device.key, "key": key, "content_type": content_type}
    assert connection.post(stats_path(device), READING, **options).status == 201
    # Even the same reading written otherwise: what is compared is the body's bytes.
    for body in (READING | {"x": 2}, json.dumps(READING, indent=1).encode()):
        answer = connection.post(stats_path(device), body, **options)
        assert answer.status == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 409
    assert connection.post(stats_path(device), READING, **options).status == 201
    assert len(portal.get(f"/stats/{device.id}/")) == 1


@doors
def test_another_path_with_the_same_key_is_409(
    portal: Portal, owner: Person, device: Sender, connection: Connection, content_type: str
) -> None:
    other = portal.new_device(owner)
    options = {"token": owner.token, "key": secrets.token_hex(16), "content_type": content_type}
    assert connection.post(stats_path(device), READING, **options).status == 201
    assert connection.post(stats_path(other), READING, **options).status == 409
    assert connection.post("/data", [], **options).status == 409
    assert connection.post(batch_path(device), [DATED], **options).status == 409
    # A slash at the end makes no other path.
    assert connection.post(stats_path(device).rstrip("/"), READING, **options).status == 201
    assert stored(portal, owner) == 1


def test_each_holder_has_keys_of_its_own(
    portal: Portal, owner: Person, connection: Connection, key: str
) -> None:
    """The holder is a device or a user; it does not matter which of the holder's credentials is used."""
    first, second = portal.new_device(owner), portal.new_device(owner)
    staff = portal.new_user("staff")

    def post(device: Sender, x: int, **credential: str) -> int:
        return connection.post(stats_path(device), READING | {"x": x}, key=key, **credential).status

    assert post(first, 1, device_key=first.key) == 201
    assert post(second, 2, device_key=second.key) == 201
    assert post(first, 3, token=owner.token) == 201
    assert post(first, 4, token=staff.token) == 201
    assert stored(portal, owner) == 4
    replaced = portal.made(f"/devices/{first.id}/keys/", owner.token, {})["key"]
    assert post(first, 1, device_key=replaced) == 201
    assert post(first, 3, token=portal.new_token(owner.id)) == 201
    assert post(first, 9, device_key=replaced) == 409
    assert stored(portal, owner) == 4


@doors
def test_refused_request_does_not_burn_its_key(
    portal: Portal, device: Sender, connection: Connection, key: str, content_type: str
) -> None:
    options = {"device_key": device.key, "key": key, "content_type": content_type}
    assert connection.post(stats_path(device), READING | {"x": True}, **options).status == 400
    assert connection.post(batch_path(device), [DATED] * 10_001, **options).status == 413
    assert connection.post(stats_path(device), b"[" * 1000, **options).status == 400
    assert connection.post(stats_path(device), READING, **options).status == 201
    assert len(portal.get(f"/stats/{device.id}/")) == 1


def test_key_of_an_empty_batch_is_a_key(connection: Connection, device: Sender, key: str) -> None:
    options = {"device_key": device.key, "key": key}
    for _ in range(2):
        answer = connection.post(batch_path(device), [], **options)
        assert (answer.status, answer.json()) == (201, {"accepted": 0, "rejected": []})
    assert connection.post(batch_path(device), [DATED], **options).status == 409


@pytest.mark.parametrize("key", ["", "k" * 256, "clé"])
def test_what_is_no_key_is_400(connection: Connection, portal: Portal, device: Sender, key: str) -> None:
    answer = connection.post(stats_path(device), READING, device_key=device.key, key=key)
    assert answer.status == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert portal.get(f"/stats/{device.id}/") == []


def test_keys_survive_a_restart_of_everything(portal: Portal, device: Sender, key: str) -> None:
    def post(x: int) -> int:
        with Connection(portal) as connection:
            return connection.post(
                stats_path(device), READING | {"x": x}, device_key=device.key, key=key
            ).status

    assert post(1) == 201
    for name in ("web", "postgres", "redis"):
        portal.kill(name)
    portal.start_all()
    assert (post(1), post(2)) == (201, 409)
    assert len(portal.get(f"/stats/{device.id}/")) == 1


def test_many_keys_in_one_group_and_readings_without_one(portal: Portal, owner: Person) -> None:
    """Requests sent at the same moment are committed together, with and without a key."""
    devices = [portal.new_device(owner) for _ in range(16)]

    def post(number: int) -> set[int]:
        device, statuses = devices[number], set()
        with Connection(portal) as connection:
            for turn in range(10):
                key = f"{number}-{turn}" if number % 2 else None
                for _ in range(3):
                    answer = connection.post(stats_path(device), DATED, device_key=device.key, key=key)
                    statuses.add(answer.status)
        return statuses

    assert at_once(post) == [{201}] * 16
    counts = [len(portal.get(f"/stats/{device.id}/")) for device in devices]
    assert counts == [10 if number % 2 else 30 for number in range(16)]


# --- their end


@pytest.mark.django_db
def test_keys_are_forgotten_after_a_week() -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    ages = {"new": timedelta(0), "week": timedelta(days=7), "older": timedelta(days=7, seconds=1)}
    make_keys({name: now - age for name, age in ages.items()})
    assert maintenance.forget_keys(now) == 1
    assert set(IdempotencyKey.objects.values_list("key", flat=True)) == {"new", "week"}
    assert maintenance.forget_keys(now) == 0


@pytest.mark.django_db
@pytest.mark.parametrize("count", [0, 9, 10, 11, 35])
def test_keys_are_forgotten_in_bounded_steps(
    monkeypatch, django_assert_num_queries: Callable[..., Any], count: int
) -> None:
    monkeypatch.setattr(maintenance, "KEY_BATCH", 10)
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    make_keys({str(number): now - timedelta(days=30) for number in range(count)})
    # And two for the lock, and one for the numbers of keys of all holders.
    with django_assert_num_queries(count // 10 + 1 + 3):
        assert maintenance.forget_keys(now) == count
    assert not IdempotencyKey.objects.exists()


@pytest.mark.django_db
def test_of_a_holder_of_too_many_the_oldest_are_forgotten(monkeypatch, settings) -> None:
    monkeypatch.setattr(maintenance, "KEY_BATCH", 3)
    settings.IDEMPOTENCY_KEYS = 10
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    make_keys({f"{number:02}": now - timedelta(minutes=number) for number in range(25)})
    make_keys({f"{number:02}": now - timedelta(days=5, minutes=number) for number in range(10)}, "device:2")
    assert maintenance.forget_keys(now) == 15
    kept = IdempotencyKey.objects.order_by("holder", "key").values_list("holder", "key")
    assert list(kept) == [
        (holder, f"{number:02}") for holder in ("device:1", "device:2") for number in range(10)
    ]
    assert maintenance.forget_keys(now) == 0


def make_keys(times: dict[str, datetime], holder: str = "device:1") -> None:
    IdempotencyKey.objects.bulk_create(
        IdempotencyKey(holder=holder, key=key, digest=b"", receipt=b"{}", created_at=time)
        for key, time in times.items()
    )
