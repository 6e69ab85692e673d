"""Requests with a head that the gate has accepted before are not parsed, and get the same answers."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.support.portal import Portal, Sender, eventually
from tests.support.senders import Answer, batch_path, stats_path

GOOD = b'{"x": 1.5, "y": -2, "z": 3}'
OF_THE_MOMENT = ("date", "ratelimit-remaining", "ratelimit-reset", "x-request-id")


class Wire:
    """A connection, byte by byte."""

    def __init__(self, portal: Portal) -> None:
        self.socket = socket.create_connection(("127.0.0.1", portal.port), timeout=30)
        self.received = b""

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)
            # Each in a segment of its own.
            time.sleep(0.05 if len(pieces) > 1 else 0)

    def answer(self) -> Answer:
        while b"\r\n\r\n" not in self.received:
            self.more()
        top, _, self.received = self.received.partition(b"\r\n\r\n")
        status, *lines = top.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        assert len(headers) == len(lines)
        length = int(headers["content-length"])
        while len(self.received) < length:
            self.more()
        body, self.received = self.received[:length], self.received[length:]
        return Answer(int(status.split()[1]), headers, body)

    def more(self) -> None:
        part = self.socket.recv(65536)
        assert part, f"closed after {self.received!r}"
        self.received += part

    def is_closed(self) -> bool:
        return self.socket.recv(1) == b""


@contextmanager
def wire(portal: Portal) -> Iterator[Wire]:
    opened = Wire(portal)
    try:
        yield opened
    finally:
        opened.socket.close()


def request(device: Sender, body: bytes = GOOD, path: str = "", *more: bytes) -> bytes:
    lines = [
        f"POST {path or stats_path(device)} HTTP/1.1".encode(),
        b"Host: 127.0.0.1",
        f"Authorization: Device {device.key}".encode(),
        b"Content-Type: application/json",
        *more,
        b"Content-Length: %d" % len(body),
    ]
    return b"\r\n".join((*lines, b"", body))


def lasting(answer: Answer) -> Answer:
    return answer._replace(headers={k: v for k, v in answer.headers.items() if k not in OF_THE_MOMENT})


def count(portal: Portal, device: Sender) -> int:
    [(found,)] = portal.query(
        "SELECT count(*) FROM devices_reading JOIN devices_device d ON d.id = device_id WHERE uuid = %s",
        device.id,
    )
    return found


def batch(size: int) -> bytes:
    items = [{"timestamp": "2026-11-01T00:00:00Z", "x": i, "y": 0, "z": 0.5} for i in range(size)]
    return json.dumps(items).encode()


def answers_in_a_row(portal: Portal, device: Sender, wanted: bytes, stored: int) -> list[Answer] | None:
    """The answers to four equal requests on one connection, each of which stores so many readings.

    None: Redis did not answer in time, and the limiter let one of them pass uncounted.
    """
    before = count(portal, device)
    with wire(portal) as connection:
        answers = []
        for _ in range(4):
            connection.send(wanted)
            answers.append(lasting(connection.answer()))
    assert {answer.status for answer in answers} == {201}
    assert count(portal, device) == before + 4 * stored
    return answers if all("ratelimit-limit" in answer.headers for answer in answers) else None


@pytest.mark.parametrize("more", [(), (b"Connection: keep-alive", b"User-Agent: sensor/1")])
def test_the_first_and_all_later_ones_are_answered_alike(portal, device, more) -> None:
    for path, body, stored in (
        (stats_path(device), GOOD, 1),
        (batch_path(device), batch(20), 20),
        (batch_path(device) + "?partial=true", batch(3)[:-1] + b", 7]", 3),
    ):
        wanted = request(device, body, path, *more)
        answers = eventually(partial(answers_in_a_row, portal, device, wanted, stored))
        assert answers == [answers[0]] * 4


def test_a_bad_body_behind_a_known_head_is_refused_by_field(portal, device) -> None:
    with wire(portal) as connection:
        for body, status in (
            (GOOD, 201),
            (GOOD.replace(b"1.5", b"NaN"), 400),
            (GOOD, 201),
            (GOOD.replace(b"-2", b" 2").replace(b'"z"', b'"w"'), 400),
            (b" " * len(GOOD), 400),
            (GOOD, 201),
        ):
            connection.send(request(device, body))
            answer = connection.answer()
            assert answer.status == status, answer
            if status == 400:
                assert answer.json()["errors"]
    assert count(portal, device) == 3


def test_pieces_of_any_size_make_the_same_request(portal, device) -> None:
    whole = request(device)
    head = len(whole) - len(GOOD)
    with wire(portal) as connection:
        connection.send(whole)
        assert connection.answer().status == 201
        for cut in (1, head - 1, head, head + 1, len(whole) - 1):
            connection.send(whole[:cut], whole[cut:])
            assert connection.answer().status == 201
        connection.send(whole[:head], whole[head : head + 5], whole[head + 5 :])
        assert connection.answer().status == 201
    assert count(portal, device) == 7


def test_a_client_that_does_not_wait_gets_its_answers_in_order(portal, device) -> None:
    good, bad = request(device), request(device, GOOD.replace(b"1.5", b"nan"))
    longer = request(device, GOOD + b"  ")
    with wire(portal) as connection:
        connection.send(good)
        assert connection.answer().status == 201
        connection.send(good + good + bad + longer + good)
        assert [connection.answer().status for _ in range(5)] == [201, 201, 400, 201, 201]
        connection.send(good, good + bad, good)
        assert [connection.answer().status for _ in range(4)] == [201, 201, 400, 201]
        connection.send(good + b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert connection.answer().status == 201
        assert re.match(rb"HTTP/1.1 204", connection.socket.recv(4096))
    assert count(portal, device) == 1 + 4 + 3 + 1


def test_an_idempotency_key_is_looked_at_each_time(portal, device) -> None:
    with wire(portal) as connection:
        for _ in range(3):
            connection.send(request(device, GOOD, "", b"Idempotency-Key: once"))
            assert connection.answer().status == 201
        connection.send(request(device, GOOD.replace(b"1.5", b"2.5"), "", b"Idempotency-Key: once"))
        assert connection.answer().status == 409
    assert count(portal, device) == 1


def test_a_client_that_asks_to_close_is_closed_each_time(portal, device) -> None:
    for _ in range(3):
        with wire(portal) as connection:
            connection.send(request(device, GOOD, "", b"Connection: close"))
            assert connection.answer().status == 201
            assert connection.is_closed()
    assert count(portal, device) == 3


def test_an_offer_of_another_protocol_is_ignored(portal, device) -> None:
    """Java's client sends this by default."""
    offer = (
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk",
    )
    for headers in (offer, (b"Connection: upgrade", b"upgrade: websocket")):
        with wire(portal) as connection:
            for _ in range(3):
                connection.send(request(device, GOOD, "", *headers))
                assert connection.answer().status == 201
    assert count(portal, device) == 6


def test_lines_that_end_otherwise_are_no_request(portal, device) -> None:
    """`partition` and the parser must agree on the end of a head."""
    inner = b'{"x": 1,\r\n\r\n "y": 2, "z": 3}'
    whole = request(device, inner)
    for bare in (whole.replace(b"\r\n", b"\n", 6), whole.replace(b"\r\n", b"\n", 1)):
        with wire(portal) as connection:
            connection.send(bare)
            assert connection.socket.recv(4096).startswith(b"HTTP/1.1 400")
    assert count(portal, device) == 0


def test_a_revoked_key_is_refused_on_a_connection_that_it_is_known_on(portal, device) -> None:
    with wire(portal) as connection:
        for _ in range(2):
            connection.send(request(device))
            assert connection.answer().status == 201
        prefix = device.key.partition(".")[0]
        assert portal.request("DELETE", f"/devices/{device.id}/keys/{prefix}", token=portal.admin_token).ok

        def is_refused() -> bool:
            connection.send(request(device))
            return connection.answer().status == 401

        eventually(is_refused)


def test_a_deleted_device_is_unknown_on_a_connection_that_knew_it(portal, device) -> None:
    token = portal.admin_token
    known = request(device).replace(f"Device {device.key}".encode(), f"Token {token}".encode())
    with wire(portal) as connection:
        for _ in range(2):
            connection.send(known)
            assert connection.answer().status == 201
        assert portal.request("DELETE", f"/devices/{device.id}", token=token).ok

        def is_unknown() -> bool:
            connection.send(known)
            return connection.answer().status == 404

        eventually(is_unknown)
