"""Who reads slowly, or not at all, holds no thread, and is disconnected when nothing is taken for long."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import pytest
import requests
import uvloop
from django.urls import resolve
from uvicorn import Config
from uvicorn.server import ServerState

from config.asgi.protocol import PatientProtocol
from config.asgi.static import PIECE_BYTES
from config.asgi.threads import LOG_IN
from tests.support.database import connected
from tests.support.portal import PATIENCE_SECONDS, Portal, eventually
from tests.support.raw_clients import slow_readers, unread

# More than all threads of two processes.
READERS = 24
# Each with fewer readers than READS_AT_ONCE lets one person have.
PEOPLE = 6
# More than the kernel takes for a client that does not read.
LARGE = 16 * 1024 * 1024
# 1.5 MB.
LARGE_FILE = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def log_in(portal: Portal) -> int:
    """Log in by the page; return the status of the answer."""
    with requests.Session() as session:
        session.trust_env = False
        url = f"{portal.url}/portal/login/"
        session.get(url, timeout=30)
        form = {
            "username": portal.admin_login,
            "password": portal.admin_password,
            "csrfmiddlewaretoken": session.cookies["csrftoken"],
        }
        return session.post(url, data=form, timeout=30, allow_redirects=False).status_code


def assert_all_is_answered(portal: Portal) -> None:
    assert portal.request("GET", "/healthz").status_code == 204
    assert portal.request("GET", "/devices/", token=portal.admin_token).status_code == 200
    assert log_in(portal) == 302


def test_of_static_files(portal: Portal) -> None:
    with slow_readers(portal, LARGE_FILE, READERS) as readers:
        assert_all_is_answered(portal)
        # It was not refused: whoever goes on reading gets all of it.
        assert readers[0].recv(15) == b"HTTP/1.1 200 OK"


@pytest.fixture(scope="module")
def calculation(portal: Portal) -> str:
    """A calculation with nearly 100,000 rows: ten megabytes."""
    body = {"date_start": "1750-01-01", "date_fin": "2023-10-01", "lag": 1, "seed": 1}
    made = portal.made("/calculations/", portal.admin_token, body)["id"]
    status = "SELECT status FROM analytics_calculation WHERE id = %s"
    eventually(lambda: portal.query(status, made) == [("finished",)])
    return made


@pytest.mark.parametrize("query", ["", "?format=csv"])
def test_of_streamed_rows(portal: Portal, calculation: str, query: str) -> None:
    # Of several people: each is refused what would hold more threads than one may hold.
    with ExitStack() as stack:
        for _ in range(PEOPLE):
            token = portal.new_user("admin").token
            path = f"/calculations/{calculation}/{query}"
            stack.enter_context(slow_readers(portal, path, READERS // PEOPLE, token))
        assert_all_is_answered(portal)


def test_probes_and_the_log_in_have_threads_of_their_own(portal: Portal) -> None:
    """All other threads wait for a table that somebody has locked."""

    def ask(token: str) -> int:
        return portal.request("GET", "/devices/", token=token).status_code

    tokens = [portal.new_user().token for _ in range(2 * READERS)]
    with ThreadPoolExecutor(len(tokens)) as senders:
        with connected(portal.database_url) as connection, connection.cursor() as cursor:
            connection.autocommit = False
            cursor.execute("LOCK TABLE devices_device")
            waiting = [senders.submit(ask, token) for token in tokens]
            eventually(lambda: portal.query(WAITING)[0][0] >= 16)
            assert portal.request("GET", "/healthz").status_code == 204
            assert portal.request("GET", "/portal/login/").status_code == 200
            assert log_in(portal) == 302
            for path in LOG_IN:
                # Whatever the answer to a stranger's GET is: it comes.
                assert portal.request("GET", f"{path}/").status_code < 500
            connection.rollback()
        assert {sender.result() for sender in waiting} == {200}


def test_the_pages_of_a_log_in_exist() -> None:
    assert all(resolve(f"{path}/") for path in LOG_IN)


# --- The end of patience, with little of it


class Impatient(PatientProtocol):
    patience_seconds = write_seconds = 0.3


async def whole_answer(scope: dict, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": bytes(LARGE)})


async def answer_in_pieces(scope: dict, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(LARGE // PIECE_BYTES):
        await send({"type": "http.response.body", "body": bytes(PIECE_BYTES), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Crowded(PatientProtocol):
    """Holds less than two answers."""

    most_waiting_bytes = LARGE + LARGE // 2


@contextmanager
def server_of(
    app: Callable, kind: type[PatientProtocol] = Impatient, clients: int = 1
) -> Iterator[tuple[list[socket.socket], ServerState]]:
    """Clients that have sent a request to a server of this application, and the server's connections."""
    called = threading.Semaphore(0)

    async def calling(scope: dict, receive: Any, send: Any) -> None:
        called.release()
        await app(scope, receive, send)

    config, state = Config(calling, log_level="critical"), ServerState()
    loop = uvloop.new_event_loop()
    protocol = partial(kind, config, state, {}, loop)
    server = loop.run_until_complete(loop.create_server(protocol, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        with ExitStack() as stack:
            connected: list[socket.socket] = []
            for _ in range(clients):
                client = unread(server.sockets[0].getsockname(), b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
                connected.append(stack.enter_context(client))
                assert called.acquire(timeout=PATIENCE_SECONDS)
            yield connected, state
    finally:
        loop.call_soon_threadsafe(server.close)
        eventually(lambda: not state.connections)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def received(client: socket.socket) -> int:
    count = 0
    with suppress(ConnectionResetError):
        while part := client.recv(65536):
            count += len(part)
    return count


each_way = pytest.mark.parametrize("app", [whole_answer, answer_in_pieces])


@each_way
def test_a_client_that_takes_nothing_is_dropped(app: Callable) -> None:
    with server_of(app) as ([client], state):
        eventually(lambda: not state.connections)
        # Not until the end of its answer.
        assert received(client) < LARGE


@each_way
def test_a_client_that_takes_a_little_at_a_time_is_not(app: Callable) -> None:
    with server_of(app) as ([client], state):
        for _ in range(20):
            time.sleep(Impatient.write_seconds / 4)
            assert client.recv(2048)
        assert state.connections


def test_what_waits_for_slow_readers_is_bounded() -> None:
    with server_of(whole_answer, Crowded, clients=2) as ([first, second], state):
        eventually(lambda: len(state.connections) == 1)
        assert received(first) < LARGE
        assert received(second) > LARGE
