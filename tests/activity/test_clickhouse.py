"""ClickHouse as the storage of logs: its schema, its faults, and the portal that uses it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from analytics.activity import storage
from analytics.activity.events import delivery
from analytics.activity.events.event import LOGIN, Event, event_id
from analytics.activity.models import PendingEvent
from analytics.activity.storage.clickhouse import COLUMNS, ClickHouseActivity, schema
from analytics.activity.storage.interface import ActivityStorage
from devices.storage.interface import StorageUnavailable
from devices.timeline.periods import Period
from tests.support import factories
from tests.support.factories import NOON

pytestmark = [pytest.mark.clickhouse, pytest.mark.django_db(databases=["default"])]
NOWHERE = "clickhouse://somebody:hush@127.0.0.1:1/logs"


@pytest.fixture
def clickhouse(chdb: str, settings) -> ActivityStorage:
    settings.ACTIVITY_URL = chdb
    storage.current().client.command("TRUNCATE TABLE activity_log")
    return storage.current()


def login(number: int, user: int = 7) -> Event:
    return Event(event_id("test", str(number)), user, LOGIN, NOON)


def test_the_schema_is_made_once_and_stays(clickhouse):
    clickhouse.append([login(1)])
    clickhouse.create_schema()
    assert clickhouse.counts(7, Period()) == {LOGIN: 1}


def test_the_schema_of_a_cluster_is_valid_and_sharded_by_user(clickhouse):
    statements = schema("main")
    for statement in statements:
        assert "ON CLUSTER main" in statement
        clickhouse.client.command(f"EXPLAIN AST {statement}")
    assert "ReplicatedReplacingMergeTree" in statements[0]
    assert "Distributed(main, currentDatabase(), activity_log_local, cityHash64(user_id))" in statements[1]


@pytest.mark.parametrize("name", ["a b", "main; DROP TABLE x", "1st", "größe", "a\n"])
def test_a_name_that_can_be_no_clusters_is_refused(name):
    with pytest.raises(ValueError, match="not a valid cluster name"):
        schema(name)


def test_what_two_replicas_took_is_counted_once(clickhouse):
    """As if each had not known what the other took: the same rows come in two inserts."""
    event = login(1)
    rows = [[event.id, event.user_id, event.name, event.at, event.object_id]]
    for _ in range(2):
        clickhouse.client.insert("activity_log", rows, column_names=COLUMNS)
    assert clickhouse.client.query("SELECT count() FROM activity_log").result_rows == [(2,)]
    assert clickhouse.counts(7, Period()) == {LOGIN: 1}
    assert clickhouse.append([event]) == 0


def test_one_that_does_not_answer_and_one_without_a_schema_are_unavailable(chdb):
    with pytest.raises(StorageUnavailable, match="does not answer"):
        ClickHouseActivity(NOWHERE).append([login(1)])
    ClickHouseActivity(chdb).run(["CREATE DATABASE IF NOT EXISTS bare"])
    with pytest.raises(StorageUnavailable, match="clickhouse_schema"):
        ClickHouseActivity(f"{chdb}?database=bare").counts(7, Period())
    with pytest.raises(StorageUnavailable, match="no database nothing"):
        ClickHouseActivity(f"{chdb}?database=nothing").create_schema()


def test_events_wait_in_the_outbox_until_it_answers(clickhouse, chdb, settings):
    settings.ACTIVITY_URL = NOWHERE
    PendingEvent.note(7, LOGIN)
    with pytest.raises(StorageUnavailable):
        delivery.deliver()
    assert PendingEvent.objects.count() == 1
    headers = {"Authorization": f"Token {factories.token(factories.colleague(login='ada'))[1]}"}
    answer = Client().get("/api/general/?login=ada", headers=headers)
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    assert "hush" not in answer.content.decode()
    settings.ACTIVITY_URL = chdb
    assert delivery.deliver() == 1
    assert (PendingEvent.objects.count(), clickhouse.counts(7, Period())) == (0, {LOGIN: 1})


def manage(url: str, *command: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, Path(settings.BASE_DIR, "manage.py"), *command]
    env = os.environ | {"ACTIVITY_URL": url}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


def test_the_command_needs_a_url_of_clickhouse_that_answers():
    assert "Nothing is stored in ClickHouse" in manage("", "clickhouse_schema").stderr
    failed = manage(NOWHERE, "clickhouse_schema", "--cluster", "main")
    assert failed.returncode == 1
    assert "ClickHouse does not answer" in failed.stderr
    assert "hush" not in failed.stderr


def test_django_then_has_one_database_and_no_table_of_logs():
    ask = "from django.contrib import admin; print([*map(str, admin.site._registry)])"
    shown = manage(NOWHERE, "shell", "-v", "0", "-c", ask).stdout
    assert "activity.models.Post" in shown
    assert "activity.models.Log'" not in shown
    assert manage(NOWHERE, "check").returncode == 0
    assert manage(NOWHERE, "makemigrations", "--check").returncode == 0
