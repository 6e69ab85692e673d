"""Every answer has an id, which is also in the problem or the page of an error and in the log."""

import re
from pathlib import Path

import pytest

from tests.support.portal import Portal, Sender, eventually

GOOD = b'{"x": 1.5, "y": -2, "z": 3}'
MADE = re.compile(r"[0-9a-f]{10}-[0-9a-f]+")
REFUSED = ("", "a b", "a" * 65, "é", "a;b", "<b>", '"', "a\tb")


def request_id(headers: dict[str, str]) -> str:
    return headers["x-request-id"]


def head(portal: Portal, device: Sender, *lines: str) -> bytes:
    fields = (
        f"POST /devices/{device.id}/stats/ HTTP/1.1",
        f"Host: 127.0.0.1:{portal.port}",
        f"Authorization: Device {device.key}",
        "Content-Type: application/json",
        f"Content-Length: {len(GOOD)}",
        *lines,
    )
    return "\n".join([*fields, "", ""]).encode()


@pytest.mark.parametrize(
    "path",
    ["/livez", "/livez?details", "/healthz", "/devices/", "/nothing", "/portal/login/", "/schema/", "/"],
)
def test_each_answer_has_an_id_of_its_own(portal: Portal, path: str) -> None:
    ids = [portal.request("GET", path).headers["X-Request-ID"] for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(MADE.fullmatch(each) for each in ids)


def test_static_files_have_one(portal: Portal) -> None:
    assert portal.request("GET", "/static/plumbline/style/plumbline.css").headers["X-Request-ID"]


def test_it_is_the_callers_if_it_is_short_and_plain(portal: Portal) -> None:
    for given in ("a", "A-1.b_c:2", "0b5f9c1e-6f53-4d3e-9d0e-1d1f6c2b7a10", "x" * 64):
        response = portal.request("GET", "/devices/", headers={"X-Request-ID": given})
        assert response.headers["X-Request-ID"] == given
        assert response.json()["request_id"] == given


@pytest.mark.parametrize("given", REFUSED)
def test_another_is_not_taken(portal: Portal, given: str) -> None:
    response = portal.request("GET", "/devices/", headers={"X-Request-ID": given.encode()})
    assert MADE.fullmatch(response.headers["X-Request-ID"])


def test_readings_on_each_way_through_the_gate(portal: Portal, device: Sender) -> None:
    close = "Connection: close"
    ids = [request_id(portal.raw(head(portal, device, close), GOOD)[1]) for _ in range(4)]
    assert len(set(ids)) == 4
    # A known head, twice on one connection.
    first, second = (
        portal.raw(head(portal, device) + GOOD + head(portal, device, close), GOOD) for _ in "ab"
    )
    for _, _, rest in (first, second):
        assert len(re.findall(rb"x-request-id: [0-9a-f-]+\r\n", rest)) == 1
    slow = portal.request(
        "POST", f"/devices/{device.id}/stats/?partial=true", device_key=device.key, data=GOOD
    )
    assert slow.status_code == 400
    assert slow.json()["request_id"] == slow.headers["X-Request-ID"]


def test_a_reading_keeps_its_callers_id_each_time(portal: Portal, device: Sender) -> None:
    for number in (1, 1, 2, 2, 1):
        status, headers, _ = portal.raw(
            head(
                portal,
                device,
                f"X-Request-ID: reading-{number}",
                "Connection: keep-alive",
                "Connection: close",
            ),
            GOOD,
        )
        assert (status, request_id(headers)) == (201, f"reading-{number}")


def test_an_answer_has_only_one(portal: Portal, device: Sender) -> None:
    given = {"X-Request-ID": "mine", "Content-Type": "application/json"}
    for path in (f"/devices/{device.id}/stats/", "/devices/", "/portal/login/"):
        response = portal.request("POST", path, device_key=device.key, data=GOOD, headers=given)
        assert response.headers["X-Request-ID"] == "mine"


def test_refused_bodies_have_one(portal: Portal) -> None:
    response = portal.request(
        "POST", "/devices/", data=b" " * (6 * 1024 * 1024), headers={"X-Request-ID": "big"}
    )
    assert response.status_code == 413
    assert (response.headers["X-Request-ID"], response.json()["request_id"]) == ("big", "big")


def test_lines_of_the_log_end_with_it(portal: Portal) -> None:
    portal.request("GET", "/portal/nothing/here/", headers={"X-Request-ID": "find-me-in-the-log"})
    log = Path(portal.child("web").log)
    line = eventually(lambda: re.search(r".*\[request find-me-in-the-log\]$", log.read_text(), re.MULTILINE))
    assert "WARNING django.request: Not Found: /portal/nothing/here/" in line[0]
