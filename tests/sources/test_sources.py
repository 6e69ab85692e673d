"""The commands of each source, typed as they stand against the demo: only host and port differ."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.demo import Demo, demo
from tests.support.portal import free_port
from tests.support.servers import make_open_folder

pytestmark = pytest.mark.e2e
FOLDER = Path(__file__).parent
ADDRESS = re.compile(r"http://localhost:80[08]0\b")
COMMON = """
set -eu -o pipefail
field() { python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }
finished() { until curl -sS "$1" | grep -Eq 'SUCCESS|finished'; do sleep 0.1; done; curl -sS "$1"; }
"""
XYZ = ("x", "y", "z")
SUMMARY = ("count", "min", "max", "sum", "avg", "median")


@pytest.fixture(scope="module")
def running() -> Iterator[Demo]:
    with make_open_folder() as folder, demo(folder / "data", free_port()) as running:
        yield running


@pytest.fixture
def typed(running: Demo, tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    """Lines that the test's script prints."""
    name = request.node.name.removeprefix("test_")
    script = ADDRESS.sub(running.url, (FOLDER / f"{name}.sh").read_text())
    shell = ["bash", "-c", f"TMP={tmp_path}\n{COMMON}{script}"]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line]


def test_task(typed: list[str]) -> None:
    assert typed[:5] == ["admin 200", "portal 200", "docs 200", "redoc 200", "openapi 3.1.0"]
    [reading], [task], profiles = map(json.loads, typed[5:])
    assert set(reading) > {"device_id", "timestamp"}
    assert {"task_id", "status"} <= set(task)
    assert {"xyz", "scalar"} <= {profile["name"] for profile in profiles}


def test_device_statistics(typed: list[str]) -> None:
    user, device, first, second, asked, task, fleet_asked, fleet = map(json.loads, typed[:-1])
    assert {name: user[name] for name in ("name", "email")} == {"name": "Vera", "email": "vera@example.com"}
    assert (device["user_id"], first["status"], second["status"]) == (user["id"], "ok", "ok")
    for answer in (asked, fleet_asked):
        assert answer["status"] in ("PENDING", "STARTED", "SUCCESS")
        assert answer["error"] is None
    expected = {
        "x": dict(zip(SUMMARY, (2, 1.5, 2.5, 4.0, 2.0, 2.0), strict=True)),
        "y": dict(zip(SUMMARY, (2, 2.0, 2.0, 4.0, 2.0, 2.0), strict=True)),
        "z": dict(zip(SUMMARY, (2, -3.25, 3.25, 0.0, 0.0, 0.0), strict=True)),
    }
    assert {channel: task["result"][channel] for channel in XYZ} == expected
    assert "total" not in task["result"]
    assert fleet["result"]["aggregate"] == fleet["result"]["devices"][device["id"]] == expected
    assert typed[-1] == "unknown 404"


def test_sensors(typed: list[str]) -> None:
    nothing = {"last_measurement": None, "count": 0, "avg": 0.0}
    assert typed[0] == "healthz 204"
    assert [json.loads(line) for line in typed[1:6]] == [
        {"accepted": 3, "rejected": []},
        {"accepted": 0, "rejected": []},
        {"last_measurement": "2026-11-21T09:31:00Z", "count": 2, "avg": 2.5},
        {"last_measurement": "2026-11-21T09:31:00Z", "count": 1, "avg": 2.5},
        nothing,
    ]
    assert typed[6:8] == ["deleted 204", "deleted 204"]
    assert [json.loads(line) for line in typed[8:]] == [
        nothing,
        {"accepted": 1, "rejected": []},
        {"last_measurement": "2026-11-21T11:00:00Z", "count": 1, "avg": 7.0},
    ]


def test_calculations(typed: list[str]) -> None:
    queued, run = json.loads(typed[0]), json.loads(typed[1])
    assert (run["id"], run["status"], run["name"]) == (queued["id"], "finished", "Well 9")
    assert run["duration"] > 0
    assert [row["date"] for row in run["result"]] == [
        "2026-01-01", "2026-01-08", "2026-01-15", "2026-01-22", "2026-01-29",
    ]  # fmt: skip
    for row in run["result"]:
        assert list(row) == ["date", "liquid", "oil", "water", "wct"]
        assert 0 <= row["oil"] <= row["liquid"]
        assert row["water"] == row["liquid"] - row["oil"]
    assert typed[2] == "date,liquid,oil,water,wct"
    listed, refused, rerun = map(json.loads, typed[8:11])
    assert len(listed) <= 10
    assert {"id", "name", "started_at", "status"} <= set(listed[0])
    assert {error["field"] for error in refused["errors"]} >= {"lag"}
    assert rerun["id"] != queued["id"]
    assert typed[11] == "cancel a finished one 409"


def test_activity(typed: list[str]) -> None:
    comments, general = json.loads(typed[0]), json.loads(typed[1])
    assert comments["status"] == general["status"] == "ok"
    assert comments["data"]
    assert general["data"]
    for row in comments["data"]:
        assert list(row) == ["user_login", "post_header", "post_author_login", "total_comments"]
        assert row["user_login"] == "vladimir"
    for row in general["data"]:
        assert list(row) == ["date", "logins", "logouts", "blog_actions"]
    dates = [row["date"] for row in general["data"]]
    assert dates == sorted(set(dates))
    assert "user_login,post_header,post_author_login,total_comments" in typed
    assert "date,logins,logouts,blog_actions" in typed
    assert typed[-2:] == ['{"status":"ok","data":[]}', "no login 400"]
