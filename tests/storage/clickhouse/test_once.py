"""What is stored once, and that each answer shows one state."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from devices import statistics
from devices.files import importer
from devices.files.importer import ImportJob
from devices.ingestion import group_commit, idempotency
from devices.ingestion.flusher import Flusher, PendingWrite
from devices.ingestion.idempotency import IdempotencyConflict
from devices.models import IdempotencyKey
from devices.storage import row_codec
from devices.timeline.instants import unix_microseconds
from tests.storage.clickhouse.portal import (
    EVER,
    READING,
    flushed,
    number_of,
    requests_of,
)
from tests.support.concurrency import at_the_same_time
from tests.support.factories import NOON

pytestmark = [
    pytest.mark.clickhouse,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("clickhouse_readings"),
]


def test_a_group_stores_each_key_once_and_what_has_none_always(device):
    assert flushed(requests_of(device, None, "a", None, "a", "b")) == [{"status": "ok"}] * 5
    assert number_of(device) == 4
    assert flushed(requests_of(device, "a", "b", "c")) == [{"status": "ok"}] * 3
    assert number_of(device) == 5


def test_another_body_with_the_same_key_is_a_conflict(ask, device):
    path = f"/devices/{device.uuid}/stats/"
    for _ in range(2):
        assert ask("POST", path, READING, 201, key="k") == {"status": "ok"}
    ask("POST", path, READING | {"x": 7}, 409, key="k")
    assert number_of(device) == 1


def test_a_key_whose_receipt_was_lost_after_the_insert_is_stored_once(device):
    """As if the process or PostgreSQL had died between the two."""
    requests = requests_of(device, "k", "l")
    flusher = Flusher()
    flusher.connect()
    flusher.connection.autocommit = False
    with flusher.connection.cursor() as cursor:
        idempotency.write_claimed(cursor, requests)
    flusher.disconnect()
    assert (number_of(device), IdempotencyKey.objects.count()) == (2, 0)
    assert flushed(requests) == [{"status": "ok"}] * 2
    assert (number_of(device), IdempotencyKey.objects.count()) == (2, 2)


def test_many_at_once_with_one_key_are_stored_once(device):
    [request] = requests_of(device, "k")
    answers = at_the_same_time(lambda: flushed([request]), times=4)
    assert answers == [[{"status": "ok"}]] * 4
    assert number_of(device) == 1


def test_the_same_key_of_two_senders_is_two_keys(device):
    [first] = requests_of(device, "k")
    second = PendingWrite(first.taken, first.once._replace(holder="user:1"))
    assert first.once.token != second.once.token
    flushed([first, second])
    assert number_of(device) == 2
    conflict = PendingWrite(first.taken, first.once._replace(digest=b"other"))
    assert isinstance(flushed([conflict])[0], IdempotencyConflict)


def test_the_group_commit_of_a_server_stores_all_of_a_burst(device):
    requests = requests_of(device, *[None] * 500)

    async def burst() -> list:
        queue = group_commit.GroupCommit(asyncio.get_running_loop())
        found = await asyncio.gather(*(queue.store(r.taken, r.once) for r in requests))
        await queue.close()
        return found

    assert asyncio.run(burst()) == [{"status": "ok"}] * 500
    assert number_of(device) == 500


@contextmanager
def commits_that_fail() -> Iterator[None]:
    """Let every commit fail that changes an import."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
                $$BEGIN RAISE EXCEPTION 'The disk is full.'; END$$;
            CREATE CONSTRAINT TRIGGER fail AFTER UPDATE ON devices_import DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION fail();
            """
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION fail CASCADE")


def test_an_import_that_was_cut_short_stores_each_line_once(device, tmp_path):
    path = Path(tmp_path, "readings.csv")
    lines = [f"2026-11-02T08:{i // 60:02}:{i % 60:02}Z,{i},0,0" for i in range(50)]
    path.write_text("\n".join(["timestamp,x,y,z", *lines]))
    job = ImportJob(path, path.name, "csv", device)

    with commits_that_fail(), pytest.raises(DatabaseError):
        importer.run_import(job, timezone.now())
    # The lines are stored, and the progress is not.
    assert number_of(device) == 50
    assert importer.run_import(job, timezone.now()).stored == 50
    assert number_of(device) == 50


def test_each_answer_is_of_one_state_while_readings_come_in(device, clickhouse_readings):
    ones = row_codec.encode_rows(device.pk, np.arange(100) + unix_microseconds(NOON), np.ones((100, 3)))
    done = Event()

    def come_in() -> None:
        while not done.is_set():
            clickhouse_readings.take_over(ones)

    with ThreadPoolExecutor(1) as threads:
        coming = threads.submit(come_in)
        try:
            seen = []
            for _ in range(40):
                pooled, each = statistics.of_devices([device], EVER)
                numbers = [pooled.channels["x", ""], each[device.pk].channels["z", ""]]
                assert {found.count for found in numbers} == {pooled.readings}
                assert {found.sum for found in numbers} == {pooled.readings}
                seen.append(pooled.readings)
        finally:
            done.set()
        coming.result()
    assert sorted(seen) == seen
    assert seen[-1] > seen[0]
