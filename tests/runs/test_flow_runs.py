"""No requested run is lost when the broker, its queue, a worker or the database dies."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import pytest
import redis
import requests

from tests.support.portal import Person, Portal, Sender, connected, eventually

# A request waits at most a second for a broker that hangs; the rest is allowance for a busy machine.
ASK_SECONDS = 10
ATTEMPTS = 3


@pytest.fixture(autouse=True)
def _all_alive_again(portal: Portal) -> Iterator[None]:
    yield
    portal.start_all()


@pytest.fixture
def device(portal: Portal, owner: Person) -> Sender:
    device = portal.new_device(owner)
    portal.post_reading(device, x=1, y=2, z=4)
    return device


def ask(portal: Portal, owner: Person, device: Sender) -> str:
    return portal.ask(f"/devices/{device.id}/analytics/", owner.token)


def row(portal: Portal, task_id: str) -> tuple[str, int]:
    """Status and attempts."""
    [found] = portal.query("SELECT status, attempts FROM analytics_analysis WHERE id = %s", task_id)
    return found


def assert_finishes(portal: Portal, owner: Person, task_id: str) -> None:
    task = portal.wait_for_task(task_id, owner.token)
    assert (task["status"], task["error"]) == ("SUCCESS", None)
    assert [task["result"][channel]["sum"] for channel in "xyz"] == [1.0, 2.0, 4.0]


@contextmanager
def held_up(portal: Portal) -> Iterator[None]:
    """Block readers of readings until the end of the block, so that a run lasts as long as the test needs."""
    with connected(portal.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE devices_reading IN ACCESS EXCLUSIVE MODE")
        yield


def wait_until_claimed(portal: Portal, task_id: str, attempt: int = 1) -> None:
    eventually(lambda: row(portal, task_id) == ("running", attempt))


def assert_ask_is_not_held_up(portal: Portal, owner: Person, device: Sender) -> str:
    started = time.monotonic()
    task_id = ask(portal, owner, device)
    assert time.monotonic() - started < ASK_SECONDS
    assert row(portal, task_id) == ("queued", 0)
    assert portal.request("GET", "/healthz").status_code == 204
    assert portal.get("/livez?details") == {"database": "ok", "broker": "away", "cache": "away"}
    return task_id


def test_dead_broker_delays_only_the_analysis(portal: Portal, owner: Person, device: Sender) -> None:
    portal.kill("redis")
    task_id = assert_ask_is_not_held_up(portal, owner, device)
    portal.post_reading(portal.new_device(owner), x=1, y=2, z=3)
    portal.start("redis")
    assert_finishes(portal, owner, task_id)


def test_hanging_broker_delays_only_the_analysis(portal: Portal, owner: Person, device: Sender) -> None:
    with portal.frozen("redis"):
        task_id = assert_ask_is_not_held_up(portal, owner, device)
    assert_finishes(portal, owner, task_id)


def test_task_of_a_flushed_broker_is_sent_again(portal: Portal, owner: Person, device: Sender) -> None:
    portal.kill("worker")
    task_id = ask(portal, owner, device)
    with redis.Redis.from_url(portal.redis_url) as broker:
        assert broker.llen("analyses") == 1
        broker.flushall()
    portal.start("worker")
    assert_finishes(portal, owner, task_id)
    assert row(portal, task_id) == ("finished", 1)


def test_run_of_a_killed_worker_is_taken_up_again(portal: Portal, owner: Person, device: Sender) -> None:
    task_id = ask_of_running(portal, owner, device)
    portal.start("worker")
    assert_finishes(portal, owner, task_id)
    assert row(portal, task_id) == ("finished", 2)


def ask_of_running(portal: Portal, owner: Person, device: Sender) -> str:
    """Kill the worker in the middle of a run; returns the run's id."""
    portal.kill("worker")
    task_id = ask(portal, owner, device)
    with held_up(portal):
        portal.start("worker")
        wait_until_claimed(portal, task_id)
        assert portal.get(f"/tasks/{task_id}/", owner.token)["status"] == "STARTED"
        portal.kill("worker")
    return task_id


def test_run_that_kills_every_worker_fails_after_three_attempts(
    portal: Portal, owner: Person, device: Sender
) -> None:
    portal.kill("worker")
    task_id = ask(portal, owner, device)
    with held_up(portal):
        for attempt in range(1, ATTEMPTS + 1):
            portal.start("worker")
            wait_until_claimed(portal, task_id, attempt)
            portal.kill("worker")
            # As if DEAD_AFTER had passed.
            portal.query(
                "UPDATE analytics_analysis SET heartbeat_at = now() - interval '1 hour' WHERE id = %s",
                task_id,
            )
        portal.start("worker")
        task = portal.wait_for_task(task_id, owner.token)
    assert (task["status"], task["result"]) == ("FAILURE", None)
    assert f"{ATTEMPTS} attempts" in task["error"]
    assert row(portal, task_id) == ("failed", ATTEMPTS)
    assert ask(portal, owner, device) != task_id


def test_cancelled_run_delivers_nothing(portal: Portal, owner: Person, device: Sender) -> None:
    portal.kill("worker")
    task_id = ask(portal, owner, device)
    with held_up(portal):
        portal.start("worker")
        wait_until_claimed(portal, task_id)
        cancel(portal, task_id)
        assert portal.get(f"/tasks/{task_id}/", owner.token)["status"] == "REVOKED"
        # Its work waits for a lock and cannot stop: its process is killed.
        eventually(lambda: not is_held_up(portal))
    assert row(portal, task_id) == ("cancelled", 1)
    task = portal.get(f"/tasks/{task_id}/", owner.token)
    assert (task["status"], task["result"], task["error"]) == ("REVOKED", None, None)
    assert ask(portal, owner, device) != task_id


def is_held_up(portal: Portal) -> bool:
    """A query for readings is blocked."""
    return bool(
        portal.query("SELECT FROM pg_locks WHERE relation = 'devices_reading'::regclass AND NOT granted")
    )


def cancel(portal: Portal, task_id: str) -> None:
    """Cancel the run by the action of Django admin."""
    with requests.Session() as browser:
        browser.trust_env = False
        account = {"username": portal.admin_login, "password": portal.admin_password}
        # The page behind the log-in reads readings, which are blocked.
        submit(browser, f"{portal.url}/portal/login/", account)
        page = f"{portal.url}/admin/analytics/analysis/"
        submit(browser, page, {"action": "cancel", "_selected_action": task_id})
        assert "Cancelled: 1." in browser.get(page, timeout=30).text


def submit(browser: requests.Session, url: str, fields: dict[str, str]) -> None:
    """Send a page's form with its CSRF token; a valid form redirects."""
    form = browser.get(url, timeout=30)
    [token] = set(re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text))
    fields = {**fields, "csrfmiddlewaretoken": token}
    response = browser.post(url, fields, allow_redirects=False, timeout=30)
    assert response.status_code == 302, response.text


def test_closed_database_sessions_cost_no_request(portal: Portal, owner: Person, device: Sender) -> None:
    """Close all connections to the database, as a fail-over does."""
    for _ in range(3):
        portal.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        # More requests than there are threads, so that each meets its own dead connection.
        for _ in range(20):
            assert portal.request("GET", "/devices/", token=owner.token).status_code == 200
        portal.post_reading(device, x=0, y=0, z=0)
        assert_finishes(portal, owner, ask(portal, owner, device))


def test_stopped_database_is_503_until_it_is_back(portal: Portal, owner: Person, device: Sender) -> None:
    stats = f"/devices/{device.id}/stats/"
    reading = {"x": 0, "y": 0, "z": 0}
    portal.kill("postgres")
    for response in (
        portal.request("POST", stats, device_key=device.key, json=reading),
        portal.request("GET", "/devices/", token=owner.token),
        portal.request("GET", f"/devices/{device.id}/analytics/", token=owner.token),
        portal.request("GET", "/healthz"),
    ):
        assert response.status_code == 503
        assert response.headers["Content-Type"] == "application/problem+json"
        assert int(response.headers["Retry-After"]) >= 1
        assert response.json()["title"] == "Service Unavailable"
    portal.start("postgres")
    eventually(lambda: answers(portal))
    portal.wait_until_ready()
    for _ in range(20):
        assert portal.request("POST", stats, device_key=device.key, json=reading).status_code == 201
    assert_finishes(portal, owner, ask(portal, owner, device))


def answers(portal: Portal) -> bool:
    try:
        return bool(portal.query("SELECT 1"))
    except psycopg2.OperationalError:
        return False


def test_killed_web_server_comes_back_on_the_same_port(portal: Portal, owner: Person, device: Sender) -> None:
    """Its child processes must not keep the port."""
    portal.kill("web")
    portal.start("web")
    portal.wait_until_ready()
    assert portal.get(f"/devices/{device.id}/", owner.token)["last_reading"]["x"] == 1.0
