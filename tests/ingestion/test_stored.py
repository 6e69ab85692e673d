"""Every way in tells the listeners exactly what it stored, after the commit."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import psycopg2
import pytest
import requests
import uvicorn
from django.core.management import call_command
from django.db import connection, transaction

from config.asgi.application import application
from config.asgi.protocol import PatientProtocol
from devices.access import rate_limit
from devices.ingestion import group_commit, stored
from devices.ingestion.flusher import Flusher, NotStored, PendingWrite
from devices.ingestion.gate import Gate
from devices.ingestion.idempotency import IdempotencyClaim
from devices.ingestion.intake import Intake
from devices.models import Device, DeviceKey
from devices.storage import row_codec
from devices.storage.interface import Rows
from devices.storage.postgresql import readings_table
from devices.timeline.instants import unix_microseconds
from devices.timeline.periods import Period
from tests.support import factories
from tests.support.factories import NOON
from tests.support.portal import eventually
from users.models import Token

pytestmark = pytest.mark.django_db(transaction=True)
STAMP = "2026-11-01T00:00:00Z"
READING = {"x": 1.5, "y": -2.0, "z": 3.0, "timestamp": STAMP}
# A media type that the gate leaves to the view.
UNUSUAL = {"Content-Type": "application/json; profile=sensor"}


class Told:
    """A listener that decodes the rows; each entry of `commits` has (device, time in microseconds) pairs."""

    def __init__(self) -> None:
        self.commits: list[list[tuple[int, int]]] = []
        self.threads: list[str] = []

    def __call__(self, rows: Sequence[Rows]) -> None:
        ids, times = row_codec.devices_and_times(b"".join(part.payload for part in rows))
        self.commits.append(list(zip(ids.tolist(), times.tolist(), strict=True)))
        self.threads.append(threading.current_thread().name)

    @property
    def readings(self) -> list[tuple[int, int]]:
        return [pair for commit in self.commits for pair in commit]


@pytest.fixture
def told(monkeypatch) -> Told:
    told = Told()
    monkeypatch.setattr(stored, "LISTENERS", [told])
    return told


@pytest.fixture
def device() -> Device:
    return factories.device()


@pytest.fixture
def server() -> Iterator[str]:
    """A web process's parts, in this process; yields the URL."""
    config = uvicorn.Config(application, port=0, http=PatientProtocol, lifespan="on", log_level="critical")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        eventually(lambda: running.started)
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join()
        group_commit.current = rate_limit.current = PatientProtocol.gate = None
        close_connections_of_threads()


def close_connections_of_threads() -> None:
    """The server's threads live on with their connections, which would keep the test database in use."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def post(session: requests.Session, url: str, body: Any, status: int = 201, **headers: str) -> Any:
    headers = {"Content-Type": "application/json"} | headers
    answer = session.post(url, data=json.dumps(body), headers=headers, timeout=30)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.fixture
def sender(device) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Device {DeviceKey.issue(device=device)[1]}"
        yield session


def rows_in_database(device_ids: Sequence[int]) -> list[tuple[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT device_id, round(extract(epoch FROM time - '2000-01-01Z') * 1000000)::bigint"
            " FROM devices_reading WHERE device_id = ANY(%s)",
            [list(device_ids)],
        )
        return sorted(cursor.fetchall())


def assert_told(told: Told, *devices: Device, count: int) -> None:
    """The listener got `count` readings of these devices in all, the same as there are in the database."""
    ids = [device.pk for device in devices]
    eventually(lambda: len(told.readings) >= count)
    time.sleep(0.05)
    assert sorted(told.readings) == rows_in_database(ids)
    assert len(told.readings) == count


def test_the_gate_tells_each_reading_of_ordinary_and_known_heads(server, device, sender, told, monkeypatch):
    known: list[bool] = []
    take_known = Gate.take_known
    monkeypatch.setattr(Gate, "take_known", lambda *call: known.append(take_known(*call)) or known[-1])
    url = f"{server}/devices/{device.uuid}/stats/"
    for _ in range(3):
        post(sender, url, READING)
    assert_told(told, device, count=3)
    assert known == [True, True]
    assert set(told.threads) == {"stored_0"}


def test_a_batch_is_told_once_and_without_its_refused_items(server, device, sender, told):
    url = f"{server}/devices/{device.uuid}/stats/batch"
    post(sender, url, [READING] * 5)
    post(sender, url, [READING, READING | {"x": "no number"}], 400)
    assert_told(told, device, count=5)
    post(sender, f"{url}?partial=true", [READING, READING | {"x": "no number"}])
    assert_told(told, device, count=6)
    post(sender, f"{url}?partial=true", [{"x": 1}])
    assert_told(told, device, count=6)
    assert [len(commit) for commit in told.commits] == [5, 1]


def test_the_view_tells_on_the_event_loop_and_on_a_thread(server, device, sender, told):
    url = f"{server}/devices/{device.uuid}/stats/"
    # At first no grant is cached, so the view runs on a thread.
    for _ in range(3):
        post(sender, url, READING, **UNUSUAL)
    assert_told(told, device, count=3)


def test_data_tells_readings_of_known_and_new_sensors(server, told):
    owner = factories.owner()
    factories.profile("scalar", ["value"])
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Token {Token.issue(user=owner)[1]}"
        items = [{"sensor": f"boiler/{i}", "timestamp": STAMP, "value": i} for i in range(3)]
        for _ in range(2):
            post(session, f"{server}/data", items)
    assert_told(told, *Device.objects.filter(owner=owner), count=6)


def test_a_repeated_idempotency_key_is_told_once(server, device, sender, told):
    url = f"{server}/devices/{device.uuid}/stats/"
    for headers in ({}, {}, UNUSUAL, UNUSUAL):
        post(sender, url, READING, **headers, **{"Idempotency-Key": "one"})
    post(sender, url, READING | {"x": 7}, 409, **{"Idempotency-Key": "one"})
    post(sender, url, READING, **{"Idempotency-Key": "two"})
    assert_told(told, device, count=2)


def test_a_slow_listener_holds_up_no_answer(server, device, sender, told, monkeypatch):
    may_end = threading.Event()
    monkeypatch.setattr(stored, "LISTENERS", [lambda _: may_end.wait(30), told])
    url = f"{server}/devices/{device.uuid}/stats/"
    for _ in range(3):
        post(sender, url, READING)
    assert (told.commits, len(rows_in_database([device.pk]))) == ([], 3)
    may_end.set()
    assert_told(told, device, count=3)


def test_what_waits_for_slow_listeners_is_bounded(monkeypatch, caplog):
    may_end, heard = threading.Event(), []
    monkeypatch.setattr(stored, "MAX_WAITING_BYTES", 10)
    monkeypatch.setattr(stored, "LISTENERS", [lambda rows: may_end.wait(30) and heard.extend(rows)])
    thread = stored.ListenerThread()
    for _ in range(3):
        thread.call([Rows(bytes(5), [0])])
    may_end.set()
    thread.close()
    assert (len(heard), thread.waiting_bytes) == (2, 0)
    assert "they miss 5 bytes" in caplog.text


def test_a_listener_that_raises_hurts_nobody(server, device, sender, told, caplog):
    def broken(_: Sequence[Rows]) -> None:
        raise ValueError("broken")

    stored.LISTENERS.insert(0, broken)
    url = f"{server}/devices/{device.uuid}/stats/"
    for _ in range(2):
        assert post(sender, url, READING) == {"status": "ok"}
    assert_told(told, device, count=2)
    assert "ValueError: broken" in caplog.text


# --- Outside a server


def intake_of(device: Device) -> Intake:
    times = np.array([unix_microseconds(NOON)])
    return Intake(row_codec.encode_rows(device.pk, times, np.zeros((1, 3))), {"status": "ok"})


def test_an_import_tells_each_chunk_once(device, told, tmp_path):
    path = tmp_path / "readings.csv"
    path.write_text("timestamp,x,y,z\n" + "".join(f"2026-11-01T00:00:0{i}Z,{i},0,0\n" for i in range(5)))
    for _ in range(2):
        call_command("import_readings", str(path), "--device", str(device.uuid))
    assert_told(told, device, count=5)


@pytest.mark.parametrize("claim", [None, IdempotencyClaim.of("device:1", "key", "/", b"")])
def test_within_a_transaction_it_is_told_after_the_commit(device, told, claim):
    with transaction.atomic():
        group_commit.store_now(intake_of(device), claim)
        transaction.set_rollback(True)
    assert told.commits == []
    with transaction.atomic():
        group_commit.store_now(intake_of(device), claim)
        assert told.commits == []
    assert_told(told, device, count=1)
    if claim is not None:
        group_commit.store_now(intake_of(device), claim)
        assert_told(told, device, count=1)


def test_a_failed_flush_marks_nothing_as_stored(device):
    flusher = Flusher()
    flusher.connect()
    with flusher.connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    claims = (None, IdempotencyClaim.of("device:1", "key", "/", b""))
    pending = [PendingWrite(intake_of(device), claim) for claim in claims]
    try:
        for request in pending:
            assert isinstance(flusher.flush([request])[0], NotStored) or request.is_stored
    finally:
        flusher.disconnect()
        flusher.executor.shutdown()
    assert sum(request.is_stored for request in pending) == readings_table.count([device.pk], Period())
    assert not pending[0].is_stored


def test_of_a_group_only_what_was_stored_is_told(device, told):
    """One request's rows are refused by the table; another repeats a key."""
    bad = Intake(
        row_codec.encode_rows(device.pk, np.array([unix_microseconds(NOON)]), np.full((1, 3), np.nan)), {}
    )
    claim = IdempotencyClaim.of("device:1", "key", "/", b"")

    async def store() -> list:
        writer = group_commit.GroupCommit(asyncio.get_running_loop())
        parts = [
            (intake_of(device), None),
            (bad, None),
            (intake_of(device), claim),
            (intake_of(device), claim),
        ]
        found = await asyncio.gather(*(writer.store(*part) for part in parts), return_exceptions=True)
        await writer.close()
        return found

    outcomes = asyncio.run(store())
    assert isinstance(outcomes[1], psycopg2.IntegrityError)
    assert [outcomes[i] for i in (0, 2, 3)] == [{"status": "ok"}] * 3
    assert_told(told, device, count=2)
    assert len(told.commits) == 1
