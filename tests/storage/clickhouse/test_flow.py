"""The whole portal by HTTP with its readings in ClickHouse: the main job, and kill -9 under load."""

import secrets
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from config.processes import Command
from devices import storage
from devices.storage.interface import Storage, StorageUnavailable
from tests.support.portal import Portal, eventually, free_port, portal_with_servers
from tests.support.senders import (
    STAMP,
    Connection,
    Load,
    all_web_processes_answer,
    at_once,
    batch_path,
    bring_postgres_back,
    kill_postgres,
    kill_web_process,
    stats_path,
)

pytestmark = pytest.mark.clickhouse
# Acknowledged requests between two kills.
REQUESTS = 150
ROWS = [{"timestamp": f"2026-11-02T08:00:{i:02}Z", "x": i, "y": -i, "z": 0.5} for i in range(60)]


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal with a ClickHouse server of its own."""
    port, folder = free_port(), tmp_path_factory.mktemp("clickhouse")
    with portal_with_servers() as portal:
        argv = [sys.executable, "-m", "tests.storage.clickhouse.server", str(port), folder]
        portal.supervisor.add(
            Command(name="clickhouse", argv=argv, env=portal.env, folder=Path(settings.BASE_DIR))
        )
        portal.env["READINGS_URL"] = f"clickhouse://plumbline:hush@127.0.0.1:{port}/default"
        eventually(lambda: has_answered(portal))
        portal.manage("clickhouse_schema")
        portal.install()
        yield portal


def readings_of(portal: Portal) -> Storage:
    return storage.opened(portal.env["READINGS_URL"])


def has_answered(portal: Portal) -> bool:
    try:
        return readings_of(portal).query("SELECT 1") == [(1,)]
    except StorageUnavailable:
        return False


def test_the_main_job(portal: Portal, tmp_path: Path) -> None:
    owner = portal.new_user()
    device = portal.new_device(owner)
    for content_type in ("application/json", "application/json; door=rest"):
        with Connection(portal) as connection:
            answer = connection.post(
                stats_path(device), ROWS[0], device_key=device.key, content_type=content_type
            )
            assert (answer.status, answer.json()) == (201, {"status": "ok"})
            answer = connection.post(
                batch_path(device), ROWS[1:30], device_key=device.key, key="k", content_type=content_type
            )
            assert (answer.status, answer.json()) == (201, {"accepted": 29, "rejected": []})
    lines = [f"{row['timestamp']},{row['x']},{row['y']},{row['z']}" for row in ROWS[30:]]
    path = tmp_path / "rest.csv"
    path.write_text("\n".join(["timestamp,x,y,z", *lines]))
    for _ in range(2):
        portal.manage("import_readings", str(path), f"--device={device.id}")

    result = portal.result(f"/devices/{device.id}/analytics/", owner.token, percentiles="5")
    # The first reading came twice, by both ways; the batch had a key.
    assert (result["rows_read"], result["x"]["count"], result["x"]["median"]) == (61, 61, 29.0)
    assert result["x"]["sum"] == sum(row["x"] for row in ROWS)
    assert portal.query("SELECT count(*) FROM devices_reading") == [(0,)]
    assert [row["x"] for row in portal.get(f"/stats/{device.id}/?limit=3", owner.token)] == [
        59,
        58,
        57,
    ]
    series = portal.get(f"/devices/{device.id}/series/?points=5&end=2026-11-02T08:01:00Z", owner.token)
    assert sum(series["count"]) == 61
    fleet = portal.result(f"/users/{owner.id}/analytics/", owner.token)
    assert fleet["aggregate"]["x"] == {k: v for k, v in result["x"].items() if k != "percentiles"}

    portal.made("/data", owner.token, [{"sensor": "s", "timestamp": STAMP, "value": 2.5}])
    assert portal.get("/statistics/s", owner.token)["avg"] == 2.5
    assert portal.request("DELETE", "/statistics/s", token=owner.token).status_code == 204
    assert portal.get("/statistics/s", owner.token)["count"] == 0
    assert portal.request("DELETE", f"/devices/{device.id}", token=portal.admin_token).status_code == 204
    assert portal.request("GET", f"/stats/{device.id}/", token=owner.token).status_code == 404


def test_one_key_from_sixteen_threads_is_stored_once(portal: Portal) -> None:
    device, key = portal.new_device(portal.new_user()), secrets.token_hex(8)

    def post(_: int) -> int:
        with Connection(portal) as connection:
            return connection.post(stats_path(device), ROWS[0], device_key=device.key, key=key).status

    assert at_once(post) == [201] * 16
    assert len(portal.get(f"/stats/{device.id}/")) == 1


class ClickHouseLoad(Load):
    def stored(self) -> Counter[int]:
        ids = [
            pk
            for (pk,) in self.portal.query("SELECT id FROM devices_device WHERE owner_id = %s", self.owner.id)
        ]
        counts = "SELECT values[1], count() FROM readings WHERE device_id IN {ids:Array(Int32)} GROUP BY 1"
        return Counter(
            {int(number): count for number, count in readings_of(self.portal).query(counts, ids=ids)}
        )


def test_acknowledged_readings_survive_kills_and_those_with_a_key_are_stored_once(
    portal: Portal,
) -> None:
    load = ClickHouseLoad(portal)

    def acknowledge_more() -> None:
        enough = load.statuses[201] + REQUESTS
        eventually(lambda: load.statuses[201] >= enough)

    with load.running():
        acknowledge_more()
        portal.kill("clickhouse")
        refused = load.statuses[503]
        eventually(lambda: load.statuses[503] > refused)
        portal.start("clickhouse")
        acknowledge_more()
        kill_web_process(portal)
        acknowledge_more()
        kill_postgres(portal)
        refused = load.statuses[503]
        eventually(lambda: load.statuses[503] > refused)
        bring_postgres_back(portal)
        acknowledge_more()
    eventually(lambda: all_web_processes_answer(portal))
    tally = load.tally()
    assert (tally.lost, tally.doubled) == (0, 0), tally
    assert set(tally.statuses) <= {201, 503, 0}, tally
