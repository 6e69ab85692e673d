"""Bodies are refused before their end is read, counted as they arrive, and decompressed with bounds."""

import asyncio
import gzip
import http.client
import json
import os
import socket
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from config.asgi.bodies import MAX_HELD_BYTES, MAX_UPLOAD_BYTES, UPLOAD_PATH, Bodies, Refusal
from config.asgi.protocol import PatientProtocol
from devices.ingestion.asgi import request_state
from devices.ingestion.decoding import MAX_BYTES
from devices.ingestion.decompression import (
    MAX_FRAMES,
    CorruptBody,
    DecompressedTooLarge,
    UnsupportedCoding,
    decompress,
)
from tests.support.portal import Portal, Sender

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

READING = {"x": 1.0, "y": 2.0, "z": 3.0}
MEBI = 1024 * 1024
PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
each_coding = pytest.mark.parametrize("coding", PACKERS)


@pytest.fixture(scope="module")
def device(portal: Portal) -> Sender:
    return portal.new_device(portal.new_user())


def readings_of(portal: Portal, device: Sender) -> int:
    [(count,)] = portal.query(
        "SELECT count(*) FROM devices_reading JOIN devices_device d ON d.id = device_id WHERE d.uuid = %s",
        device.id,
    )
    return count


# --- Sizes, over raw connections


@contextmanager
def request_begun(
    portal: Portal, path: str, *headers: str, method: str = "POST", kind: str = "application/json"
) -> Iterator[socket.socket]:
    """A connection on which the head of a request was sent, and nothing of its body."""
    with socket.create_connection(("127.0.0.1", portal.port), timeout=20) as connection:
        head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", *headers]
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        yield connection


def answer(connection: socket.socket) -> tuple[int, Any, dict[str, Any]]:
    """Return status, headers and the problem."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    assert response.headers["Content-Type"] == "application/problem+json", response.read()
    return response.status, response.headers, json.loads(response.read())


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def key_of(device: Sender) -> str:
    return f"Authorization: Device {device.key}"


@pytest.mark.parametrize("path", ["/data", "/devices/", "/nowhere"])
def test_a_length_over_the_limit_is_refused_before_the_body_comes(portal: Portal, path: str) -> None:
    with request_begun(portal, path, f"Content-Length: {MAX_BYTES + 1}") as connection:
        status, headers, problem = answer(connection)
    assert status == 413
    assert problem["title"] == "Request Entity Too Large"
    assert problem["status"] == 413
    assert problem["detail"] == "A body may have 5 MiB."
    assert headers["Connection"] == "close"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_client_that_waits_for_100_is_refused_instead(portal: Portal, device: Sender) -> None:
    headers = (f"Content-Length: {MAX_BYTES + 1}", "Expect: 100-continue", key_of(device))
    with request_begun(portal, f"/devices/{device.id}/stats/batch", *headers) as connection:
        assert answer(connection)[0] == 413


def test_a_client_that_sends_all_of_it_first_still_reads_the_answer(portal: Portal, device: Sender) -> None:
    """The connection is not reset, as it would be if it were closed at once."""
    body = b" " * (32 * MEBI)
    for _ in range(5):
        with request_begun(portal, "/data", f"Content-Length: {len(body)}", key_of(device)) as connection:
            connection.sendall(body)
            assert answer(connection)[0] == 413
            assert connection.recv(1) == b""


def test_the_limit_itself_is_taken(portal: Portal, device: Sender) -> None:
    body = json.dumps(READING).encode()
    body += b" " * (MAX_BYTES - len(body))
    for headers in ({}, {"Transfer-Encoding": "chunked"}):
        sent = iter([body]) if headers else body
        response = portal.request(
            "POST",
            f"/devices/{device.id}/stats/",
            device_key=device.key,
            data=sent,
            headers={"Content-Type": "application/json"},
        )
        assert response.status_code == 201, response.text


def test_chunks_are_counted_while_they_come(portal: Portal, device: Sender) -> None:
    piece, rest, sent = chunk(b" " * 65_536), b"", 0
    with request_begun(portal, "/data", "Transfer-Encoding: chunked", key_of(device)) as connection:
        # Without end: only the answer stops it.
        connection.setblocking(False)
        deadline = time.monotonic() + 20
        while not arrived(connection):
            assert time.monotonic() < deadline
            with suppress(BlockingIOError):
                rest = rest or piece
                count = connection.send(rest)
                rest, sent = rest[count:], sent + count
        connection.setblocking(True)
        assert answer(connection)[0] == 413
    # What lies in the sockets' buffers at both ends was sent, but not read.
    assert MAX_BYTES < sent < MAX_BYTES + 16 * MEBI


def arrived(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def test_a_chunked_reading_is_stored_once(portal: Portal) -> None:
    device = portal.new_device(portal.new_user())
    text = json.dumps(READING).encode()
    path = f"/devices/{device.id}/stats/"
    with request_begun(portal, path, "Transfer-Encoding: chunked", key_of(device)) as connection:
        for byte in text:
            connection.sendall(chunk(bytes([byte])))
        connection.sendall(chunk(b""))
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, json.loads(response.read())) == (201, {"status": "ok"})
    assert readings_of(portal, device) == 1


def test_chunks_reach_every_other_route_as_well(portal: Portal) -> None:
    fields = {"name": "Chunked", "email": "chunked@example.com"}
    response = portal.request(
        "POST",
        "/users/",
        token=portal.admin_token,
        data=iter([json.dumps(fields).encode()]),
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 201, response.text


def test_slow_clients_hold_no_thread(portal: Portal, device: Sender) -> None:
    """Twice as many clients as threads have sent half of a body, to the gate and to the view."""
    with ExitStack() as stack:
        for path in ("/devices/", f"/devices/{device.id}/stats/") * 16:
            head = request_begun(portal, path, "Content-Length: 100", key_of(device))
            stack.enter_context(head).sendall(b"{" + b" " * 49)
        began = time.monotonic()
        for _ in range(10):
            assert portal.request("GET", "/devices/", token=portal.admin_token).status_code == 200
        assert time.monotonic() - began < 5


def test_a_client_that_leaves_within_its_body_stores_nothing(portal: Portal) -> None:
    device = portal.new_device(portal.new_user())
    text = json.dumps(READING)
    for framing in (f"Content-Length: {len(text) + 1}", "Transfer-Encoding: chunked"):
        with request_begun(portal, f"/devices/{device.id}/stats/", framing, key_of(device)) as connection:
            connection.sendall(chunk(text.encode()) if "chunked" in framing else text.encode())
    portal.post_reading(device, **READING)
    assert readings_of(portal, device) == 1


def test_an_import_may_be_larger(portal: Portal) -> None:
    for path in (UPLOAD_PATH, f"{UPLOAD_PATH}/"):
        response = portal.request("POST", path, data=b" " * (20 * MEBI), headers={"Content-Type": "text/csv"})
        assert response.status_code != 413


def test_people_get_a_page(portal: Portal) -> None:
    length = f"Content-Length: {MAX_UPLOAD_BYTES + 1}"
    with request_begun(portal, UPLOAD_PATH, length, kind="multipart/form-data") as connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 413
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert b"A body may have 200 MiB." in response.read()


# --- The same layer without a server


class Client:
    """A client in ASGI: sends these pieces of a body and records the answers; for None it leaves."""

    def __init__(self, *pieces: bytes | None) -> None:
        self.pieces = list(pieces)
        self.answers: list[dict] = []

    async def receive(self) -> dict:
        await asyncio.sleep(0)
        piece = self.pieces.pop(0) if self.pieces else None
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}

    async def send(self, message: dict) -> None:
        self.answers.append(message)

    @property
    def status(self) -> int:
        return self.answers[0]["status"]


class Taker:
    """An application that reads all it gets, once `may_end`, and answers 204."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.scopes: list[dict] = []
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await self.may_end.wait()
        more, body = True, b""
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 204, "headers": []})


def scope(length: int | None, path: str = "/data") -> dict:
    framing = (b"transfer-encoding", b"chunked") if length is None else (b"content-length", b"%d" % length)
    return {"type": "http", "path": path, "headers": [(b"host", b"here"), framing], "state": {}}


class Served(Bodies):
    """The layer, and what `config.asgi.application` does around it."""

    def __init__(self, taker: Taker) -> None:
        super().__init__(taker, [(b"x-standing", b"1")], lambda _, detail: detail.encode())

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Refusal as refusal:
            await self.refuse(refusal, scope, receive, send)
        finally:
            self.release(request_state(scope))


def test_what_was_chunked_gets_a_length() -> None:
    taker, client = Taker(), Client(b"ab", b"", b"cde")
    asyncio.run(Served(taker)(scope(None), client.receive, client.send))
    assert taker.bodies == [b"abcde"]
    assert taker.scopes[0]["headers"] == [(b"host", b"here"), (b"content-length", b"5")]


def test_uploads_come_through_in_pieces_two_at_a_time() -> None:
    async def scenario() -> None:
        taker = Taker()
        taker.may_end.clear()
        bodies = Served(taker)
        pieces = [b"x" * MEBI] * 6
        clients = [Client(*pieces) for _ in range(3)]
        uploads = [
            asyncio.create_task(bodies(scope(6 * MEBI, "/portal/import/"), client.receive, client.send))
            for client in clients
        ]
        await uploads[2]
        # Nothing was read for those that go on.
        assert len(clients[0].pieces) == 6
        taker.may_end.set()
        await asyncio.gather(*uploads)
        assert [client.status for client in clients] == [204, 204, 503]
        assert (b"retry-after", b"1") in clients[2].answers[0]["headers"]
        assert bodies.uploads == 0

    asyncio.run(scenario())


def test_an_upload_that_breaks_off_is_an_error_and_not_a_shorter_file() -> None:
    taker, client = Taker(), Client(b"x" * MEBI, None)
    bodies = Served(taker)
    with pytest.raises(ConnectionResetError):
        asyncio.run(bodies(scope(6 * MEBI, "/portal/import/"), client.receive, client.send))
    assert taker.bodies == []
    assert bodies.uploads == 0


def test_bodies_under_way_are_bounded_together() -> None:
    async def scenario() -> None:
        taker = Taker()
        taker.may_end.clear()
        bodies = Served(taker)
        whole = [b"x" * MAX_BYTES]
        clients = [Client(*whole) for _ in range(MAX_HELD_BYTES // MAX_BYTES + 1)]
        tasks = [
            asyncio.create_task(bodies(scope(MAX_BYTES), client.receive, client.send)) for client in clients
        ]
        await tasks[-1]
        taker.may_end.set()
        await asyncio.gather(*tasks)
        assert [client.status for client in clients] == [204] * (len(clients) - 1) + [503]
        assert bodies.held_bytes == 0

    asyncio.run(scenario())


class Dripping(Client):
    """Brings all its pieces but the last, and that one when it `may_end`."""

    def __init__(self, *pieces: bytes | None) -> None:
        super().__init__(*pieces)
        self.may_end = asyncio.Event()

    async def receive(self) -> dict:
        if len(self.pieces) == 1:
            await self.may_end.wait()
        return await super().receive()


def test_the_one_that_holds_most_for_longest_makes_room() -> None:
    """So those who drip take no room from those who send."""

    async def scenario() -> None:
        taker = Taker()
        bodies = Served(taker)
        drips = [Dripping(b"x" * MEBI, b"x" * (MAX_BYTES - MEBI - 1), b"x") for _ in range(40)]
        small = Dripping(b"ab", b"c")
        tasks = [
            asyncio.create_task(bodies(scope(size), each.receive, each.send))
            for each, size in [(small, 3), *((drip, MAX_BYTES) for drip in drips)]
        ]
        while sum(len(drip.pieces) > 1 for drip in drips):
            await asyncio.sleep(0.01)
        assert 0 < bodies.held_bytes <= MAX_HELD_BYTES
        quick = Client(b"x" * MAX_BYTES)
        await bodies(scope(MAX_BYTES), quick.receive, quick.send)
        for each in (small, *drips):
            each.may_end.set()
        await asyncio.gather(*tasks)
        assert (quick.status, small.status) == (204, 204)
        answers = [drip.status for drip in drips]
        # The bound holds so many of the dripping ones, and the quick one had one's place.
        assert answers.count(204) in range(1, MAX_HELD_BYTES // MAX_BYTES)
        assert answers.count(503) == len(drips) - answers.count(204)
        assert {len(body) for body in taker.bodies} == {3, MAX_BYTES}
        assert (bodies.held_bytes, bodies.arrivals) == (0, set())

    asyncio.run(scenario())


def test_a_body_has_its_time(settings: Any) -> None:
    settings.BODY_SECONDS = 0.1
    taker, client = Taker(), Dripping(b"a", b"b", b"c")
    bodies = Served(taker)

    async def scenario() -> None:
        task = asyncio.create_task(bodies(scope(3), client.receive, client.send))
        while not client.answers:
            await asyncio.sleep(0.01)
        assert client.status == 408
        client.may_end.set()
        await task

    asyncio.run(scenario())
    assert (taker.bodies, bodies.held_bytes, client.pieces) == ([], 0, [])


def test_an_upload_has_its_time(settings: Any) -> None:
    settings.BODY_SECONDS = 0.01
    taker, client = Taker(), Dripping(b"x" * MEBI, b"x")
    bodies = Served(taker)
    with pytest.raises(TimeoutError):
        asyncio.run(bodies(scope(6 * MEBI, "/portal/import/"), client.receive, client.send))
    assert bodies.uploads == 0


def test_nothing_is_kept_of_those_who_leave_or_are_refused() -> None:
    taker = Taker()
    bodies = Served(taker)
    left, too_much = Client(b"abc", None), Client(*[b"x" * MEBI] * 9)
    asyncio.run(bodies(scope(10), left.receive, left.send))
    asyncio.run(bodies(scope(None), too_much.receive, too_much.send))
    assert left.answers == []
    assert too_much.status == 413
    # The whole answer came before the rest was read.
    assert [message.get("more_body") for message in too_much.answers] == [None, True, None]
    assert too_much.pieces == []
    assert bodies.held_bytes == 0
    assert taker.scopes == []


# --- Silence


class Impatient(PatientProtocol):
    patience_seconds = 0.3


async def slow_answer(scope: dict, receive: Any, send: Any) -> None:
    """Takes twice the client's patience, then answers."""
    while (await receive())["more_body"]:
        pass
    await asyncio.sleep(2 * Impatient.patience_seconds)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def heard_from(*sent: bytes) -> bytes:
    """Send these bytes to a server with little patience; return all that it sends before it closes."""

    async def scenario() -> bytes:
        config, state = Config(slow_answer, log_level="critical", timeout_keep_alive=1), ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: Impatient(config, state, {}), "127.0.0.1"
        )
        async with server, asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for data in sent:
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(0.1)
            with suppress(ConnectionResetError):
                return await reader.read()
            return b""

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [b"POST /data HT"],
        [b"POST /data HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\n"],
        [b"POST /data HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\n", b"abcd"],
        [b"POST /data HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nabcde\r\n"],
    ],
    ids=["nothing", "half a head", "a head", "half a body", "chunks without end"],
)
def test_a_client_that_falls_silent_is_dropped(sent: list[bytes]) -> None:
    assert heard_from(*sent) == b""


def test_a_slow_client_is_waited_for_and_a_slow_answer_given() -> None:
    """Together the bytes take longer than the patience with each silence."""
    head = b"POST /data HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\n"
    assert heard_from(head, b"a", b"b", b"c", b"d", b"e").startswith(b"HTTP/1.1 200 OK")


# --- Compression


@each_coding
def test_compressed_readings_are_taken_at_every_door(portal: Portal, coding: str) -> None:
    owner = portal.new_user()
    device = portal.new_device(owner)
    stamped = READING | {"timestamp": "2026-11-21T09:31:00Z"}
    sensor = {"sensor": f"packed-{coding}", "timestamp": "2026-11-21T09:31:00Z", "value": 1.5}
    doors = {
        f"/devices/{device.id}/stats/": READING,
        f"/devices/{device.id}/stats/batch": [stamped] * 10_000,
        "/data": [sensor],
    }
    for path, body in doors.items():
        response = packed_post(portal, path, json.dumps(body).encode(), coding, token=owner.token)
        assert response.status_code == 201, response.text
    assert readings_of(portal, device) == 10_001


def packed_post(
    portal: Portal, path: str, body: bytes, coding: str, *, packer: Callable | None = None, **options: Any
) -> Any:
    data = (packer or PACKERS[coding])(body)
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    return portal.request("POST", path, data=data, headers=headers, **options)


@each_coding
def test_an_idempotency_key_stands_for_what_was_packed(portal: Portal, coding: str) -> None:
    device = portal.new_device(portal.new_user())
    path, body = f"/devices/{device.id}/stats/", json.dumps(READING).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": "once"}
    assert portal.request("POST", path, device_key=device.key, data=body, headers=headers).status_code == 201
    again = portal.request(
        "POST",
        path,
        device_key=device.key,
        data=PACKERS[coding](body),
        headers=headers | {"Content-Encoding": coding},
    )
    assert again.status_code == 201
    assert readings_of(portal, device) == 1


def identity(body: bytes) -> bytes:
    return body


@pytest.mark.parametrize(
    ("coding", "packer", "body", "status"),
    [
        ("gzip", gzip.compress, b" " * (MAX_BYTES + 1), 413),
        ("zstd", zstd.compress, b" " * (MAX_BYTES + 1), 413),
        ("gzip", identity, b'{"x": 1.0, "y": 2.0, "z": 3.0}', 400),
        ("zstd", identity, b'{"x": 1.0, "y": 2.0, "z": 3.0}', 400),
        ("gzip", lambda body: gzip.compress(body)[:-1], b'{"x": 1.0, "y": 2.0, "z": 3.0}', 400),
        ("zstd", lambda body: zstd.compress(body)[:-1], b'{"x": 1.0, "y": 2.0, "z": 3.0}', 400),
        ("gzip", gzip.compress, b'{"x": 1.0, "y": 2.0, "z": "3"}', 400),
        ("gzip", identity, b"", 400),
        ("br", identity, b"{}", 415),
        ("gzip, gzip", identity, b"{}", 415),
    ],
)
def test_what_cannot_be_unpacked_is_refused(
    portal: Portal, device: Sender, *, coding: str, packer: Callable, body: bytes, status: int
) -> None:
    path = f"/devices/{device.id}/stats/"
    response = packed_post(portal, path, body, coding, packer=packer, device_key=device.key)
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers.get("Accept-Encoding") == ("gzip, zstd" if status == 415 else None)


def test_another_media_type_says_nothing_of_encodings(portal: Portal, device: Sender) -> None:
    response = portal.request(
        "POST",
        f"/devices/{device.id}/stats/",
        device_key=device.key,
        data=b"x=1",
        headers={"Content-Type": "text/csv"},
    )
    assert response.status_code == 415
    assert "Accept-Encoding" not in response.headers


@each_coding
def test_all_that_was_packed_comes_out(coding: str) -> None:
    for body in (b"", b"a", os.urandom(100_000), b" " * MAX_BYTES, os.urandom(MAX_BYTES)):
        assert decompress(PACKERS[coding](body), coding) == body
        assert decompress(PACKERS[coding](body), f" {coding.upper()} ") == body


@each_coding
def test_frames_one_behind_the_other_are_one_body(coding: str) -> None:
    pack = PACKERS[coding]
    assert decompress(pack(b"one ") + pack(b"") + pack(b"two"), coding) == b"one two"
    half = pack(b" " * (MAX_BYTES // 2 + 1))
    with pytest.raises(DecompressedTooLarge):
        decompress(half + half, coding)
    with pytest.raises(CorruptBody, match="frames"):
        decompress(pack(b"") * (MAX_FRAMES + 1), coding)


@pytest.mark.parametrize("coding", ["", "identity", "IDENTITY"])
def test_no_coding_is_no_change(coding: str) -> None:
    assert decompress(b"{}", coding) == b"{}"


@pytest.mark.parametrize("coding", ["deflate", "br", "compress", "gzip,zstd", "gzip;q=1", "\0"])
def test_other_codings_are_unknown(coding: str) -> None:
    with pytest.raises(UnsupportedCoding, match="gzip, zstd"):
        decompress(b"{}", coding)


@each_coding
def test_a_bomb_costs_no_more_than_its_limit(coding: str) -> None:
    """Compress a gibibyte twice over."""
    bomb = bomb_of(coding)
    assert len(bomb) < 2 * MEBI
    began = time.process_time()
    with pytest.raises(DecompressedTooLarge):
        decompress(bomb, coding)
    assert time.process_time() - began < 0.5


def bomb_of(coding: str) -> bytes:
    packer = zlib.compressobj(wbits=31) if coding == "gzip" else zstd.ZstdCompressor()
    piece = bytes(16 * MEBI)
    return b"".join([packer.compress(piece) for _ in range(64)] + [packer.flush()])


def test_a_frame_that_wants_a_huge_window_is_refused() -> None:
    wide = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    with pytest.raises(CorruptBody):
        decompress(wide.compress(b" " * MAX_BYTES) + wide.flush(), "zstd")


@each_coding
@pytest.mark.parametrize("damage", range(0, 200, 7))
def test_damage_is_corrupt_and_never_a_fault_of_ours(coding: str, damage: int) -> None:
    body = json.dumps([READING | {"timestamp": f"2026-11-21T09:31:{second:02}Z"} for second in range(60)])
    packed = bytearray(PACKERS[coding](body.encode()))
    packed[damage % len(packed)] ^= 0x55
    with suppress(CorruptBody, DecompressedTooLarge):
        # A flag, a time stamp or a name in the header may change and harm nothing.
        assert isinstance(decompress(bytes(packed), coding), bytes)
