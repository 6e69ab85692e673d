"""What is no request of HTTP gets an answer like all others, and strangers write nothing into the log."""

import json
import re
import socket
from pathlib import Path

import pytest
from django.http import Http404, HttpResponse
from django.test import RequestFactory

from config.asgi.protocol import MAX_HEAD_BYTES
from config.middleware.login import PageLoginRequired
from tests.support import factories
from tests.support.portal import Portal, eventually

HEADERS = {
    "content-type": "application/problem+json",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "private, no-store",
    "connection": "close",
}
# More than a head may have; the server has read all of it before it answers.
LONG = "a" * (MAX_HEAD_BYTES + 1)
FORGED = "2026-01-01 00:00:00,000 CRITICAL root: forged"


def assert_refused(answer: tuple[int, dict[str, str], bytes], status: int) -> None:
    got, headers, body = answer
    problem = json.loads(body)
    assert (got, problem["status"]) == (status, status)
    assert headers | HEADERS == headers
    assert "default-src" in headers["content-security-policy"]
    assert problem["request_id"] == headers["x-request-id"]
    assert problem["detail"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("FOO / HTTP/1.1\nHost: 127.0.0.1\n\n", 400),
        ("rubbish\n\n", 400),
        ("GET / HTTP/9.9\nHost: 127.0.0.1\n\n", 400),
        ("GET / HTTP/1.1\nHost: 127.0.0.1\nno colon\n\n", 400),
        ("POST /data HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 1x\n\n", 400),
        ("POST /data HTTP/1.1\nHost: 127.0.0.1\nTransfer-Encoding: chunked\n\nxyz\n", 400),
        (f"GET / HTTP/1.1\nHost: 127.0.0.1\nA: {LONG}", 431),
        # Whole heads, which come at once.
        (f"GET / HTTP/1.1\nHost: 127.0.0.1\nA: {LONG}\n\n", 431),
        (f"GET /{LONG[:65_536]} HTTP/1.1\nHost: 127.0.0.1\n\n", 414),
        ("GET / HTTP/1.1\nHost: 127.0.0.1\n" + 200 * "a:\n" + "\n", 431),
        ("GET /devices/ HTTP/1.1\nConnection: close\n\n", 400),
        ("GET /healthz HTTP/1.1\nConnection: close\n\n", 400),
        ("GET /devices/ HTTP/1.1\nHost: 127.0.0.1\nHost: localhost\nConnection: close\n\n", 400),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else str(value),
)
def test_it_is_a_problem_with_the_headers_of_all_answers(portal: Portal, head: str, status: int) -> None:
    assert_refused(portal.raw(head.encode()), status)


def test_http_1_0_needs_no_host(portal: Portal) -> None:
    assert portal.raw(b"GET /livez HTTP/1.0\n\n")[0] == 204


def test_a_request_before_it_keeps_its_answer(portal: Portal) -> None:
    """The refusal must not pass for the answer to the request before it."""
    for path, status in (("/healthz", 204), ("/devices/", 401)):
        head = f"GET {path} HTTP/1.1\nHost: 127.0.0.1\n\nFOO / HTTP/1.1\n\n"
        got, headers, _ = portal.raw(head.encode())
        assert (got, headers["connection"]) == (status, "close")


def test_on_a_kept_connection_too(portal: Portal) -> None:
    with socket.create_connection(("127.0.0.1", portal.port), timeout=30) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 204")
        connection.sendall(b"FOO\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")


def test_strangers_get_no_upload_going(portal: Portal) -> None:
    """They are answered before the file, which held a thread while it came."""
    for path in ("/portal/import/", "/portal/import"):
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/csv\r\n"
        with socket.create_connection(("127.0.0.1", portal.port), timeout=30) as connection:
            connection.sendall(f"{head}Content-Length: 9000000\r\n\r\n".encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 302")


class Unreadable:
    """The body of a request that nobody may read."""

    def read(self, *_: int) -> bytes:
        raise AssertionError("The body was read.")


@pytest.mark.django_db
def test_nobody_reads_the_upload_of_an_owner(rf: RequestFactory) -> None:
    request = rf.post("/portal/import/")
    request.user, request._stream = factories.owner(), Unreadable()  # type: ignore[attr-defined]
    with pytest.raises(Http404):
        PageLoginRequired(lambda _: HttpResponse())(request)


def broken_upload(portal: Portal) -> bytes:
    """The beginning of an upload by nobody, with a cookie of its own making, whose form will be read."""
    token = "a" * 32
    lines = (
        "POST /portal/import/ HTTP/1.1",
        "Host: 127.0.0.1",
        f"Cookie: csrftoken={token}",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Length: 10000000",
    )
    return "\r\n".join([*lines, "", "--x\r\n"]).encode()


def test_strangers_write_neither_lines_nor_tracebacks_into_the_log(portal: Portal) -> None:
    log = Path(portal.child("web").log)
    before = len(log.read_text())
    line = FORGED.replace(" ", "%20")
    requests = (
        f"GET /portal/%0A{line}%0A/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        f"GET /devices/%0D%0A{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /devices/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "POST /portal/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\na=b",
        "FOO / HTTP/1.1\r\n\r\n",
    )
    for request in requests:
        with socket.create_connection(("127.0.0.1", portal.port), timeout=30) as connection:
            connection.sendall(request.encode())
            assert connection.recv(4096)
    for part in (broken_upload(portal), broken_upload(portal)[:-3], b"POST /data HTTP/1.1\r\nHost: a\r\n"):
        with socket.create_connection(("127.0.0.1", portal.port), timeout=30) as connection:
            connection.sendall(part)
    portal.request("GET", "/portal/nothing/", headers={"X-Request-ID": "the-last-one"})
    written = eventually(lambda: re.search(r"(?s).*the-last-one\]\n", log.read_text()[before:]))[0]
    assert "Not Found" in written
    assert "Traceback" not in written
    assert "websocket" not in written.lower()
    stamp = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?!CRITICAL)[A-Z]+ [\w.]+: ")
    assert [line for line in written.splitlines() if not stamp.match(line)] == []
