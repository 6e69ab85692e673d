"""Probes: ready means that readings can be stored, alive that the process works."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import requests

from tests.support.database import connected
from tests.support.portal import Portal, Sender, eventually

OK = {"database": "ok", "broker": "ok", "cache": "ok"}


def status(portal: Portal, path: str) -> int:
    return portal.request("GET", path).status_code


@pytest.mark.parametrize("path", ["/healthz", "/healthz/", "/livez", "/livez/"])
def test_a_probe_is_204_and_empty_for_any_host(portal: Portal, path: str) -> None:
    response = portal.request("GET", path, headers={"Host": "10.1.2.3"})
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/livez?details"])
def test_a_probe_is_only_read(portal: Portal, path: str) -> None:
    response = portal.request("POST", path)
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")
    assert response.headers["Content-Type"] == "application/problem+json"


def test_details_are_words(portal: Portal) -> None:
    assert portal.get("/livez?details") == OK
    assert portal.get("/livez/?details=") == OK
    assert status(portal, "/livez?detail") == 400


def test_without_redis_readings_are_taken_and_it_is_ready(portal: Portal, device: Sender) -> None:
    portal.kill("redis")
    try:
        portal.post_reading(device, x=1, y=2, z=3)
        assert status(portal, "/healthz") == 204
        assert portal.get("/livez?details") == OK | {"broker": "away", "cache": "away"}
        portal.start("redis")
        with portal.frozen("redis"):
            portal.post_reading(device, x=1, y=2, z=3)
            assert status(portal, "/healthz") == 204
    finally:
        portal.start("redis")
    eventually(lambda: portal.get("/livez?details") == OK)


def set_in_new_sessions(portal: Portal, change: str) -> None:
    """Change the database's default for `default_transaction_read_only`, and end all other sessions."""
    with connected(portal.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = off")
        cursor.execute("SELECT current_database()")
        [name] = cursor.fetchone()
        cursor.execute(f'ALTER DATABASE "{name}" {change}')
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_database_that_refuses_writing_is_not_ready(portal: Portal) -> None:
    set_in_new_sessions(portal, "SET default_transaction_read_only = on")
    try:
        refused = eventually(lambda: not_ready(portal))
        assert "cannot be written to" in refused["detail"]
        assert portal.get("/livez?details")["database"] == "not ready"
    finally:
        set_in_new_sessions(portal, "RESET default_transaction_read_only")
    portal.wait_until_ready()


def not_ready(portal: Portal) -> dict | None:
    response = portal.request("GET", "/healthz")
    return response.json() if response.status_code == 503 else None


def test_it_is_alive_while_the_database_hangs_and_every_thread_waits_for_it(portal: Portal) -> None:
    """Two processes have eight threads each."""

    def ask(_: int) -> None:
        with suppress(requests.RequestException):
            portal.request("GET", "/devices/", token=portal.admin_token)

    with ThreadPoolExecutor(40) as senders, portal.frozen("postgres"):
        waiting = [senders.submit(ask, number) for number in range(40)]
        for _ in range(20):
            assert status(portal, "/livez") == 204
        assert not all(sender.done() for sender in waiting)


def test_it_is_alive_while_the_database_is_away(portal: Portal) -> None:
    portal.kill("postgres")
    try:
        assert status(portal, "/livez") == 204
        assert status(portal, "/healthz") == 503
        assert portal.get("/livez?details") == OK | {"database": "away"}
    finally:
        portal.start("postgres")
    portal.wait_until_ready()
