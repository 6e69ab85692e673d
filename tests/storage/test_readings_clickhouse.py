"""The portal with its readings in ClickHouse: its doors, its faults, what is stored once, and the schema."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from celery.app.trace import build_tracer
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analytics.models import Analysis, Status
from analytics.tasks import run_analysis
from devices import maintenance, statistics, storage
from devices.access.grants import Target
from devices.files import importer
from devices.files.importer import ImportJob
from devices.ingestion import group_commit
from devices.ingestion.group_commit import Flusher, PendingWrite
from devices.ingestion.idempotency import IdempotencyClaim, IdempotencyConflict
from devices.ingestion.intake import take_one
from devices.models import Device, Erasure, IdempotencyKey, Reading
from devices.storage import row_codec
from devices.storage.clickhouse.engine import ClickHouse
from devices.storage.clickhouse.schema import schema
from devices.storage.interface import StorageUnavailable
from devices.timeline.instants import unix_microseconds
from devices.timeline.periods import Period
from devices.timeline.spans import Span
from tests.support import factories
from tests.support.concurrency import at_the_same_time
from tests.support.factories import NOON

pytestmark = [
    pytest.mark.clickhouse,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("clickhouse_readings"),
]
NOWHERE = "clickhouse://somebody:hush@127.0.0.1:1/readings"
EVER = Period()
STAMP = "2026-11-02T08:00:00Z"
READING = {"x": 1.5, "y": 2, "z": 3}
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SHARDS = "remote('127.0.0.1,localhost', "

Ask = Callable[..., Any]


@pytest.fixture
def device() -> Device:
    factories.profile("scalar", ("value",))
    return factories.device(factories.admin(), name="Pump 3")


@pytest.fixture
def ask(device: Device) -> Ask:
    """As the device's owner, by HTTP; `status` is what the answer must have."""
    client = Client(headers={"Authorization": f"Token {factories.token(device.owner)[1]}"})

    def ask(method: str, path: str, body: Any = None, status: int = 200, key: str | None = None) -> Any:
        headers = {} if key is None else {"Idempotency-Key": key}
        body = "" if body is None else json.dumps(body)
        answer = client.generic(method, path, body, content_type="application/json", headers=headers)
        assert answer.status_code == status, answer.content
        return answer if status >= 400 else json.loads(answer.content or b"null")

    return ask


def number_of(device: Device) -> int:
    return storage.current().counts([device.pk], EVER)[device.pk]


def work(task_id: str) -> dict:
    """What a worker's process makes of an analysis; the row's result."""
    build_tracer(run_analysis.name, run_analysis, app=run_analysis.app)(
        task_id, [task_id], {}, {"id": task_id}
    )
    analysis = Analysis.objects.get(pk=task_id)
    assert analysis.status == Status.FINISHED, analysis.error
    return analysis


# --- The main job


def test_the_main_job_is_the_same(ask, device):
    stats = f"/devices/{device.uuid}/stats"
    assert ask("POST", f"{stats}/", READING, 201) == {"status": "ok"}
    batch = [{"timestamp": f"2026-11-02T08:00:0{i}Z", "x": i, "y": -i, "z": 0} for i in range(5)]
    assert ask("POST", f"{stats}/batch", batch, 201) == {"accepted": 5, "rejected": []}
    assert not Reading.objects.exists()
    shown = ask("GET", f"/stats/{device.uuid}/?limit=2")
    assert [reading["x"] for reading in shown] == [1.5, 4.0]
    assert len(ask("GET", "/stats/?end=2026-11-02T08:00:02Z")) == 2
    assert ask("GET", f"/devices/{device.uuid}")["last_reading"]["x"] == 1.5
    assert [found["id"] for found in ask("GET", "/devices/?online=true")] == [str(device.uuid)]

    path = f"/devices/{device.uuid}/analytics/?percentiles=25&bucket=day"
    task = ask("GET", path, status=202)["task_id"]
    work(task)
    answer = ask("GET", f"/tasks/{task}")
    assert (answer["status"], answer["stale"]) == ("SUCCESS", False)
    expected = {"count": 6, "min": 0.0, "max": 4.0, "sum": 11.5, "avg": 11.5 / 6, "median": 1.75}
    assert answer["result"]["x"] == expected | {"percentiles": {"25": 1.125}}
    assert answer["result"]["buckets"][0]["x"]["count"] == 5
    assert (answer["result"]["rows_read"], answer["result"]["segments_used"]) == (12, 0)
    assert ask("GET", path, status=202)["task_id"] == task

    made = {"start": "2026-11-02T08:00:00Z", "end": "2026-11-02T08:00:02Z", "reason": "Cleaning"}
    exclusion = ask("POST", f"/devices/{device.uuid}/exclusions/", made, 201)["id"]
    assert ask("GET", f"/tasks/{task}")["stale"]
    series = ask("GET", f"/devices/{device.uuid}/series/?points=10&end=2026-11-03T00:00:00Z")
    assert series["channels"]["x"] == {"min": [2.0], "mean": [3.0], "max": [4.0]}
    ask("POST", f"/devices/{device.uuid}/exclusions/{exclusion}/lift", {})

    fleet = ask("GET", f"/users/{device.owner.pk}/analytics/", status=202)["task_id"]
    work(fleet)
    assert ask("GET", f"/tasks/{fleet}")["result"]["aggregate"]["x"] == expected
    ask("POST", f"{stats}/", READING | {"timestamp": STAMP}, 201)
    assert ask("GET", f"/tasks/{fleet}")["stale"]


def test_one_reading_is_excluded_by_stamp_and_values(ask, device):
    ask("POST", f"/devices/{device.uuid}/stats/", READING | {"timestamp": STAMP}, 201)
    chosen = {"reading": READING | {"timestamp": STAMP}, "reason": "Spike"}
    other = {"reading": READING | {"timestamp": STAMP, "x": 7}, "reason": "Spike"}
    ask("POST", f"/devices/{device.uuid}/exclusions/", other, 400)
    ask("POST", f"/devices/{device.uuid}/exclusions/", chosen, 201)
    assert statistics.of_device(device, EVER).excluded == 1


def test_sensors_are_right_at_once_and_start_from_zero_again(ask):
    items = [{"sensor": "boiler/1", "timestamp": STAMP, "value": value} for value in (60, 61.5)]
    assert ask("POST", "/data", items, 201) == {"accepted": 2, "rejected": []}
    path = "/statistics/boiler%2F1"
    assert ask("GET", path) == {"last_measurement": STAMP, "count": 2, "avg": 60.75}
    for _ in range(2):
        ask("DELETE", path, status=204)
        assert ask("GET", path) == {"last_measurement": None, "count": 0, "avg": 0.0}
    ask("POST", "/data", items[:1], 201)
    assert ask("GET", path)["count"] == 1


def test_pages_show_readings(device):
    client = Client()
    client.force_login(device.owner)
    factories.readings(device, [(1, 2, 3)] * 3)
    page = client.get(f"/portal/devices/{device.uuid}/").content.decode()
    assert page.count("2026-11-21") >= 3
    assert client.get("/portal/devices/").status_code == 200
    assert client.get("/admin/").status_code == 200


# --- Once


def requests_of(device: Device, *keys: str | None) -> list[PendingWrite]:
    taken = take_one(Target.of(device), json.dumps(READING | {"timestamp": STAMP}).encode(), timezone.now())
    return [
        PendingWrite(
            taken, None if key is None else IdempotencyClaim.of(f"device:{device.pk}", key, "/data", b"{}")
        )
        for key in keys
    ]


def flushed(requests: list[PendingWrite]) -> group_commit.Outcomes:
    flusher = Flusher()
    try:
        return flusher.flush(requests)
    finally:
        flusher.disconnect()
        flusher.executor.shutdown()


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
        group_commit.write_claimed(cursor, requests)
    flusher.disconnect()
    assert (number_of(device), IdempotencyKey.objects.count()) == (2, 0)
    assert flushed(requests) == [{"status": "ok"}] * 2
    assert (number_of(device), IdempotencyKey.objects.count()) == (2, 2)


def test_many_at_once_with_one_key_are_stored_once(device):
    [request] = requests_of(device, "k")
    answers = at_the_same_time(lambda: flushed([request]), times=4)
    assert answers == [[{"status": "ok"}]] * 4
    assert number_of(device) == 1


def test_a_key_of_somebody_else_is_another(device):
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
    """Of whatever moves an import on."""
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
    # The lines are there, and what PostgreSQL knew of it is not.
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


# --- What goes


def test_an_erased_device_keeps_nothing_of_what_was_posted_meanwhile(device):
    request, other = requests_of(device, None)[0], factories.device()
    flushed([request])
    factories.readings(other, [(1, 2, 3)])
    pk = device.pk
    device.erase()
    now = timezone.now()
    assert maintenance.erase_readings(now) == 1
    # It had passed the door before.
    flushed([request])
    assert maintenance.erase_readings(now + MINUTE) == 1
    assert maintenance.erase_readings(now + 11 * MINUTE) == 0
    assert not Erasure.objects.exists()
    assert storage.current().counts([pk, other.pk], EVER) == {pk: 0, other.pk: 1}


def test_posts_and_deletions_at_the_same_time_leave_what_came_after_the_last(device):
    request = requests_of(device, None)[0]

    def post_and_clear() -> None:
        for _ in range(3):
            flushed([request])
            storage.current().clear(device.pk)

    at_the_same_time(post_and_clear, times=3)
    assert number_of(device) == 0
    flushed([request])
    assert number_of(device) == 1


# --- Faults


def test_while_it_is_away_nothing_is_acknowledged_and_every_door_says_so(ask, device, settings):
    settings.READINGS_URL = NOWHERE
    stats = f"/devices/{device.uuid}/stats/"
    for method, path, body, key in (
        ("POST", stats, READING, None),
        ("POST", stats, READING, "k"),
        ("POST", "/data", [{"sensor": "s", "timestamp": STAMP, "value": 1}], None),
        ("GET", f"/stats/{device.uuid}/", None, None),
        ("GET", "/statistics/s", None, None),
        ("DELETE", "/statistics/s", None, None),
        ("GET", f"/devices/{device.uuid}/series/", None, None),
        ("GET", f"/devices/{device.uuid}/analytics/?start=2026-11-01", None, None),
    ):
        answer = ask(method, path, body, 503, key)
        assert answer["Retry-After"] == "1"
        assert answer["Content-Type"] == "application/problem+json"
        assert "hush" not in answer.content.decode()
    assert not IdempotencyKey.objects.exists()
    assert {type(found) for found in flushed(requests_of(device, None, "k"))} == {group_commit.NotStored}
    assert not IdempotencyKey.objects.exists()


def test_an_analysis_waits_until_it_answers(ask, device, settings, clickhouse_readings):
    factories.readings(device, [(1, 2, 3)])
    task = ask("GET", f"/devices/{device.uuid}/analytics/?start=2026-11-01", status=202)["task_id"]
    settings.READINGS_URL = NOWHERE
    build_tracer(run_analysis.name, run_analysis, app=run_analysis.app)(task, [task], {}, {"id": task})
    assert Analysis.objects.get(pk=task).status == Status.RUNNING  # taken up again by the reconciler
    settings.READINGS_URL = clickhouse_readings.url
    Analysis.objects.filter(pk=task).update(status=Status.QUEUED, claimed_by="")
    build_tracer(run_analysis.name, run_analysis, app=run_analysis.app)("2", [task], {}, {"id": "2"})
    assert Analysis.objects.get(pk=task).status == Status.FINISHED


def test_readings_that_are_refused_are_not_kept(device, clickhouse_readings):
    bad = row_codec.encode_row(device.pk, unix_microseconds(NOON), [1.0, float("nan"), 2.0])
    with pytest.raises(Exception, match="values_finite"):
        clickhouse_readings.append(bad)
    assert number_of(device) == 0


def test_one_that_does_not_answer_and_one_without_a_schema_are_unavailable(chdb_readings):
    with pytest.raises(StorageUnavailable, match="does not answer"):
        ClickHouse(NOWHERE).counts([1], EVER)
    ClickHouse(chdb_readings).run(["CREATE DATABASE IF NOT EXISTS bare"])
    with pytest.raises(StorageUnavailable, match="clickhouse_schema"):
        ClickHouse(f"{chdb_readings}?database=bare").counts([1], EVER)


def test_where_the_database_is_missing_it_is_to_be_made_first(device, chdb_readings, settings):
    settings.READINGS_URL = f"{chdb_readings}?database=nothing"
    for command in ("clickhouse_schema", "copy_readings --to postgresql --from " + settings.READINGS_URL):
        with pytest.raises(CommandError, match="ClickHouse has no database nothing: create it"):
            call_command(*command.split())


PAGES = ("/portal/devices/", "/portal/devices/{}/")


def test_while_it_is_away_pages_say_so_and_the_log_in_a_line(device, settings, caplog):
    settings.READINGS_URL = NOWHERE
    client = Client()
    client.force_login(device.owner)
    caplog.set_level("ERROR")
    for page in PAGES:
        caplog.clear()
        answer = client.get(page.format(device.uuid))
        assert (answer.status_code, answer["Retry-After"]) == (503, "1")
        assert answer["Content-Type"].startswith("text/html")
        assert "The database does not answer. Try again." in answer.content.decode()
        [line] = caplog.records
        assert (line.exc_info, "hush" in line.getMessage()) == (None, False)
        assert "ClickHouse does not answer at 127.0.0.1:1: " in line.getMessage()
        assert "\n" not in line.getMessage()


def test_there_are_no_segments_to_rebuild(capsys):
    call_command("rebuild_rollups")
    assert "Nothing to rebuild" in capsys.readouterr().out


# --- Schema


def test_the_schema_is_made_once_and_stays(device, clickhouse_readings):
    factories.readings(device, [(1, 2, 3)])
    clickhouse_readings.create_schema()
    assert number_of(device) == 1


def test_the_schema_of_a_cluster_is_valid_and_sharded_by_device(clickhouse_readings):
    statements = schema("main")
    for statement in statements:
        assert "ON CLUSTER main" in statement
        clickhouse_readings.client.command(f"EXPLAIN AST {statement}")
    assert "ReplicatedMergeTree" in statements[0]
    assert "Distributed(main, currentDatabase(), readings_local, cityHash64(device_id))" in statements[1]


def test_all_questions_work_over_shards(clickhouse_readings, settings):
    """Two within this process, that share the devices between them."""
    owner, pair = factories.owner(), factories.profile("pair", ("x", "b"))
    devices = [
        *(factories.device(owner) for _ in range(3)),
        *(factories.device(owner, profile=pair) for _ in range(3)),
    ]
    settings.READINGS_URL = "postgresql"
    for i, device in enumerate(devices):
        rows = [[i * j % 7 + 0.1, -j, j / 3][: len(device.channels)] for j in range(300)]
        factories.readings(device, rows)
        clickhouse_readings.take_over(
            storage.current().rows_of(Span.of(device.pk, Period(NOON, NOON + HOUR)))
        )
    factories.exclusion(devices[0], NOON, NOON + MINUTE)
    ours = answers(devices)

    clickhouse_readings.run(
        [
            "DROP DATABASE IF EXISTS sharded",
            "CREATE DATABASE sharded",
            "CREATE VIEW sharded.readings_local AS"
            " SELECT * FROM default.readings WHERE device_id % 2 = shardNum() - 1",
            f"CREATE TABLE sharded.readings AS {SHARDS}'sharded', 'readings_local')",
        ]
    )
    settings.READINGS_URL = f"{clickhouse_readings.url}?database=sharded"
    sharded = storage.current()
    sharded.shards = SHARDS
    for client in (sharded.client, sharded.patient_client):
        # Else it would look for itself behind a socket.
        client.set_client_setting("prefer_localhost_replica", 1)
    by_shard = "SELECT shardNum(), count() FROM readings GROUP BY 1 ORDER BY 1"
    assert sharded.query(by_shard) == [(1, 900), (2, 900)]
    assert answers(devices) == ours


def answers(devices: list[Device]) -> list[Any]:
    ids, kept = [device.pk for device in devices], storage.current()
    period = Period(NOON, NOON + 10 * MINUTE)
    pooled, each = statistics.of_devices(devices, EVER, percentiles=["5", "99.9"])
    parts = statistics.of_periods(devices[0], [EVER, period, Period(NOON - MINUTE, NOON)])
    series = kept.series(ids[0], 3, period, 50)
    return [
        *(replace(found, snapshot="", segments_used=0) for found in (pooled, *each.values(), *parts)),
        [reading[:3] for reading in kept.page(ids, EVER, limit=50)],
        {pk: reading.time for pk, reading in kept.latest(ids).items()},
        (kept.sent_since(ids, NOON + MINUTE), kept.first_time(ids), kept.counts(ids, period)),
        kept.has(ids[0], NOON, [0.1, 0, 0]),
        [array.tolist() for array in (series.starts, series.ends, series.counts, series.lows, series.highs)],
        series.means.round(9).tolist(),
        [(hour, round(mean, 9)) for hour, mean in kept.hourly_means(ids[0], 2, period)],
        [kept.days(pk) for pk in ids],
        sorted(kept.rows_of(Span.of(ids[0], period)).times),
    ]


def test_a_name_that_can_be_no_clusters_is_refused():
    with pytest.raises(ValueError, match="not a valid cluster name"):
        schema("main; DROP TABLE x")


def test_the_command_makes_what_is_kept_there(capsys):
    call_command("clickhouse_schema")
    assert capsys.readouterr().out == "ClickHouse is ready for the readings.\n"


def test_the_admin_links_to_the_page_of_a_device_instead_of_its_rows(device):
    client = Client()
    client.force_login(device.owner)
    url = reverse("admin:devices_device_change", args=[device.pk])
    assert f'href="/portal/devices/{device.uuid}/"' in client.get(url).content.decode()
    ask = "from django.contrib import admin; print([*map(str, admin.site._registry)])"
    argv = [sys.executable, Path(settings.BASE_DIR, "manage.py"), "shell", "-v", "0", "-c", ask]
    env = os.environ | {"READINGS_URL": NOWHERE}
    shown = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout
    assert "devices.models.Device'" in shown
    assert "devices.models.Reading'" not in shown


def test_the_portal_starts_and_says_when_it_does_not_answer():
    for command, code in ((("check",), 0), (("clickhouse_schema",), 1), (("make_partitions",), 0)):
        argv = [sys.executable, Path(settings.BASE_DIR, "manage.py"), *command]
        done = subprocess.run(
            argv, env=os.environ | {"READINGS_URL": NOWHERE}, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert "hush" not in done.stdout + done.stderr
