"""ClickHouse is down, has no schema or no database: nothing is acknowledged, and messages say why."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from celery.app.trace import build_tracer
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client

from analytics.models import Analysis, Status
from analytics.tasks import run_analysis
from config.problems import away_in_words
from devices.ingestion.flusher import NotStored
from devices.models import IdempotencyKey
from devices.storage import row_codec
from devices.storage.clickhouse.engine import ClickHouse
from devices.storage.interface import QueryBound, StorageUnavailable
from devices.timeline.instants import unix_microseconds
from tests.storage.clickhouse.portal import EVER, NOWHERE, READING, STAMP, flushed, number_of, requests_of
from tests.support import factories
from tests.support.factories import NOON

pytestmark = [
    pytest.mark.clickhouse,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("clickhouse_readings"),
]


def test_while_it_is_down_nothing_is_acknowledged_and_every_endpoint_answers_503(ask, device, settings):
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
    assert {type(found) for found in flushed(requests_of(device, None, "k"))} == {NotStored}
    assert not IdempotencyKey.objects.exists()


def test_a_query_of_the_web_server_is_ended_by_name(clickhouse_readings, monkeypatch):
    monkeypatch.setattr(QueryBound, "seconds", 1)
    slow = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 0"
    with pytest.raises(StorageUnavailable) as caught:
        clickhouse_readings.query(slow, is_patient=True)
    assert "STATEMENT_SECONDS" in away_in_words(caught.value)


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


def test_readings_with_invalid_values_are_not_stored(device, clickhouse_readings):
    bad = row_codec.encode_row(device.pk, unix_microseconds(NOON), [1.0, float("nan"), 2.0])
    with pytest.raises(Exception, match="values_finite"):
        clickhouse_readings.append(bad)
    assert number_of(device) == 0


def test_a_server_that_does_not_answer_or_has_no_schema_is_unavailable(chdb_readings):
    with pytest.raises(StorageUnavailable, match="does not answer"):
        ClickHouse(NOWHERE).counts([1], EVER)
    ClickHouse(chdb_readings).run(["CREATE DATABASE IF NOT EXISTS bare"])
    with pytest.raises(StorageUnavailable, match="clickhouse_schema"):
        ClickHouse(f"{chdb_readings}?database=bare").counts([1], EVER)


def test_a_missing_database_is_named(device, chdb_readings, settings):
    settings.READINGS_URL = f"{chdb_readings}?database=nothing"
    for command in ("clickhouse_schema", "copy_readings --to postgresql --from " + settings.READINGS_URL):
        with pytest.raises(CommandError, match="ClickHouse has no database nothing: create it"):
            call_command(*command.split())


PAGES = ("/portal/devices/", "/portal/devices/{}/")


def test_while_it_is_down_pages_say_so_and_the_log_has_one_line(device, settings, caplog):
    settings.READINGS_URL = NOWHERE
    client = Client()
    client.force_login(device.owner)
    caplog.set_level("ERROR")
    for page in PAGES:
        caplog.clear()
        answer = client.get(page.format(device.uuid))
        assert (answer.status_code, answer["Retry-After"]) == (503, "1")
        assert answer["Content-Type"].startswith("text/html")
        assert "Temporarily unavailable" in answer.content.decode()
        [line] = caplog.records
        assert (line.exc_info, "hush" in line.getMessage()) == (None, False)
        assert "ClickHouse does not answer at 127.0.0.1:1: " in line.getMessage()
        assert "\n" not in line.getMessage()


def test_there_are_no_segments_to_rebuild(capsys):
    call_command("rebuild_rollups")
    assert "Nothing to rebuild" in capsys.readouterr().out


def test_the_portal_starts_and_says_when_it_does_not_answer():
    for command, code in ((("check",), 0), (("clickhouse_schema",), 1), (("make_partitions",), 0)):
        argv = [sys.executable, Path(settings.BASE_DIR, "manage.py"), *command]
        done = subprocess.run(
            argv, env=os.environ | {"READINGS_URL": NOWHERE}, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert "hush" not in done.stdout + done.stderr
