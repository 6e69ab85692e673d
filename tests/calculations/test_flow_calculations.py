"""The life of calculations with the real worker: in order, one at a time, stopped, killed, never lost."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import psutil
import pytest
import redis
from django.conf import settings

from config.processes import die_with_parent
from tests.support.portal import Person, Portal, eventually

YEAR = {"date_start": "2020-01-01", "date_fin": "2020-12-31", "lag": 1}
DAYS_OF_2020 = 366
# A request waits at most a second for a broker that hangs; the rest is allowance for a busy machine.
ASK_SECONDS = 10


@pytest.fixture(autouse=True)
def _all_alive_again(portal: Portal) -> Iterator[None]:
    yield
    portal.query(
        "UPDATE analytics_calculation SET status = 'cancelled' WHERE status IN ('queued', 'running')"
    )
    portal.start_all()


def ask(portal: Portal, owner: Person, **fields: Any) -> str:
    return portal.made("/calculations/", owner.token, YEAR | fields)["id"]


def read(portal: Portal, owner: Person, run_id: str, *fields: str) -> dict:
    return portal.get(f"/calculations/{run_id}/", owner.token, params={"fields": ",".join(fields)})


def over(portal: Portal, owner: Person, run_id: str, *fields: str) -> dict:
    def found() -> dict | None:
        run = read(portal, owner, run_id, "error", "attempts", *fields)
        return None if run["status"] in ("queued", "running") else run

    return eventually(found)


def row(portal: Portal, run_id: str) -> tuple[str, int]:
    """Status and attempts."""
    [found] = portal.query("SELECT status, attempts FROM analytics_calculation WHERE id = %s", run_id)
    return found


def wait_until_running(portal: Portal, run_id: str, attempt: int = 1) -> None:
    eventually(lambda: row(portal, run_id) == ("running", attempt))


def calculation_workers(portal: Portal) -> list[psutil.Process]:
    """The worker of calculations; there is one."""
    worker = psutil.Process(portal.child("worker").process.pid)
    return [child for child in worker.children() if "--queues=calculations" in child.cmdline()]


def calculators(portal: Portal) -> list[psutil.Process]:
    """The processes that calculations run in."""
    return [process for worker in calculation_workers(portal) for process in worker.children()]


def assert_whole(run: dict) -> None:
    assert (run["status"], run["error"]) == ("finished", None)
    assert len(run["result"]) == DAYS_OF_2020
    assert len({row["date"] for row in run["result"]}) == DAYS_OF_2020


def test_runs_go_one_after_another_in_the_order_asked_for(portal: Portal, owner: Person) -> None:
    other = portal.new_user()
    asked = [ask(portal, who, pause=0.3, name=str(i)) for i, who in enumerate([owner, other] * 3)]
    waiting = [
        read(portal, owner if i % 2 == 0 else other, run_id, "position", "parameters")
        for i, run_id in enumerate(asked)
    ]
    places = [run["position"] for run in waiting if run["position"] is not None]
    assert places == sorted(places)
    assert all(run["parameters"]["lag"] == 1 for run in waiting)
    done = [over(portal, owner if i % 2 == 0 else other, r, "finished_at") for i, r in enumerate(asked)]
    spans = [(run["started_at"], run["finished_at"]) for run in done]
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))


def test_progress_elapsed_and_remaining_time_are_told(portal: Portal, owner: Person) -> None:
    run_id = ask(portal, owner, pause=60)
    times = ("progress", "elapsed", "remaining", "duration", "position")
    run = eventually(lambda: (found := read(portal, owner, run_id, *times))["progress"] > 1 and found)
    assert (run["status"], run["result"], run["position"], run["duration"]) == ("running", None, None, None)
    assert 0 < run["elapsed"] < 60
    assert run["remaining"] > 0


def test_cancel_ends_a_queued_one_at_once(portal: Portal, owner: Person) -> None:
    first = ask(portal, owner, pause=60)
    wait_until_running(portal, first)
    waiting = ask(portal, owner)
    answer = portal.request("POST", f"/calculations/{waiting}/cancel", token=owner.token)
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    portal.request("POST", f"/calculations/{first}/cancel", token=owner.token)
    assert_whole(over(portal, owner, ask(portal, owner)))
    assert row(portal, waiting) == ("cancelled", 0)


def test_cancel_frees_the_worker(portal: Portal, owner: Person) -> None:
    run_id = ask(portal, owner, pause=600)
    wait_until_running(portal, run_id)
    following = ask(portal, owner)
    portal.request("POST", f"/calculations/{run_id}/cancel", token=owner.token)
    eventually(lambda: row(portal, following)[0] != "queued")
    assert_whole(over(portal, owner, following))
    assert row(portal, run_id) == ("cancelled", 1)
    assert portal.query(
        "SELECT count(*) FROM analytics_calculationrows WHERE calculation_id = %s", run_id
    ) == [(0,)]


@contextmanager
def worker_with(portal: Portal, **env: str) -> Iterator[None]:
    """Replace the portal's worker by one with these settings."""
    portal.kill("worker")
    argv = [sys.executable, "manage.py", "worker"]
    with portal.child("worker").log.open("ab") as log:
        options = {"env": portal.env | env, "cwd": settings.BASE_DIR, "stdout": log, "stderr": log}
        process = subprocess.Popen(argv, **options, preexec_fn=die_with_parent)  # noqa: PLW1509
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_run_that_takes_too_long_is_stopped_and_fails(portal: Portal, owner: Person) -> None:
    with worker_with(portal, CALCULATION_SECONDS="2"):
        run = over(portal, owner, ask(portal, owner, pause=600), "duration")
        assert (run["status"], run["result"]) == ("failed", None)
        assert run["error"] == "It exceeded its time limit and was stopped."
        assert run["duration"] < 10
        assert_whole(over(portal, owner, ask(portal, owner)))


def test_run_of_a_killed_child_is_taken_up_again(portal: Portal, owner: Person) -> None:
    run_id = ask(portal, owner, pause=4, seed=11)
    wait_until_running(portal, run_id)
    [process] = calculators(portal)
    process.kill()
    eventually(lambda: row(portal, run_id) == ("running", 2))
    run = over(portal, owner, run_id)
    assert_whole(run)
    assert run["attempts"] == 2
    assert over(portal, owner, ask(portal, owner, seed=11))["result"] == run["result"]


def test_run_of_a_killed_worker_is_taken_up_before_those_behind_it(portal: Portal, owner: Person) -> None:
    first = ask(portal, owner, pause=3)
    wait_until_running(portal, first)
    portal.kill("worker")
    portal.query(
        "UPDATE analytics_calculation SET heartbeat_at = now() - interval '1 hour' WHERE id = %s", first
    )
    second = ask(portal, owner)
    portal.start("worker")
    done = [over(portal, owner, run_id, "finished_at") for run_id in (first, second)]
    for run in done:
        assert_whole(run)
    assert row(portal, second) == ("finished", 1)


def test_worker_of_calculations_is_started_again_when_it_dies(portal: Portal, owner: Person) -> None:
    run_id = ask(portal, owner, pause=2)
    wait_until_running(portal, run_id)
    [worker] = calculation_workers(portal)
    worker.kill()
    portal.query(
        "UPDATE analytics_calculation SET heartbeat_at = now() - interval '1 hour' WHERE id = %s", run_id
    )
    run = over(portal, owner, run_id)
    assert_whole(run)
    assert run["attempts"] == 2
    assert calculation_workers(portal)[0].pid != worker.pid


def test_run_that_kills_every_worker_fails_after_three_attempts(portal: Portal, owner: Person) -> None:
    run_id = ask(portal, owner, pause=600)
    for attempt in (1, 2, 3):
        wait_until_running(portal, run_id, attempt)
        [process] = calculators(portal)
        process.kill()
        # As if DEAD_AFTER had passed.
        portal.query(
            "UPDATE analytics_calculation SET heartbeat_at = now() - interval '1 hour' WHERE id = %s", run_id
        )
    run = over(portal, owner, run_id)
    assert (run["status"], run["attempts"], run["result"]) == ("failed", 3, None)
    assert "3 attempts" in run["error"]


def test_a_dead_broker_delays_but_loses_nothing(portal: Portal, owner: Person) -> None:
    portal.kill("redis")
    started = time.monotonic()
    run_id = ask(portal, owner)
    assert time.monotonic() - started < ASK_SECONDS
    assert row(portal, run_id) == ("queued", 0)
    assert read(portal, owner, run_id, "position")["position"] == 1
    portal.start("redis")
    eventually(lambda: row(portal, run_id)[0] != "queued")
    assert_whole(over(portal, owner, run_id))


def test_a_hanging_broker_holds_no_asker_up(portal: Portal, owner: Person) -> None:
    with portal.frozen("redis"):
        started = time.monotonic()
        run_id = ask(portal, owner)
        assert time.monotonic() - started < ASK_SECONDS
    assert_whole(over(portal, owner, run_id))


def test_runs_of_a_flushed_broker_are_queued_again(portal: Portal, owner: Person) -> None:
    first = ask(portal, owner, pause=2)
    wait_until_running(portal, first)
    rest = [ask(portal, owner) for _ in range(3)]
    with redis.Redis.from_url(portal.redis_url) as broker:
        broker.flushall()
    for run_id in (first, *rest):
        assert_whole(over(portal, owner, run_id))
        assert row(portal, run_id) == ("finished", 1)


def test_long_runs_hold_up_no_analysis(portal: Portal, owner: Person) -> None:
    device = portal.new_device(owner)
    portal.post_reading(device, x=1, y=2, z=3)
    for _ in range(3):
        ask(portal, owner, pause=600)
    assert portal.result(f"/devices/{device.id}/analytics/", owner.token)["x"]["count"] == 1
