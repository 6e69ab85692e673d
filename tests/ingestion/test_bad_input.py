"""Bad input of every kind is refused with the right status and a problem document, and nothing is stored."""

import http.client
import json
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.support.portal import Person, Portal, Sender

JSON = {"Content-Type": "application/json"}
UNKNOWN = uuid.UUID(int=7)
DEEP = 5_000
MEGABYTE = 1_000_000
HALF_A_PAIR = rb"\ud800"


@dataclass(frozen=True)
class Stage:
    owner: Person
    device: Sender


@pytest.fixture(scope="module")
def stage(portal: Portal) -> Stage:
    owner = portal.new_user()
    device = portal.new_device(owner, external_id="pump-1")
    portal.post_reading(device, x=1, y=2, z=3)
    return Stage(owner, device)


@pytest.fixture
def refuse(portal: Portal) -> Callable[..., requests.Response]:
    """Send a request that must be refused, naming just these fields, and leave everything as it was."""

    def refuse(
        method: str, path: str, status: int, fields: Iterable[str] = (), **sent: Any
    ) -> requests.Response:
        before = portal.stored()
        if "device_key" not in sent:
            sent = {"token": portal.admin_token, **sent}
        response = portal.request(method, path, **sent)
        assert response.status_code == status, response.text
        assert_problem(response.headers, response.json(), status, fields)
        assert portal.stored() == before
        return response

    return refuse


def assert_problem(headers: Any, body: dict, status: int, fields: Iterable[str] = ()) -> None:
    assert headers["content-type"] == "application/problem+json"
    assert body["type"] == "about:blank"
    assert body["title"] == http.client.responses[status]
    assert body["status"] == status
    assert isinstance(body["detail"], str)
    assert body["detail"]
    errors = body.get("errors", [])
    assert all(error["message"] for error in errors)
    assert {error["field"] for error in errors} == set(fields)


# --- Readings


def with_x(text: str | bytes) -> bytes:
    return b'{"x":%s,"y":2,"z":3}' % (text.encode() if isinstance(text, str) else text)


READINGS = {
    "not a number": (with_x("NaN"), "x"),
    "Infinity": (with_x("Infinity"), "x"),
    "minus Infinity": (with_x("-Infinity"), "x"),
    "1e400": (with_x("1e400"), "x"),
    "-1e400": (with_x("-1e400"), "x"),
    "whole number of 400 digits": (with_x("1" + "0" * 400), "x"),
    "whole number of 5,000 digits": (with_x("1" + "0" * 5000), "x"),
    "two bad numbers": (b'{"x":NaN,"y":2,"z":1e999}', "xz"),
    "true": (with_x("true"), "x"),
    "false": (with_x("false"), "x"),
    "number in a string": (with_x('"1"'), "x"),
    "1_000 in a string": (with_x('"1_000"'), "x"),
    "NaN in a string": (with_x('"NaN"'), "x"),
    "Arabic digits in a string": (with_x('"١٢"'), "x"),
    "null": (with_x("null"), "x"),
    "array for a number": (with_x("[1]"), "x"),
    "object for a number": (with_x("{}"), "x"),
    "missing channel": (b'{"x":1,"y":2}', "z"),
    "no channel": (b"{}", "xyz"),
    "extra channel": (b'{"x":1,"y":2,"z":3,"w":4}', "w"),
    "channel of another case": (b'{"X":1,"y":2,"z":3}', "xX"),
    "NUL in a name": (b'{"x":1,"y":2,"z":3,"\\u0000":4}', {"\0"}),
    "half a surrogate pair in a name": (b'{"x":1,"y":2,"z":3,"%s":4}' % HALF_A_PAIR, {r"\ud800"}),
    "array": (b"[1,2,3]", {"body"}),
    "array of readings": (b'[{"x":1,"y":2,"z":3}]', {"body"}),
    "null for all": (b"null", {"body"}),
    "number for all": (b"1", {"body"}),
    "string for all": (b'"x"', {"body"}),
    "empty body": (b"", {"body"}),
    "blank body": (b" \n", {"body"}),
    "half an object": (b'{"x":1,', {"body"}),
    "two objects": (b'{"x":1,"y":2,"z":3}{"x":1,"y":2,"z":3}', {"body"}),
    "trailing comma": (b'{"x":1,"y":2,"z":3,}', {"body"}),
    "single quotes": (b"{'x':1,'y':2,'z':3}", {"body"}),
    "1_000": (with_x("1_000"), {"body"}),
    "leading zero": (with_x("01"), {"body"}),
    "leading plus": (with_x("+1"), {"body"}),
    "hexadecimal": (with_x("0x10"), {"body"}),
    "Arabic digits": (with_x("١٢"), {"body"}),
    "deep array": (b"[" * DEEP + b"]" * DEEP, {"body"}),
    "open deep array": (b"[" * DEEP, {"body"}),
    "deep object": (b'{"x":' * DEEP + b"1" + b"}" * DEEP, {"body"}),
    "deep value": (with_x("[" * DEEP + "]" * DEEP), {"body"}),
    "invalid UTF-8": (b"\xff\xfe\xfd", {"body"}),
    "invalid UTF-8 in a string": (b'{"x":1,"y":2,"z":3,"timestamp":"\xc3\x28"}', {"body"}),
    "byte order mark": (b"\xef\xbb\xbf" + with_x("1"), {"body"}),
    "UTF-16": (with_x("1").decode().encode("utf-16"), {"body"}),
    "NUL before": (b"\0" + with_x("1"), {"body"}),
    "NUL in a string": (b'{"x":1,"y":2,"z":3,"timestamp":"\0"}', {"body"}),
    "compressed": (b"\x1f\x8b\x08\x00", {"body"}),
    "form": (b"x=1&y=2&z=3", {"body"}),
}


@pytest.mark.parametrize(("body", "fields"), READINGS.values(), ids=READINGS)
def test_bad_reading_is_refused(stage: Stage, refuse: Any, body: bytes, fields: Iterable[str]) -> None:
    path = f"/devices/{stage.device.id}/stats/"
    refuse("POST", path, 400, fields, device_key=stage.device.key, data=body, headers=JSON)


STAMPS = [
    "",
    "now",
    "yesterday",
    "2026",
    "2026-01",
    "2026-13-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2025-02-29T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:60:00Z",
    "2026-01-01T00:00:60Z",
    "2026-01-01T00:00:00+25:00",
    "2026-01-01T00:00:00+01:00:30",
    "2026-01-01T00:00:00 UTC",
    "2026-01-01T00:00:00Europe/Berlin",
    " 2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00Z\n",
    "2026-01-01T00:00:00Z\0",
    "20260101T000000Z",
    "2026-W01-1",
    "01/02/2026",
    "1700000000",
    "-1",
    "٢٠٢٦-٠١-٠١T٠٠:٠٠:٠٠Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
    "9999-12-31T23:59:59Z",
    "10000-01-01T00:00:00Z",
    "infinity",
    "2026-01-01T00:00:00" + "0" * 100_000,
    4_102_444_800,
    1e300,
    -1e300,
    -62_135_596_801,
    1_700_000_000_000,
    10**30,
    True,
    None,
    [],
    {},
]


@pytest.mark.parametrize("text", STAMPS, ids=lambda text: repr(text)[:40])
def test_bad_stamp_is_refused(stage: Stage, refuse: Any, text: Any) -> None:
    reading = {"x": 1, "y": 2, "z": 3, "timestamp": text}
    path = f"/devices/{stage.device.id}/stats/"
    refuse("POST", path, 400, {"timestamp"}, device_key=stage.device.key, json=reading)


@pytest.mark.parametrize("ahead", [timedelta(minutes=6), timedelta(days=1), timedelta(days=36_500)], ids=str)
def test_stamp_of_the_future_is_refused(stage: Stage, refuse: Any, ahead: timedelta) -> None:
    reading = {"x": 1, "y": 2, "z": 3, "timestamp": (datetime.now(UTC) + ahead).isoformat()}
    path = f"/devices/{stage.device.id}/stats/"
    refuse("POST", path, 400, {"timestamp"}, device_key=stage.device.key, json=reading)


def test_half_a_surrogate_pair_in_a_stamp_is_refused(stage: Stage, refuse: Any) -> None:
    body = b'{"x":1,"y":2,"z":3,"timestamp":"%s"}' % HALF_A_PAIR
    path = f"/devices/{stage.device.id}/stats/"
    refuse("POST", path, 400, {"body"}, device_key=stage.device.key, data=body, headers=JSON)


TYPES = [
    "text/plain",
    "text/html",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "application/xml",
    "application/octet-stream",
    "application/",
    "/",
    "json",
    "",
]


@pytest.mark.parametrize("content_type", TYPES)
def test_other_media_type_is_refused(stage: Stage, refuse: Any, content_type: str) -> None:
    sent = {"data": with_x("1"), "headers": {"Content-Type": content_type}}
    refuse("POST", f"/devices/{stage.device.id}/stats/", 415, device_key=stage.device.key, **sent)
    refuse("POST", "/users/", 415, data=b'{"name":"A"}', headers={"Content-Type": content_type})


def test_body_without_a_media_type_is_refused(stage: Stage, refuse: Any) -> None:
    refuse("POST", f"/devices/{stage.device.id}/stats/", 415, device_key=stage.device.key, data=with_x("1"))


@pytest.mark.parametrize("path", ["/devices/{}/stats/", "/devices/{}/analytics/", "/devices/", "/users/"])
def test_body_of_six_megabytes_is_too_large(stage: Stage, refuse: Any, path: str) -> None:
    body = with_x("1" + " " * 6 * MEGABYTE)
    refuse("POST", path.format(stage.device.id), 413, data=body, headers=JSON)


def test_body_of_six_megabytes_in_chunks_is_too_large(stage: Stage, refuse: Any) -> None:
    chunks = iter([with_x("1" + " " * MEGABYTE)] * 6)
    refuse("POST", f"/devices/{stage.device.id}/stats/", 413, data=chunks, headers=JSON)


def test_reading_in_chunks_is_a_reading(portal: Portal) -> None:
    """A good request whose body Django alone would see as empty."""
    owner = portal.new_user()
    device = portal.new_device(owner)
    chunks = iter([b'{"x":1,', b'"y":2,', b'"z":3}'])
    posted = portal.request(
        "POST", f"/devices/{device.id}/stats/", device_key=device.key, data=chunks, headers=JSON
    )
    assert posted.status_code == 201, posted.text
    assert len(portal.get(f"/stats/{device.id}/")) == 1


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "nonsense", "*/*;q=x", ""])
def test_answer_is_json_whatever_is_accepted(portal: Portal, stage: Stage, accept: str) -> None:
    response = portal.request(
        "GET", f"/devices/{stage.device.id}/", token=stage.owner.token, headers={"Accept": accept}
    )
    assert response.status_code == 200
    assert response.json()["id"] == stage.device.id


# --- Bodies of the other routes

WRONG_BODIES = {
    "array": b"[]",
    "null": b"null",
    "number": b"1",
    "string": b'"name"',
    "half": b'{"name":',
    "deep array": b"[" * DEEP + b"]" * DEEP,
    "deep object": b'{"name":' * DEEP + b"1" + b"}" * DEEP,
    "invalid UTF-8": b'{"name":"\xff"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "half a surrogate pair": b'{"name":"%s"}' % HALF_A_PAIR,
    "half a surrogate pair in a name": b'{"%s":1}' % HALF_A_PAIR,
    "5,000 digits": b'{"name":%s}' % (b"9" * 5000),
}
BODY_ROUTES = [
    ("POST", "/users/"),
    ("PATCH", "/users/{user}/"),
    ("POST", "/users/{user}/tokens/"),
    ("POST", "/users/{user}/analytics/"),
    ("POST", "/devices/"),
    ("PATCH", "/devices/{device}/"),
    ("POST", "/devices/{device}/keys/"),
    ("POST", "/devices/{device}/analytics/"),
    ("POST", "/api/blogs/"),
    ("POST", "/api/posts/"),
]


@pytest.mark.parametrize(("method", "path"), BODY_ROUTES)
@pytest.mark.parametrize("body", WRONG_BODIES.values(), ids=WRONG_BODIES)
def test_body_that_is_no_object_is_refused(
    portal: Portal, stage: Stage, method: str, path: str, body: bytes
) -> None:
    url = path.format(user=stage.owner.id, device=stage.device.id)
    response = portal.request(method, url, token=portal.admin_token, data=body, headers=JSON)
    assert response.status_code == 400, response.text
    assert_problem(response.headers, response.json(), 400, {"body"})


@pytest.mark.parametrize(("method", "path"), BODY_ROUTES)
@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e400"])
def test_number_that_no_double_is_is_named(
    portal: Portal, stage: Stage, method: str, path: str, number: bytes
) -> None:
    url = path.format(user=stage.owner.id, device=stage.device.id)
    body = b'{"name":%s}' % number
    response = portal.request(method, url, token=portal.admin_token, data=body, headers=JSON)
    assert response.status_code == 400, response.text
    assert_problem(response.headers, response.json(), 400, {"name"})


USER = {"name": "Ada", "email": "bad-input@example.com"}
BAD_USERS = [
    ({}, {"name", "email"}),
    ({"name": None}, {"name"}),
    ({"name": 1}, {"name"}),
    ({"name": True}, {"name"}),
    ({"name": ["Ada"]}, {"name"}),
    ({"name": ""}, {"name"}),
    ({"name": " "}, {"name"}),
    ({"name": "A" * 201}, {"name"}),
    ({"name": "A\0"}, {"name"}),
    ({"email": None}, {"email"}),
    ({"email": 1}, {"email"}),
    ({"email": ""}, {"email"}),
    ({"email": "ada"}, {"email"}),
    ({"email": "ada@"}, {"email"}),
    ({"email": "ada@example.com\0"}, {"email"}),
    ({"email": "a@" + "b" * 60 + ".com" * 60}, {"email"}),
    ({"email": "a" * 300 + "@example.com"}, {"email"}),
    ({"email": "ada@example.com, eve@example.com"}, {"email"}),
    ({"email": "admin@example.com"}, {"email"}),
    ({"email": "ADMIN@Example.COM"}, {"email"}),
    ({"login": ""}, {"login"}),
    ({"login": None}, {"login"}),
    ({"login": 5}, {"login"}),
    ({"login": "a b"}, {"login"}),
    ({"login": "a\0"}, {"login"}),
    ({"login": "a" * 151}, {"login"}),
    ({"login": "admin"}, {"login"}),
    ({"login": "ADMIN"}, {"login"}),
    ({"role": "king"}, {"role"}),
    ({"role": None}, {"role"}),
    ({"role": 1}, {"role"}),
    ({"role": []}, {"role"}),
    ({"active": "yes"}, {"active"}),
    ({"active": 1}, {"active"}),
    ({"active": None}, {"active"}),
    ({"id": 7}, {"id"}),
    ({"created_at": "2026-01-01T00:00:00Z"}, {"created_at"}),
    ({"password": "secret"}, {"password"}),
    ({"is_superuser": True}, {"is_superuser"}),
    ({"nmae": "Ada"}, {"nmae"}),
]


def in_order(value: Any) -> str:
    """A test's id; a set has no order that two processes share."""
    return repr(sorted(value) if isinstance(value, set) else value)[:50]


@pytest.mark.parametrize(("fields", "named"), BAD_USERS, ids=in_order)
def test_bad_user_is_refused(refuse: Any, fields: dict, named: set[str]) -> None:
    refuse("POST", "/users/", 400, named, json=USER | fields if fields else {})


@pytest.mark.parametrize("email", ["Twice@Example.com", "twice@example.com", "TWICE@EXAMPLE.COM"])
def test_email_is_used_once_whatever_its_case(portal: Portal, refuse: Any, email: str) -> None:
    first = {"name": "First", "email": "twice@example.com"}
    assert portal.request("POST", "/users/", token=portal.admin_token, json=first).status_code in (201, 400)
    refuse("POST", "/users/", 400, {"email"}, json={"name": "Second", "email": email})


def test_email_of_another_is_refused_in_a_change(stage: Stage, refuse: Any) -> None:
    path, body = f"/users/{stage.owner.id}/", {"email": "Admin@example.com"}
    refuse("PATCH", path, 400, {"email"}, json=body)
    refuse("PATCH", path, 400, {"email"}, json=body, token=stage.owner.token)


BAD_DEVICES = [
    ({"user_id": None}, {"user_id"}),
    ({"user_id": "1"}, {"user_id"}),
    ({"user_id": True}, {"user_id"}),
    ({"user_id": 1.5}, {"user_id"}),
    ({"user_id": [1]}, {"user_id"}),
    ({"profile": "nope"}, {"profile"}),
    ({"profile": None}, {"profile"}),
    ({"profile": 1}, {"profile"}),
    ({"profile": []}, {"profile"}),
    ({"profile": "xyz\0"}, {"profile"}),
    ({"profile": ""}, {"profile"}),
    ({"name": None}, {"name"}),
    ({"name": 1}, {"name"}),
    ({"name": "a" * 201}, {"name"}),
    ({"name": "\0"}, {"name"}),
    ({"external_id": 1}, {"external_id"}),
    ({"external_id": ""}, {"external_id"}),
    ({"external_id": "a" * 256}, {"external_id"}),
    ({"external_id": "\0"}, {"external_id"}),
    ({"external_id": "pump-1"}, {"external_id"}),
    ({"time_zone": "Mars/Olympus"}, {"time_zone"}),
    ({"time_zone": "../../etc/passwd"}, {"time_zone"}),
    ({"time_zone": "UTC\0"}, {"time_zone"}),
    ({"time_zone": ""}, {"time_zone"}),
    ({"time_zone": None}, {"time_zone"}),
    ({"time_zone": 2}, {"time_zone"}),
    ({"active": "no"}, {"active"}),
    ({"active": 0}, {"active"}),
    ({"id": str(UNKNOWN)}, {"id"}),
    ({"key": "mine"}, {"key"}),
    ({"channels": []}, {"channels"}),
    ({"colour": "red"}, {"colour"}),
]


@pytest.mark.parametrize(("fields", "named"), BAD_DEVICES, ids=lambda value: repr(value)[:50])
def test_bad_device_is_refused(stage: Stage, refuse: Any, fields: dict, named: set[str]) -> None:
    refuse("POST", "/devices/", 400, named, json={"user_id": stage.owner.id} | fields)


@pytest.mark.parametrize("user", [0, -1, 10**9, 2**63, 10**30])
def test_device_of_an_unknown_user_is_404(refuse: Any, user: int) -> None:
    refuse("POST", "/devices/", 404, json={"user_id": user})


def test_device_with_readings_keeps_its_profile(stage: Stage, refuse: Any) -> None:
    refuse("PATCH", f"/devices/{stage.device.id}/", 400, {"profile"}, json={"profile": "scalar"})


@pytest.mark.parametrize(
    "value", [-1, 1.5, 10**9, 10**30, "60", "1_0", "١", True, None, [], 30 * 86400 + 1], ids=repr
)
def test_bad_overlap_is_refused(stage: Stage, refuse: Any, value: Any) -> None:
    path = f"/devices/{stage.device.id}/keys/"
    refuse("POST", path, 400, {"overlap_seconds"}, json={"overlap_seconds": value})


BAD_TOKENS = [
    ({"name": 1}, {"name"}),
    ({"name": "a" * 101}, {"name"}),
    ({"name": "\0"}, {"name"}),
    ({"scopes": []}, {"scopes"}),
    ({"scopes": None}, {"scopes"}),
    ({"scopes": "read"}, {"scopes"}),
    ({"scopes": {"read": True}}, {"scopes"}),
    ({"scopes": ["king"]}, {"scopes.0"}),
    ({"scopes": ["read", 1]}, {"scopes.1"}),
    ({"scopes": [["read"]]}, {"scopes.0"}),
    ({"expires_at": "tomorrow"}, {"expires_at"}),
    ({"expires_at": 1}, {"expires_at"}),
    ({"expires_at": True}, {"expires_at"}),
    ({"expires_at": "9999-12-31T23:59:59-14:00"}, {"expires_at"}),
    ({"prefix": "plt_00000000"}, {"prefix"}),
    ({"token": "mine"}, {"token"}),
]


@pytest.mark.parametrize(("fields", "named"), BAD_TOKENS, ids=lambda value: repr(value)[:50])
def test_bad_token_is_refused(stage: Stage, refuse: Any, fields: dict, named: set[str]) -> None:
    refuse("POST", f"/users/{stage.owner.id}/tokens/", 400, named, json=fields)


BAD_PERIODS = [
    ({"start": "x"}, {"start"}),
    ({"start": ""}, {"start"}),
    ({"end": "2026-02-30"}, {"end"}),
    ({"end": "9999-12-31T23:59:59-14:00"}, {"end"}),
    ({"start": "2026-01-01T00:00:00Z\0"}, {"start"}),
    ({"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, {"start"}),
    ({"start": "2026-01-01T00:00:00.000001Z", "end": "2026-01-01T00:00:00Z"}, {"start"}),
    ({"start": "2026-01-01T00:00:00-01:00", "end": "2026-01-01T00:30:00Z"}, {"start"}),
]


@pytest.mark.parametrize(("bounds", "named"), BAD_PERIODS, ids=lambda value: repr(value)[:50])
def test_bad_period_is_refused(stage: Stage, refuse: Any, bounds: dict, named: set[str]) -> None:
    for path in (f"/devices/{stage.device.id}/analytics/", f"/users/{stage.owner.id}/analytics/"):
        refuse("GET", path, 400, named, params=bounds)
        refuse("POST", path, 400, named, json=bounds)
    for path in ("/stats/", f"/stats/{stage.device.id}/", f"/devices/{stage.device.id}/series/"):
        refuse("GET", path, 400, named, params=bounds)


@pytest.mark.parametrize("value", [1, 1.5, True, [], {}], ids=repr)
def test_bound_that_is_no_text_is_refused(stage: Stage, refuse: Any, value: Any) -> None:
    refuse("POST", f"/devices/{stage.device.id}/analytics/", 400, {"end"}, json={"end": value})


OPTIONS = [
    ({"percentiles": ["5"]}, "percentiles"),
    ({"percentiles": [5, -1]}, "percentiles"),
    ({"percentiles": [True]}, "percentiles"),
    ({"percentiles": 5}, "percentiles"),
    ({"percentiles": {"5": 1}}, "percentiles"),
    ({"percentiles": [1e-300]}, "percentiles"),
    ({"percentiles": list(range(21))}, "percentiles"),
    ({"bucket": 1}, "bucket"),
    ({"bucket": ["day"]}, "bucket"),
    ({"bucket": "day", "time_zone": 1}, "time_zone"),
    ({"bucket": "day", "time_zone": ["UTC"]}, "time_zone"),
    ({"bucket": "day", "time_zone": ""}, "time_zone"),
    ({"buckets": "day"}, "buckets"),
]


@pytest.mark.parametrize(("options", "named"), OPTIONS, ids=lambda value: repr(value)[:50])
def test_bad_options_of_an_analysis_are_refused(stage: Stage, refuse: Any, options: dict, named: str) -> None:
    for path in (f"/devices/{stage.device.id}/analytics/", f"/users/{stage.owner.id}/analytics/"):
        refuse("POST", path, 400, {named}, json=options)


# --- Queries and paths

LIMITS = ["", "0", "-1", "1.5", "1e2", "1001", "x", "١", "1_0", "%00", "+5", "9" * 5000]
CURSORS = ["", "x", "%00", "%FF", "cD0l", "cD1h", "cD3ZoQ", "bz0tMQ", "===", "a" * 20_000]


@pytest.mark.parametrize(
    "path", ["/users/", "/devices/", "/stats/", "/stats/{device}/", "/users/{user}/tokens/"]
)
@pytest.mark.parametrize(
    "query", [f"limit={text}" for text in LIMITS] + [f"cursor={text}" for text in CURSORS]
)
def test_bad_limit_or_cursor_is_refused(portal: Portal, stage: Stage, path: str, query: str) -> None:
    url = path.format(user=stage.owner.id, device=stage.device.id)
    response = portal.request("GET", f"{url}?{query}", token=portal.admin_token)
    assert response.status_code == 400, response.text
    assert_problem(response.headers, response.json(), 400, {query.partition("=")[0]})


QUERIES = [
    ("/devices/?user=x", "user"),
    ("/devices/?user=1.5", "user"),
    ("/devices/?user=-1", "user"),
    ("/devices/?user=1_0", "user"),
    ("/devices/?user=1e2", "user"),
    ("/devices/?user=١", "user"),
    ("/devices/?user=NaN", "user"),
    (f"/devices/?user={'9' * 40}", "user"),
    ("/devices/?profile=nope", "profile"),
    ("/devices/?profile=%00", "profile"),
    ("/devices/?active=maybe", "active"),
    ("/devices/?active=1", "active"),
    ("/devices/?online=yes", "online"),
    ("/devices/?search=%00", "search"),
    ("/users/?role=king", "role"),
    ("/users/?active=maybe", "active"),
    ("/users/?search=%00", "search"),
    ("/users/?colour=red", "colour"),
    ("/users/?id=1", "id"),
    ("/users/{user}/?colour=red", "colour"),
    ("/users/{user}/tokens/?colour=red", "colour"),
    ("/users/{user}/analytics/?begin=2026-01-01", "begin"),
    ("/devices/?colour=red", "colour"),
    ("/devices/?ordering=name", "ordering"),
    ("/devices/?owner__password__startswith=a", "owner__password__startswith"),
    ("/devices/?format=xml", "format"),
    ("/devices/?%00=1", "\0"),
    ("/devices/?%FF=1", "\ufffd"),
    ("/devices/{device}/?colour=red", "colour"),
    ("/devices/{device}/keys/?colour=red", "colour"),
    ("/devices/{device}/analytics/?Start=2026-01-01", "Start"),
    ("/devices/{device}/analytics/?percentiles=", "percentiles"),
    ("/devices/{device}/analytics/?percentiles=5,101", "percentiles"),
    ("/devices/{device}/analytics/?percentiles=5;25", "percentiles"),
    ("/devices/{device}/analytics/?percentiles=%00", "percentiles"),
    ("/users/{user}/analytics/?percentiles=nan", "percentiles"),
    ("/devices/{device}/analytics/?bucket=year", "bucket"),
    ("/devices/{device}/analytics/?bucket=hour&start=2020-01-01", "bucket"),
    ("/users/{user}/analytics/?bucket=day&start=1950-01-01", "bucket"),
    ("/devices/{device}/analytics/?bucket=month&start=0001-01-01&end=0001-01-02", "bucket"),
    ("/devices/{device}/analytics/?bucket=day&time_zone=Mars/Olympus", "time_zone"),
    ("/devices/{device}/analytics/?bucket=day&time_zone=../UTC", "time_zone"),
    ("/devices/{device}/analytics/?time_zone=UTC", "time_zone"),
    ("/devices/{device}/series/?points=0", "points"),
    ("/devices/{device}/series/?points=5001", "points"),
    ("/devices/{device}/series/?points=1e3", "points"),
    ("/devices/{device}/series/?points=%D9%A1", "points"),
    ("/devices/{device}/series/?limit=10", "limit"),
    ("/devices/{device}/exclusions/?active=1", "active"),
    ("/devices/{device}/exclusions/?lifted=true", "lifted"),
    ("/devices/{device}/exclusions/?cursor=x", "cursor"),
    ("/stats/?ordering=time", "ordering"),
    ("/stats/{device}/?from=2026-01-01", "from"),
    ("/tasks/{device}/?colour=red", "colour"),
    ("/tasks/?status=queued", "status"),
    ("/tasks/?status=pending", "status"),
    ("/tasks/?device=1.5", "device"),
    ("/tasks/?device=%00", "device"),
    ("/tasks/?user=x", "user"),
    ("/tasks/?cursor=x", "cursor"),
    # The position is 1, which is no time.
    ("/tasks/?cursor=cD0x", "cursor"),
    ("/tasks/?limit=0", "limit"),
    ("/tasks/{device}/devices/?colour=red", "colour"),
    ("/profiles/?cursor=cD0yMDI2LTExLTIxVDA5OjMwOjAwWg==", "cursor"),
    ("/api/comments/?login=admin&colour=red", "colour"),
    ("/api/general/?login=admin&format=CSV", "format"),
    ("/api/general/?login=admin&start=%00", "start"),
    ("/api/comments/?format=csv", "login"),
    ("/api/blogs/?owner=%00", "owner"),
    ("/api/posts/?blog=x", "blog"),
]


@pytest.mark.parametrize(("path", "field"), QUERIES)
def test_bad_query_is_refused(stage: Stage, refuse: Any, path: str, field: str) -> None:
    refuse("GET", path.format(user=stage.owner.id, device=stage.device.id), 400, {field})


@pytest.mark.parametrize("purge", ["", "1", "yes", "True"])
def test_purge_must_be_true_or_false(stage: Stage, refuse: Any, purge: str) -> None:
    refuse("DELETE", f"/users/{stage.owner.id}/?purge={purge}", 400, {"purge"})


def test_query_of_a_post_is_checked_as_well(stage: Stage, refuse: Any) -> None:
    reading = {"x": 1, "y": 2, "z": 3}
    refuse(
        "POST", f"/devices/{stage.device.id}/stats/?timestamp=2026-01-01", 400, {"timestamp"}, json=reading
    )


def test_thousands_of_parameters_are_refused(refuse: Any) -> None:
    refuse("GET", "/devices/?" + "&".join(f"a{i}=1" for i in range(2000)), 400)


BAD_USER_IDS = [
    "0",
    "-1",
    "1.5",
    "x",
    "1e3",
    "١",
    "%00",
    "%FF",
    "2147483648",
    str(2**63),
    "9" * 30,
    "9" * 5000,
]
BAD_UUIDS = [
    "1",
    "1.5",
    "x",
    "None",
    "%00",
    "%FF",
    "0" * 32,
    str(UNKNOWN).upper() + "0",
    "{" + str(UNKNOWN) + "}",
]
USER_PATHS = [
    *("/users/{}/", "/users/{}/tokens/", "/users/{}/analytics/"),
    *("/api/blogs/{}/", "/api/posts/{}/"),
]
UUID_PATHS = ["/devices/{}/", "/devices/{}/keys/", "/devices/{}/analytics/", "/stats/{}/", "/tasks/{}/"]
UUID_PATHS += ["/devices/{}/series/", "/devices/{}/exclusions/"]


@pytest.mark.parametrize(
    "path",
    [path.format(text) for path in USER_PATHS for text in BAD_USER_IDS]
    + [path.format(text) for path in UUID_PATHS for text in BAD_UUIDS]
    + [
        "/nothing",
        "/users/1/nothing/",
        "/%",
        "/%zz",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/static/%00",
        "/static/nope",
    ],
    ids=lambda path: path[:60],
)
def test_bad_id_or_path_is_404(portal: Portal, path: str) -> None:
    response = portal.request("GET", path, token=portal.admin_token)
    assert response.status_code == 404, response.text
    assert_problem(response.headers, response.json(), 404)


@pytest.mark.parametrize("text", ["1", "1.5", "x", str(UNKNOWN), "%00"])
def test_reading_for_an_unknown_device_is_404(stage: Stage, refuse: Any, text: str) -> None:
    for credential in ({"device_key": stage.device.key}, {"token": stage.owner.token}):
        refuse("POST", f"/devices/{text}/stats/", 404, json={"x": 1, "y": 2, "z": 3}, **credential)


@pytest.mark.parametrize("prefix", ["x", "%00", "plt_00000000", "a" * 5000])
def test_unknown_key_and_token_are_404(stage: Stage, refuse: Any, prefix: str) -> None:
    refuse("DELETE", f"/devices/{stage.device.id}/keys/{prefix}/", 404)
    refuse("DELETE", f"/users/{stage.owner.id}/tokens/{prefix}/", 404)


METHODS = {
    "/users/": "GET POST HEAD OPTIONS",
    "/users/{user}/": "GET PATCH DELETE HEAD OPTIONS",
    "/users/{user}/tokens/": "GET POST HEAD OPTIONS",
    "/users/{user}/analytics/": "GET POST HEAD OPTIONS",
    "/devices/": "GET POST HEAD OPTIONS",
    "/devices/{device}/": "GET PATCH DELETE HEAD OPTIONS",
    "/devices/{device}/keys/": "GET POST HEAD OPTIONS",
    "/devices/{device}/analytics/": "GET POST HEAD OPTIONS",
    "/devices/{device}/series/": "GET HEAD OPTIONS",
    "/devices/{device}/exclusions/": "GET POST HEAD OPTIONS",
    "/devices/{device}/stats/": "POST OPTIONS",
    "/stats/": "GET HEAD OPTIONS",
    "/stats/{device}/": "GET HEAD OPTIONS",
    "/tasks/": "GET HEAD OPTIONS",
    "/tasks/{device}/": "GET DELETE HEAD OPTIONS",
    "/tasks/{device}/devices/": "GET HEAD OPTIONS",
    "/profiles/": "GET POST HEAD OPTIONS",
    "/profiles/xyz/": "GET PATCH DELETE HEAD OPTIONS",
    "/api/comments/": "GET HEAD OPTIONS",
    "/api/activity/": "POST OPTIONS",
    "/api/blogs/": "GET POST HEAD OPTIONS",
    "/api/posts/1/": "GET PATCH DELETE HEAD OPTIONS",
}


@pytest.mark.parametrize("path", METHODS)
def test_wrong_method_is_405(portal: Portal, stage: Stage, path: str) -> None:
    allowed = METHODS[path].split()
    url = path.format(user=stage.owner.id, device=stage.device.id)
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"}.difference(allowed):
        response = portal.request(method, url, token=portal.admin_token)
        assert response.status_code == 405, method
        assert_problem(response.headers, response.json(), 405)
        assert {name.strip() for name in response.headers["Allow"].split(",")} == set(allowed)


# --- Headers, byte by byte


def send(portal: Portal, target: bytes = b"/devices/", *lines: bytes) -> tuple[int, dict[str, str], bytes]:
    """A GET with these header lines, by default with a good Host."""
    if not any(line.lower().startswith(b"host:") for line in lines):
        lines = (b"Host: 127.0.0.1", *lines)
    return portal.raw(b"\n".join([b"GET %s HTTP/1.1" % target, *lines, b"Connection: close\n\n"]))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Token",
        b"Token ",
        b"Device",
        b"Bearer {token}",
        b"Basic YWRtaW46YWRtaW4=",
        b"{token}",
        b"Token{token}",
        b"Token {token}x",
        b"Token {token} {token}",
        b"Token {token}, Token {token}",
        b"Token .",
        b"Token plt_",
        b'Token "{token}"',
        b"Device {token}",
        b"\xff\xfe",
        b"Token \xff\xfe",
        b"Token \xc3\xbc",
        "Token ١".encode(),
        b"Token " + b"a" * 5_000,
        b"Token " + b"a" * 50_000,
        b"a" * 50_000,
    ],
    ids=lambda value: repr(value)[:40],
)
def test_malformed_authorization_is_401(portal: Portal, value: bytes) -> None:
    text = value.replace(b"{token}", portal.admin_token.encode())
    status, headers, body = send(portal, b"/devices/", b"Authorization: " + text)
    assert status == 401, body
    assert_problem(headers, json.loads(body), 401)
    assert headers["www-authenticate"]


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"evil.example:80",
        b"127.0.0.1.evil.example",
        b"a b",
        b"127.0.0.1:x",
        b"[::1",
        b"\xff",
        b"",
    ],
)
def test_foreign_host_is_refused(portal: Portal, host: bytes) -> None:
    token = b"Authorization: Token " + portal.admin_token.encode()
    status, headers, body = send(portal, b"/devices/", b"Host: " + host, token)
    assert status == 400
    assert_problem(headers, json.loads(body), 400)


def test_forwarded_host_is_not_believed(portal: Portal) -> None:
    """A sender must not choose where the links of a page lead."""
    lines = (b"X-Forwarded-Host: evil.example", b"Authorization: Token " + portal.admin_token.encode())
    status, headers, _ = send(portal, b"/users/?limit=1", *lines)
    assert status == 200
    assert "evil.example" not in headers["link"]


@pytest.mark.parametrize(
    ("target", "statuses"),
    [
        (b"/devices/?search=%zz%", {200}),
        (b"/devices/?search=%FF%FE", {200}),
        (b"/devices/%00/", {404}),
        (b"/dev%69ces/", {200}),
        (b"//devices/", {404}),
        (b"/devices//", {200, 404}),
        (b"/devices/../devices/", {404}),
        (b"*", {404}),
        (b"/dev\0ices/", {400}),
        (b"/devices/?search=\0", {400}),
        (b"/\xff\xfe", {400}),
        (b"/devices/?search=\xff", {400}),
        (b"/" + b"a" * 100_000, {400, 404, 414}),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_strange_target_is_never_a_server_error(portal: Portal, target: bytes, statuses: set[int]) -> None:
    status, headers, _ = send(portal, target, b"Authorization: Token " + portal.admin_token.encode())
    assert status in statuses
    assert not headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "path",
    ["/portal/devices/%00/", "/portal/devices/x/", "/portal/analyses/1/", "/admin/%00/", "/portal/nothing/"],
)
def test_bad_page_is_no_server_error(portal: Portal, path: str) -> None:
    """Pages are for people: these errors are HTML or redirect to the login."""
    response = portal.request("GET", path)
    assert response.status_code in (302, 404)
    assert "<script>" not in response.text


@pytest.mark.parametrize(
    "query",
    [
        *("page=x", "page=0", "page=999999", "active=maybe", "user=1_0", "search=%00"),
        *("login=%00", "login=nobody", "start=soon", "last=x", "start=2026-02-02&end=2026-02-01"),
    ],
)
def test_bad_query_of_a_page_is_no_server_error(portal: Portal, query: str) -> None:
    """The admin, in a session, edits the address by hand."""
    with requests.Session() as browser:
        browser.trust_env = False
        form = browser.get(f"{portal.url}/portal/login/", timeout=30)
        token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)[0]
        account = {"username": portal.admin_login, "password": portal.admin_password}
        browser.post(f"{portal.url}/portal/login/", {**account, "csrfmiddlewaretoken": token}, timeout=30)
        for path in ("/portal/devices/", "/portal/analyses/", "/portal/activity/"):
            page = browser.get(f"{portal.url}{path}?{query}", timeout=30)
            assert page.status_code in (200, 400)
            assert page.headers["Content-Type"].startswith("text/html")
