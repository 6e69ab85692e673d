"""Answers of 1 KB and more are compressed where the client accepts it, and streamed ones progress."""

import gzip
import http.client
import json
import sys
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse

from config.middleware.compression import LEAST_BYTES, Compress, accepted_coding, compressed_parts
from tests.support import factories
from tests.support.portal import Person, Portal, Sender, eventually
from tests.users.admin_pages import CREDENTIAL
from users.models import SHOWN_ONCE

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

UNPACK: dict[str, Callable[[bytes], bytes]] = {"": bytes, "gzip": gzip.decompress, "zstd": zstd.decompress}
CODINGS = ("gzip", "zstd")
LONG = b'{"text": "%b"}' % (b"plumb " * 1000)


class Packed(NamedTuple):
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> bytes:
        return UNPACK[self.headers.get("content-encoding", "")](self.body)


def fetch(portal: Portal, path: str, accept: str = "", method: str = "GET", **headers: str) -> Packed:
    connection = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=30)
    sent = {"Authorization": f"Token {portal.admin_token}", "Accept-Encoding": accept, **headers}
    connection.request(method, path, headers=sent)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return Packed(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", ""),
        ("identity", ""),
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("gzip;q=0", ""),
        ("zstd;q=0, gzip", "gzip"),
        ("GZIP", "gzip"),
        ("*", "zstd"),
        ("*;q=0.1, zstd;q=0", "gzip"),
        ("*;q=0", ""),
        ("br", ""),
        ("gzip;q=x", ""),
        ("gzip; q=0.5", "gzip"),
        (",;,=", ""),
    ],
)
def test_the_coding_is_the_one_that_the_client_wants_most(header: str, coding: str) -> None:
    assert accepted_coding(header) == coding


def answer_of(response: Any, accept: str = "gzip") -> Any:
    request = RequestFactory().get("/", headers={"Accept-Encoding": accept})
    return Compress(lambda _: response)(request)


def test_short_answers_stay() -> None:
    short = answer_of(HttpResponse(b"x" * (LEAST_BYTES - 1), content_type="application/json"))
    assert not short.has_header("Content-Encoding")
    assert not short.has_header("Vary")
    assert answer_of(HttpResponse(b"x" * LEAST_BYTES))["Content-Encoding"] == "gzip"


def test_answers_with_secrets_stay() -> None:
    """Their compressed length would tell whether the request's own text equals a part of them (BREACH)."""
    assert not answer_of(HttpResponse(LONG, headers=SHOWN_ONCE)).has_header("Content-Encoding")
    request = RequestFactory().get("/portal/account/2fa/", headers={"Accept-Encoding": "gzip"})
    assert not Compress(lambda _: HttpResponse(LONG))(request).has_header("Content-Encoding")


@pytest.mark.django_db
@pytest.mark.integration
def test_a_new_key_or_token_is_such_an_answer() -> None:
    device, admin = factories.device(), factories.admin()
    client = Client(headers={"Accept-Encoding": "gzip"})
    client.force_login(admin)
    page = client.get(reverse("devices:connect", args=[device.uuid]))
    shown = [
        client.post(reverse("devices:connect", args=[device.uuid]), {"overlap_seconds": "86400"}),
        client.post(f"/devices/{device.uuid}/keys/", {}, content_type="application/json"),
        client.post(reverse("admin:users_token_add"), {"user": admin.pk, "name": "x", "scopes": "read"}),
    ]
    assert page["Content-Encoding"] == "gzip"
    for answer in shown:
        assert not answer.has_header("Content-Encoding")
        assert CREDENTIAL.search(answer.content.decode())


@pytest.mark.parametrize(
    "kind", ["image/png", "application/octet-stream", "application/zip", "font/woff2", ""]
)
def test_what_does_not_shrink_stays(kind: str) -> None:
    assert not answer_of(HttpResponse(LONG, content_type=kind)).has_header("Content-Encoding")


def test_what_is_compressed_stays() -> None:
    packed = HttpResponse(gzip.compress(LONG), content_type="text/csv", headers={"Content-Encoding": "gzip"})
    assert answer_of(packed, "zstd")["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == LONG


@pytest.mark.parametrize("status", [206, 304])
def test_parts_and_what_is_not_modified_stay(status: int) -> None:
    assert not answer_of(HttpResponse(LONG, status=status)).has_header("Content-Encoding")


def test_a_strong_etag_becomes_weak_with_the_coding() -> None:
    tagged = {"ETag": '"a"'}
    assert answer_of(HttpResponse(LONG, headers=tagged))["ETag"] == 'W/"a"'
    assert answer_of(HttpResponse(LONG, headers=tagged), "")["ETag"] == '"a"'
    assert answer_of(HttpResponse(LONG, headers={"ETag": 'W/"a"'}))["ETag"] == 'W/"a"'


def test_vary_keeps_what_it_had() -> None:
    for accept in ("gzip", ""):
        response = answer_of(HttpResponse(LONG, headers={"Vary": "Cookie"}), accept)
        assert response["Vary"] == "Cookie, Accept-Encoding"


@pytest.mark.parametrize("coding", CODINGS)
def test_each_part_of_a_stream_can_be_read_when_it_is_sent(coding: str) -> None:
    parts = [b"first" * 500, b"second", b"third" * 9000]
    unpack = zstd.ZstdDecompressor() if coding == "zstd" else zlib.decompressobj(16 + zlib.MAX_WBITS)
    packed = compressed_parts(iter(parts), coding)
    assert [unpack.decompress(next(packed)) for _ in parts] == parts
    assert unpack.decompress(b"".join(packed)) == b""
    assert unpack.eof


@pytest.mark.django_db
def test_a_stream_closes_what_it_reads() -> None:
    # Its end closes connections that are too old.
    closed = []

    def rows() -> Any:
        try:
            yield b"x" * 5000
        finally:
            closed.append(True)

    response = answer_of(StreamingHttpResponse(rows(), content_type="text/csv"))
    next(iter(response))
    response.close()
    assert closed


@pytest.fixture(scope="module")
def fleet(portal: Portal) -> None:
    """So many devices that their list is compressed."""
    owner = portal.new_user()
    for _ in range(5):
        portal.new_device(owner)


@pytest.mark.parametrize("coding", ["", *CODINGS])
@pytest.mark.parametrize("path", ["/schema/", "/devices/", "/docs", "/redoc"])
def test_pages_schema_and_lists(portal: Portal, fleet: None, coding: str, path: str) -> None:
    packed = fetch(portal, path, coding)
    assert packed.status == 200
    assert len(packed.content) >= LEAST_BYTES
    assert packed.headers.get("content-encoding", "") == coding
    assert "Accept-Encoding" in packed.headers["vary"]
    assert int(packed.headers["content-length"]) == len(packed.body)
    if coding:
        assert len(packed.body) < len(packed.content) * 0.7


def test_the_schema_is_the_same_in_each_coding(portal: Portal) -> None:
    whole, *others = (fetch(portal, "/schema/", coding).content for coding in ("", *CODINGS))
    assert all(json.loads(other) == json.loads(whole) for other in others)
    assert len(fetch(portal, "/schema/", "zstd").body) < len(whole) / 8


def test_errors_are_compressed_too(portal: Portal) -> None:
    query = "&".join(f"wrong{number}=1" for number in range(100))
    packed = fetch(portal, f"/devices/?{query}", "gzip")
    assert (packed.status, packed.headers["content-encoding"]) == (400, "gzip")
    assert len(json.loads(packed.content)["errors"]) == 100


def test_head_has_the_length_of_get(portal: Portal) -> None:
    get, head = (fetch(portal, "/docs", "gzip", method) for method in ("GET", "HEAD"))
    assert head.body == b""
    assert head.headers["content-encoding"] == "gzip"
    assert abs(int(head.headers["content-length"]) - len(get.body)) < 100


@pytest.fixture(scope="module")
def calculation(portal: Portal) -> str:
    """A calculation whose rows are streamed."""
    body = {"date_start": "2000-01-01", "date_fin": "2026-01-01", "lag": 1, "seed": 1}
    made = portal.made("/calculations/", portal.admin_token, body)["id"]
    eventually(lambda: portal.get(f"/calculations/{made}/")["status"] == "finished")
    return made


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("query", ["", "?format=csv"])
def test_streamed_rows(portal: Portal, calculation: str, coding: str, query: str) -> None:
    path = f"/calculations/{calculation}/{query}"
    whole, packed = fetch(portal, path), fetch(portal, path, coding)
    assert packed.headers["content-encoding"] == coding
    assert "content-length" not in packed.headers
    assert packed.content == whole.body
    assert len(packed.body) < len(whole.body) / 2


def test_readings_are_posted_and_answered_as_before(portal: Portal, owner: Person, device: Sender) -> None:
    reading = {"x": 1.0, "y": 2.0, "z": 3.0}
    response = portal.request(
        "POST",
        f"/devices/{device.id}/stats/",
        device_key=device.key,
        json=reading,
        headers={"Accept-Encoding": "gzip"},
    )
    assert response.status_code == 201
    assert "Content-Encoding" not in response.headers
