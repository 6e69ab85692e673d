"""Large results are sent as they are stored: a web process neither parses them nor keeps their memory."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psutil
import pytest
from django.db import DataError, connection, connections, transaction

from analytics.analyses.stored_result import PIECE_BYTES, ResultGone, answered_pieces
from analytics.models import Analysis, Status
from tests.analyses.test_tasks import made
from tests.support.portal import Person, Portal, Sender
from tests.support.senders import web_processes

RESULTS = 36
# About 12 MB of JSON.
BUCKETS = 38_000
MEBIBYTE = 1024 * 1024
# Two processes, each with eight threads and the pieces of one answer.
MOST_GROWTH = 60 * MEBIBYTE


def store_large_results(portal: Portal, device: Sender, owner: Person, count: int) -> list[str]:
    """Finished analyses of this device, as if computed, with BUCKETS buckets each; returns their ids."""
    figures = ", ".join(f'"{name}": 1234.5678901234567' for name in ("min", "max", "sum", "avg", "median"))
    bucket = (
        '{"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T01:00:00Z", "seconds": 3600.0,'
        f' "x": {{"count": 1, {figures}}}}}'
    )
    ids = [str(uuid4()) for _ in range(count)]
    for pk in ids:
        portal.query(
            """
            WITH result AS (
                INSERT INTO django_celery_results_taskresult
                    (task_id, status, content_type, content_encoding, result, date_created, date_done)
                SELECT %s, 'SUCCESS', 'application/json', 'utf-8',
                    '{"device_id": "d", "buckets": [' || repeat(%s || ', ', %s - 1) || %s || ']}',
                    now(), now()
                RETURNING id
            )
            INSERT INTO analytics_analysis
                (id, status, attempts, progress, error, asked_by_id, asked_at, finished_at, claimed_by,
                 device_id, percentiles, bucket, time_zone, readings, snapshot, counts, task_result_id)
            SELECT %s, 'finished', 1, 100, '', %s, %s, now(), '', d.id, '', 'hour', 'UTC', 0, '', '{}', r.id
            FROM devices_device d, result r WHERE d.uuid = %s
            """,
            *(pk, bucket, BUCKETS, bucket, pk, owner.id, datetime.now(UTC), device.id),
        )
    return ids


def resident(portal: Portal) -> int:
    return sum(psutil.Process(each.pid).memory_info().rss for each in web_processes(portal))


def test_memory_of_web_comes_back(portal: Portal, owner: Person, device: Sender) -> None:
    ids = store_large_results(portal, device, owner, RESULTS)
    plain = {"Accept-Encoding": "identity"}

    def read(pk: str) -> Any:
        answer = portal.request("GET", f"/tasks/{pk}/", token=owner.token, headers=plain)
        assert answer.status_code == 200
        return answer.content

    first = json.loads(read(ids[0]))
    assert first["status"] == "SUCCESS"
    assert len(first["result"]["buckets"]) == BUCKETS
    before = resident(portal)
    for pk in ids:
        assert len(read(pk)) > 8 * MEBIBYTE
    grown = resident(portal) - before
    assert grown < MOST_GROWTH, f"{grown / MEBIBYTE:.0f} MB"


@pytest.mark.django_db(transaction=True)
class TestPieces:
    """A streamed answer takes each piece on any thread, whose connection serves other requests meanwhile."""

    @pytest.fixture
    def task(self) -> Analysis:
        return made({"buckets": ["x" * PIECE_BYTES] * 3}, status=Status.FINISHED)

    def test_they_come_while_the_first_ones_connection_fails_others(self, task: Analysis) -> None:
        pieces = answered_pieces(task)

        def further() -> bytes:
            try:
                return next(pieces)
            finally:
                connections.close_all()

        found = [next(pieces)]
        with ThreadPoolExecutor(1) as thread, transaction.atomic(), connection.cursor() as cursor:
            with pytest.raises(DataError):
                cursor.execute("SELECT 1 / 0")
            found.append(thread.submit(further).result())
            transaction.set_rollback(True)
        connection.close()
        found += pieces
        assert len(found) == 4
        assert b"".join(found).decode() == task.task_result.result

    def test_a_deleted_result_does_not_end_as_if_it_were_whole(self, task: Analysis) -> None:
        pieces = answered_pieces(task)
        assert next(pieces)
        task.task_result.delete()
        with pytest.raises(ResultGone):
            list(pieces)
