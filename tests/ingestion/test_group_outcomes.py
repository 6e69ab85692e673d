"""Each request of a flush gets its own outcome, which tells whether its rows were stored."""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import psycopg2
import pytest
from django.db import connection

from devices import storage
from devices.ingestion import flusher as flusher_module
from devices.ingestion import group_commit
from devices.ingestion.flusher import Flusher, NotStored, PendingWrite
from devices.ingestion.idempotency import IdempotencyClaim
from devices.ingestion.intake import Intake
from devices.models import Device
from devices.storage import row_codec
from devices.storage.interface import RepeatTransaction
from devices.storage.postgresql import readings_table
from devices.timeline.instants import unix_microseconds
from devices.timeline.periods import Period
from tests.support import factories
from tests.support.factories import NOON

pytestmark = pytest.mark.django_db(transaction=True)
RECEIPT = {"status": "ok"}


@pytest.fixture
def device() -> Device:
    return factories.device()


@pytest.fixture
def flusher() -> Iterator[Flusher]:
    flusher = Flusher()
    yield flusher
    flusher.disconnect()
    flusher.executor.shutdown()


@pytest.fixture
def other() -> Iterator[psycopg2.extensions.connection]:
    opened = psycopg2.connect(**connection.get_connection_params())
    yield opened
    opened.close()


def request(device: Device, key: str = "") -> PendingWrite:
    rows = row_codec.encode_rows(device.pk, np.array([unix_microseconds(NOON)]), np.zeros((1, 3)))
    once = IdempotencyClaim.of("device:1", key, "/", b"") if key else None
    return PendingWrite(Intake(rows, RECEIPT), once, None)


def stored(device: Device) -> int:
    return readings_table.count([device.pk], Period())


def test_a_key_that_somebody_holds_locked_fails_only_its_own_requests(device, flusher, other, monkeypatch):
    monkeypatch.setattr(flusher_module, "LOCK_TIMEOUT_MS", 200)
    with other.cursor() as cursor:
        cursor.execute(
            "INSERT INTO devices_idempotencykey (holder, key, digest, receipt, created_at)"
            " VALUES ('device:1', 'held', '', '', now())"
        )
    plain, keyed = flusher.flush([request(device), request(device, "held")])
    assert plain == RECEIPT
    assert isinstance(keyed, NotStored)
    assert stored(device) == 1
    other.rollback()
    assert flusher.flush([request(device, "held")]) == [RECEIPT]
    assert stored(device) == 2


def test_an_error_that_nobody_thought_of_fails_only_its_own_requests(device, flusher):
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE EXCEPTION 'broken' USING ERRCODE = 'XX001'; END $$;
            CREATE TRIGGER broken BEFORE INSERT ON devices_idempotencykey EXECUTE FUNCTION broken()
            """
        )
        try:
            plain, keyed = flusher.flush([request(device), request(device, "any")])
        finally:
            cursor.execute("DROP FUNCTION broken() CASCADE")
    assert plain == RECEIPT
    assert isinstance(keyed, NotStored)
    assert stored(device) == 1


def test_a_database_that_only_reads_is_to_be_tried_again(device, flusher):
    flusher.connect()
    with flusher.connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    [outcome] = flusher.flush([request(device)])
    assert isinstance(outcome, NotStored)
    # On a connection of its own: the old one may be to a server that is no more the first.
    assert flusher.flush([request(device)]) == [RECEIPT]


def march_first(year: int) -> np.ndarray:
    return np.array([unix_microseconds(datetime(year, 3, 1, tzinfo=UTC))])


def partition_exists(year: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [f"devices_reading_{year}"])
        return cursor.fetchone()[0]


@pytest.mark.parametrize(("key", "year"), [("", 2003), ("key", 2004)])
def test_a_missing_partition_is_made_and_the_readings_are_stored_once(device, flusher, key, year):
    assert not partition_exists(year)
    rows = row_codec.encode_rows(device.pk, march_first(year), np.zeros((1, 3)))
    once = IdempotencyClaim.of("device:1", key, "/", b"") if key else None
    assert flusher.flush([PendingWrite(Intake(rows, RECEIPT), once)]) == [RECEIPT]
    assert partition_exists(year)
    assert stored(device) == 1


def test_a_missing_partition_is_made_for_a_claim_outside_a_server(device):
    rows = row_codec.encode_rows(device.pk, march_first(2005), np.zeros((1, 3)))
    claim = IdempotencyClaim.of("device:1", "key", "/", b"")
    for _ in range(2):
        assert group_commit.store_now(Intake(rows, RECEIPT), claim) == RECEIPT
    assert partition_exists(2005)
    assert stored(device) == 1


def test_put_in_a_transaction_that_lacks_a_partition_asks_to_repeat_it(device, other):
    rows = row_codec.encode_rows(device.pk, march_first(2006), np.zeros((1, 3)))
    with pytest.raises(RepeatTransaction):
        storage.current().put(other, [rows])
    other.rollback()
    storage.current().put(other, [rows])
    assert stored(device) == 0
    other.commit()
    assert stored(device) == 1
