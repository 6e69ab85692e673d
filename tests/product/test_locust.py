"""The load test works against a real portal, with and without its web page."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests
from django.conf import settings

from config.processes import die_with_parent
from tests.support.portal import Portal, eventually, free_port

FOLDER = settings.BASE_DIR / "locust"
LOCUST = [str(Path(sys.executable).with_name("locust")), "-f", "locustfile.py"]
# Ten users are some of each kind.
USERS, SECONDS = 10, 8
PAGE_SECONDS = 60
CHECKS = {
    *("every reading counted", "every row calculated", "every event accepted", "every comment counted"),
    *("every visit counted", "until the statistics", "until the table"),
}


@contextmanager
def load(portal: Portal, token: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*LOCUST, "--host", portal.url, *options],
        cwd=FOLDER,
        env={**portal.env, "PLUMBLINE_TOKEN": token},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(portal: Portal, token: str, *kinds: str, seconds: int = SECONDS) -> tuple[int, str]:
    """Run locust without its web page; return exit code and output."""
    options = ("--headless", "--users", str(USERS), "--spawn-rate", str(USERS), "--run-time", f"{seconds}s")
    # On a busy machine a user finishes what it is doing: it analyses at least once.
    patient = ("--stop-timeout", str(PAGE_SECONDS))
    with load(portal, token, *kinds, *options, *patient, "--only-summary") as process:
        output, _ = process.communicate(timeout=120)
        return process.returncode, output


def reading_count(portal: Portal) -> int:
    return portal.query("SELECT count(*) FROM devices_reading")[0][0]


def test_run_without_a_page_has_no_failure(portal: Portal) -> None:
    before = reading_count(portal)
    code, output = run(portal, portal.admin_token)
    assert code == 0, output
    assert {check for check in CHECKS if check in output} == CHECKS
    assert reading_count(portal) > before


def test_writers_do_nothing_but_post_readings(portal: Portal) -> None:
    before = reading_count(portal)
    code, output = run(portal, portal.admin_token, "Writer")
    assert code == 0, output
    assert "/devices/[id]/stats/ " in output
    assert "analytics" not in output
    assert "batch" not in output
    assert reading_count(portal) > before


def test_unexpected_answer_makes_the_run_fail(portal: Portal) -> None:
    """An owner may not register users."""
    code, output = run(portal, portal.new_user().token, seconds=1)
    assert code == 1, output
    assert "403 instead of 201" in output


def test_run_from_the_page_has_no_failure(portal: Portal) -> None:
    """The page is on loopback alone, as locust.conf says."""
    before, port = reading_count(portal), free_port()
    page = f"http://127.0.0.1:{port}"
    with load(portal, portal.admin_token, "--web-port", str(port)) as process:
        with requests.Session() as browser:
            browser.trust_env = False
            eventually(lambda: is_up(browser, page))
            assert listening(process.pid) == [("127.0.0.1", port)]
            swarm = {"user_count": USERS, "spawn_rate": USERS, "host": portal.url}
            assert browser.post(f"{page}/swarm", swarm, timeout=30).json()["success"]
            eventually(lambda: seen(browser, page) >= CHECKS)
            browser.get(f"{page}/stop", timeout=30)
            stats = browser.get(f"{page}/stats/requests", timeout=30).json()
        assert stats["errors"] == []
        assert reading_count(portal) > before
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output


def seen(browser: requests.Session, page: str) -> set[str]:
    """Names of the requests and checks that the page has counted."""
    stats = browser.get(f"{page}/stats/requests", timeout=30).json()
    return {row["name"] for row in stats["stats"]}


def listening(pid: int) -> list[tuple[str, int]]:
    connections = psutil.Process(pid).net_connections("inet")
    return [tuple(found.laddr) for found in connections if found.status == psutil.CONN_LISTEN]


def is_up(browser: requests.Session, page: str) -> bool:
    try:
        return browser.get(page, timeout=30).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.mark.parametrize("name", ["__init__.py", "locust.py"])
def test_folder_does_not_shadow_the_package(name: str) -> None:
    assert not Path(settings.BASE_DIR, "locust", name).exists()
