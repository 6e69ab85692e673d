"""Clients that behave badly: that read slowly or not at all, and that send bytes as they please."""

import http.client
import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from tests.support.portal import Portal

SMALL = 4096


def unread(address: tuple[str, int], request: bytes) -> socket.socket:
    """Send a request and read nothing. The kernel takes little of the answer for this client."""
    client = socket.socket()
    # Loopback would take megabytes at once.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    client.settimeout(30)
    client.connect(address)
    client.sendall(request)
    return client


@contextmanager
def slow_readers(portal: Portal, path: str, count: int, token: str = "") -> Iterator[list[socket.socket]]:
    """So many connections that ask for `path` and read nothing of the answer."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    request += f"Authorization: Token {token}\r\n\r\n" if token else "\r\n"
    with ExitStack() as stack:
        yield [
            stack.enter_context(unread(("127.0.0.1", portal.port), request.encode())) for _ in range(count)
        ]


@contextmanager
def begun_requests(
    portal: Portal, head: Iterable[str], body: bytes, count: int
) -> Iterator[list[socket.socket]]:
    """So many connections that send this head, and this part of a body; some may be refused within it."""
    request = "\r\n".join([*head, "", ""]).encode()
    with ExitStack() as stack:
        clients = []
        for _ in range(count):
            address = ("127.0.0.1", portal.port)
            client = stack.enter_context(socket.create_connection(address, timeout=30))
            clients.append(client)
            with suppress(OSError):
                client.sendall(request)
                client.sendall(body)
        yield clients


def note_statuses(clients: list[socket.socket], noted: dict[socket.socket, int]) -> None:
    """Add the statuses of those clients that have been answered; 0 for a connection that was closed."""
    waiting = [client for client in clients if client not in noted]
    answered, _, _ = select.select(waiting, [], [], 0)
    noted.update((client, status(client)) for client in answered)


def status(client: socket.socket) -> int:
    try:
        response = http.client.HTTPResponse(client)
        response.begin()
        return response.status
    except (OSError, http.client.HTTPException):
        return 0
