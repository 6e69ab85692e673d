"""The load test works against a real portal, with and without its web page."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from django.conf import settings

from config.processes import die_with_parent
from tests.support.portal import Portal, eventually, free_port

LOCUST = [sys.executable, "-m", "locust", "-f", "locust/locustfile.py"]
USERS, SECONDS = 3, 5
PAGE_SECONDS = 40


@contextmanager
def load(portal: Portal, token: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*LOCUST, "--host", portal.url, *options],
        cwd=settings.BASE_DIR,
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


def run(portal: Portal, token: str, *kinds: str) -> tuple[int, str]:
    """Run locust without its web page; return exit code and output."""
    options = ("--headless", "--users", str(USERS), "--spawn-rate", str(USERS), "--run-time", f"{SECONDS}s")
    # On a busy machine a user finishes what it is doing: it analyses at least once.
    patient = ("--stop-timeout", str(PAGE_SECONDS))
    with load(portal, token, *kinds, *options, *patient, "--only-summary") as process:
        output, _ = process.communicate(timeout=90)
        return process.returncode, output


def reading_count(portal: Portal) -> int:
    return portal.query("SELECT count(*) FROM devices_reading")[0][0]


def test_run_without_a_page_has_no_failure(portal: Portal) -> None:
    before = reading_count(portal)
    code, output = run(portal, portal.admin_token)
    assert code == 0, output
    assert "every reading counted" in output
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
    code, output = run(portal, portal.new_user().token)
    assert code == 1, output
    assert "403 instead of 201" in output


def test_run_from_the_page_has_no_failure(portal: Portal) -> None:
    before, port = reading_count(portal), free_port()
    page = f"http://127.0.0.1:{port}"
    with load(portal, portal.admin_token, "--web-host", "127.0.0.1", "--web-port", str(port)) as process:
        with requests.Session() as browser:
            browser.trust_env = False
            eventually(lambda: is_up(browser, page), seconds=PAGE_SECONDS)
            swarm = {"user_count": USERS, "spawn_rate": USERS, "host": portal.url}
            assert browser.post(f"{page}/swarm", swarm, timeout=30).json()["success"]
            eventually(lambda: reading_count(portal) > before + USERS, seconds=PAGE_SECONDS)
            browser.get(f"{page}/stop", timeout=30)
            stats = browser.get(f"{page}/stats/requests", timeout=30).json()
        assert stats["errors"] == []
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output


def is_up(browser: requests.Session, page: str) -> bool:
    try:
        return browser.get(page, timeout=30).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.mark.parametrize("name", ["__init__.py", "locust.py"])
def test_folder_does_not_shadow_the_package(name: str) -> None:
    assert not Path(settings.BASE_DIR, "locust", name).exists()
