"""Connections are bounded, in all and of one address: the idle ones make room."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psutil
import pytest
import uvloop
from django.conf import settings
from uvicorn import Config
from uvicorn.server import ServerState

from config.asgi import protocol
from config.asgi.connections import Connections
from config.asgi.protocol import PatientProtocol
from tests.ingestion.test_known_heads import GOOD, request, wire
from tests.support.portal import Portal, Sender, eventually
from tests.support.senders import web_processes

REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
BEGUN = REQUEST.removesuffix(b"\r\n")


async def never_answer(scope: dict, receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


@contextmanager
def server_with(places: Connections | None) -> Iterator[tuple[Any, ServerState]]:
    """A server that answers nobody: a way to connect from an address, and its connections."""

    class Bounded(PatientProtocol):
        pass

    Bounded.places = places
    state, loop = ServerState(), uvloop.new_event_loop()
    made = partial(Bounded, Config(never_answer, log_level="critical"), state, {}, loop)
    server = loop.run_until_complete(loop.create_server(made, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with ExitStack() as stack:

        def connect(address: str, sent: bytes = b"") -> socket.socket:
            client = stack.enter_context(
                socket.create_connection(server.sockets[0].getsockname(), 30, source_address=(address, 0))
            )
            client.sendall(sent)
            return client

        yield connect, state
    loop.call_soon_threadsafe(server.close)
    # The end of a client is not seen while its requests wait for answers.
    for each in list(state.connections):
        loop.call_soon_threadsafe(each.transport.abort)
    eventually(lambda: not state.connections)
    for task in asyncio.all_tasks(loop):
        loop.call_soon_threadsafe(task.cancel)
    eventually(lambda: not asyncio.all_tasks(loop))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_the_longest_idle_of_an_address_makes_room_and_others_stay() -> None:
    places = Connections(6)
    with server_with(places) as (connect, state):
        busy = connect("127.0.0.1", REQUEST)
        eventually(lambda: state.tasks)
        idle = [connect("127.0.0.1")]
        eventually(lambda: len(state.connections) == 2)
        heard_at = max(each.heard_at for each in state.connections)
        # The next one is heard later, by the clock of the loop.
        eventually(lambda: next(iter(state.connections)).loop.time() > heard_at)
        idle.append(connect("127.0.0.1"))
        other = connect("127.0.0.2")
        eventually(lambda: len(state.connections) == 4)
        connect("127.0.0.1")
        assert is_closed(idle[0])
        eventually(lambda: len(state.connections) == 4)
        for stays in (busy, idle[1], other):
            stays.setblocking(False)
            with suppress(BlockingIOError):
                assert stays.recv(1), "closed"
    assert not places.networks
    assert not places.crowds


def test_nobody_is_let_in_where_nobody_is_idle() -> None:
    with server_with(Connections(4)) as (connect, state):
        for count in (1, 2):
            connect("127.0.0.1", REQUEST)
            eventually(lambda count=count: len(state.tasks) == count)
        assert is_closed(connect("127.0.0.1"))
        connect("127.0.0.2", REQUEST)
        eventually(lambda: len(state.tasks) == 3)


@dataclass(eq=False)
class Client:
    """A connection as `Connections` sees it."""

    heard_at: float
    is_our_turn: bool = False
    ended: list[float] = field(default_factory=list)

    @property
    def transport(self) -> Any:
        return self

    def abort(self) -> None:
        self.ended.append(self.heard_at)


class TestConnections:
    def test_when_all_are_taken_the_greatest_crowd_makes_room(self) -> None:
        places = Connections(64)
        crowd = [Client(float(number)) for number in range(32)]
        others = [Client(0.0) for _ in range(32)]
        assert all(places.add(each, "10.0.0.1") for each in crowd)
        assert all(places.add(each, f"10.0.1.{number}") for number, each in enumerate(others))
        assert places.add(Client(99.0), "10.0.2.1")
        assert [each for each in crowd if each.ended] == crowd[:2]
        assert not any(each.ended for each in others)

    def test_a_network_of_ipv6_is_one_address_and_a_proxys_may_have_all(self) -> None:
        places = Connections(4)
        first = Client(0.0)
        places.add(first, "2001:db8::1")
        for number in range(2, 4):
            places.add(Client(float(number)), f"2001:db8::{number}")
        assert first.ended
        places = Connections(4, is_behind_proxy=True)
        clients = [Client(float(number)) for number in range(4)]
        assert all(places.add(each, "10.0.0.1") for each in clients)
        assert not any(each.ended for each in clients)

    def test_a_search_that_found_nobody_is_not_repeated_at_once(self) -> None:
        places = Connections(2)
        busy = Client(0.0, is_our_turn=True)
        assert places.add(busy, "10.0.0.1")
        assert not places.add(Client(10.0), "10.0.0.1")
        busy.is_our_turn = False
        assert not places.add(Client(10.5), "10.0.0.1")
        assert places.add(Client(11.5), "10.0.0.1")


def test_the_web_server_may_open_as_many_files_as_the_system_grants() -> None:
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (500, 2000));"
        "from config.asgi.connections import allow_files, within_files;"
        "few = within_files(9000); allow_files();"
        "print(r.getrlimit(r.RLIMIT_NOFILE), few, within_files(9000), within_files(100))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "(2000, 2000) 244 1744 100"


def test_a_body_behind_a_known_head_is_waited_for_when_the_server_stops(
    portal: Portal, device: Sender
) -> None:
    """It was cut off without an answer: the reading was lost."""
    whole = request(device)
    head = len(whole) - len(GOOD)
    with wire(portal) as connection:
        connection.send(whole)
        assert connection.answer().status == 201
        connection.send(whole[: head + 3])
        port = connection.socket.getsockname()[1]
        [process] = [each for each in web_processes(portal) if serves(each, port)]
        # The server starts another in its place.
        process.terminate()
        eventually(lambda: not listens(process))
        connection.send(whole[head + 3 :])
        assert connection.answer().status == 201
    eventually(lambda: not process.is_running())
    portal.wait_until_ready()


def serves(process: psutil.Process, port: int) -> bool:
    return any(each.raddr and each.raddr.port == port for each in process.net_connections("tcp"))


def listens(process: psutil.Process) -> bool:
    return any(each.status == psutil.CONN_LISTEN for each in process.net_connections("tcp"))


def test_incomplete_heads_of_all_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_INCOMPLETE_HEAD_BYTES", 3 * len(BEGUN))
    with server_with(None) as (connect, state):
        held = [connect("127.0.0.1", BEGUN) for _ in range(3)]
        eventually(lambda: sum(each.head_bytes for each in state.connections) == 3 * len(BEGUN))
        beyond = connect("127.0.0.1", BEGUN)
        assert beyond.recv(4096).startswith(b"HTTP/1.1 4")
        # What goes makes room, and a complete head is none of these.
        held.pop().close()
        eventually(lambda: PatientProtocol.incomplete_head_bytes <= 2 * len(BEGUN))
        held[0].sendall(b"\r\n")
        eventually(lambda: PatientProtocol.incomplete_head_bytes == len(BEGUN))
    assert PatientProtocol.incomplete_head_bytes == 0


def test_few_requests_come_ahead_of_their_answers() -> None:
    with server_with(None) as (connect, state):
        connect("127.0.0.1", REQUEST * 50)
        eventually(lambda: state.connections and len(next(iter(state.connections)).pipeline) == 49)
        connect("127.0.0.1", REQUEST * 1000)
        eventually(lambda: len(state.connections) == 2)
        eventually(lambda: sorted(len(each.pipeline) for each in state.connections) == [49, 50])
