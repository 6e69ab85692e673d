"""From posting readings to their statistics, over HTTP, with the product's own processes."""

import math
import statistics
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random

import pytest

from tests.support.portal import Person, Portal, Sender
from tests.support.rows import NOON, XYZ, post_rows, stamp


def summary(portal: Portal, values: Sequence[float]) -> dict[str, float]:
    """Expected statistics, computed by Python; the median by PostgreSQL, as exactness means its last bit."""
    median = "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY v) FROM unnest(%s::float8[]) AS v"
    return {
        "count": len(values),
        "min": min(values),
        "max": max(values),
        "sum": math.fsum(values),
        "avg": float(sum(map(Fraction, values)) / len(values)),
        "median": portal.query(median, list(values))[0][0],
    }


def summaries(portal: Portal, rows: Iterable[Sequence[float]]) -> dict[str, dict]:
    return {name: summary(portal, column) for name, column in zip(XYZ, zip(*rows, strict=True), strict=True)}


def random_rows(count: int, seed: int) -> list[tuple[float, float, float]]:
    random = Random(seed)
    return [(random.gauss(0, 1), random.uniform(-1e9, 1e9), random.expovariate(1e6)) for _ in range(count)]


def test_device_is_registered_posts_and_its_statistics_are_exact(portal: Portal) -> None:
    user = portal.request(
        "POST", "/users/", token=portal.admin_token, json={"name": "Ada", "email": "ada@example.com"}
    )
    assert user.status_code == 201
    assert user.json().keys() >= {"id", "name", "email", "login", "created_at"}
    assert user.json()["login"] == "ada"
    token = portal.new_token(user.json()["id"])
    device = portal.request("POST", "/devices/", token=token, json={"user_id": user.json()["id"]})
    assert device.status_code == 201
    assert [channel["name"] for channel in device.json()["channels"]] == ["x", "y", "z"]
    sender = Sender(device.json()["id"], device.json()["key"])
    rows = random_rows(51, seed=1)
    post_rows(portal, sender, rows)

    asked = portal.request("GET", f"/devices/{sender.id}/analytics/", token=token)
    assert asked.status_code == 202
    assert asked.json() | {"progress": 0} == {
        "task_id": asked.json()["task_id"],
        "status": "PENDING",
        "progress": 0,
        "result": None,
        "error": None,
        "expires_at": None,
        "stale": False,
    }
    task = portal.wait_for_task(asked.json()["task_id"], token)
    assert (task["status"], task["progress"], task["error"]) == ("SUCCESS", 100, None)
    result = task["result"]
    assert result["device_id"] == sender.id
    assert {name: result[name] for name in XYZ} == summaries(portal, rows)
    assert result["x"]["median"] == statistics.median(row[0] for row in rows)


def test_task_of_a_post_is_the_task_of_a_get(portal: Portal, owner: Person, device: Sender) -> None:
    path = f"/devices/{device.id}/analytics/"
    posted = portal.request("POST", path, token=owner.token, json={"start": "2026-03-01T12:00:00+01:00"})
    assert posted.status_code == 202
    assert posted.json()["task_id"] == portal.ask(path, owner.token, start="2026-03-01T11:00:00Z")


def test_aggregate_pools_every_reading_of_all_devices(portal: Portal, owner: Person) -> None:
    """Three devices of very different size: a mean of their medians would be far off."""
    parts = [random_rows(1, seed=2), random_rows(20, seed=3), [(100.0 + i, 0.1, -1e-300) for i in range(7)]]
    devices = [portal.new_device(owner) for _ in parts]
    for device, rows in zip(devices, parts, strict=True):
        post_rows(portal, device, rows)
    result = portal.result(f"/users/{owner.id}/analytics/", owner.token)
    assert result["user_id"] == owner.id
    assert result["aggregate"] == summaries(portal, [row for rows in parts for row in rows])
    each = {device.id: summaries(portal, rows) for device, rows in zip(devices, parts, strict=True)}
    assert result["devices"] == each
    medians = [channels["x"]["median"] for channels in each.values()]
    assert result["aggregate"]["x"]["median"] != pytest.approx(statistics.mean(medians), rel=0.1)


def test_aggregate_pools_channels_by_name_over_profiles(portal: Portal, owner: Person) -> None:
    device, sensor = portal.new_device(owner), portal.new_device(owner, profile="scalar")
    portal.post_reading(device, x=1, y=2, z=3)
    portal.post_reading(sensor, value=4)
    result = portal.result(f"/users/{owner.id}/analytics/", owner.token)
    assert {name: channel["sum"] for name, channel in result["aggregate"].items()} == {
        "x": 1.0,
        "y": 2.0,
        "z": 3.0,
        "value": 4.0,
    }
    assert result["devices"][sensor.id]["value"]["median"] == 4.0


def test_same_question_about_unchanged_data_is_the_same_task(portal: Portal, owner: Person) -> None:
    device = portal.new_device(owner)
    portal.post_reading(device, x=1, y=2, z=3)
    for path in (f"/devices/{device.id}/analytics/", f"/users/{owner.id}/analytics/"):
        first = portal.ask(path, owner.token)
        portal.wait_for_task(first, owner.token)
        assert portal.ask(path, owner.token) == first
        assert portal.ask(path, portal.admin_token) == first
        assert portal.ask(path, owner.token, start="2026-01-01") != first
        portal.post_reading(device, x=1, y=2, z=3)
        second = portal.ask(path, owner.token)
        assert second != first
        assert portal.wait_for_task(second, owner.token)["result"] != portal.get(f"/tasks/{first}/")["result"]


def test_other_period_is_not_touched_by_a_new_reading(portal: Portal, owner: Person, device: Sender) -> None:
    path, march = f"/devices/{device.id}/analytics/", {"start": "2026-03-01", "end": "2026-04-01"}
    portal.post_reading(device, x=1, y=2, z=3, timestamp="2026-03-01T12:00:00Z")
    first = portal.ask(path, owner.token, **march)
    portal.wait_for_task(first, owner.token)
    portal.post_reading(device, x=1, y=2, z=3, timestamp="2026-04-01T00:00:00Z")
    assert portal.ask(path, owner.token, **march) == first


def test_new_device_with_as_many_readings_as_the_erased_one_is_new_data(
    portal: Portal, owner: Person
) -> None:
    path = f"/users/{owner.id}/analytics/"
    old = portal.new_device(owner)
    portal.post_reading(old, x=1, y=1, z=1)
    assert portal.result(path, owner.token)["aggregate"]["x"]["sum"] == 1.0
    portal.request("DELETE", f"/devices/{old.id}/", token=owner.token)
    new = portal.new_device(owner)
    portal.post_reading(new, x=2, y=2, z=2)
    result = portal.result(path, owner.token)
    assert result["aggregate"]["x"]["sum"] == 2.0
    assert list(result["devices"]) == [new.id]


def test_period_is_half_open(portal: Portal, owner: Person, device: Sender) -> None:
    post_rows(portal, device, [(float(2**i), 0, 0) for i in range(4)])
    start, end = NOON + timedelta(seconds=1), NOON + timedelta(seconds=3)
    bounds = {"start": stamp(start), "end": stamp(end)}
    result = portal.result(f"/devices/{device.id}/analytics/", owner.token, **bounds)
    assert (result["x"]["count"], result["x"]["sum"]) == (2, 2.0 + 4.0)
    assert {"start": result["start"], "end": result["end"]} == bounds
    listed = portal.get(f"/stats/{device.id}/", owner.token, params=bounds)
    assert [reading["x"] for reading in listed] == [4.0, 2.0]
    for end, count in ((NOON + timedelta(seconds=2), 1), (NOON + timedelta(seconds=2, microseconds=1), 2)):
        params = {"start": stamp(start), "end": stamp(end)}
        assert len(portal.get(f"/stats/{device.id}/", owner.token, params=params)) == count


def test_open_bounds_are_the_first_reading_and_now(portal: Portal, owner: Person, device: Sender) -> None:
    post_rows(portal, device, [(1, 2, 3), (4, 5, 6)])
    before = datetime.now(UTC)
    result = portal.result(f"/devices/{device.id}/analytics/", owner.token)
    assert result["start"] == stamp(NOON)
    assert before <= datetime.fromisoformat(result["end"]) <= datetime.now(UTC)
    assert result["x"]["count"] == 2


def test_reading_of_the_near_future_waits_outside_an_open_period(
    portal: Portal, owner: Person, device: Sender
) -> None:
    portal.post_reading(device, x=1, y=2, z=3)
    soon = datetime.now(UTC) + timedelta(minutes=4)
    portal.post_reading(device, x=1, y=2, z=3, timestamp=stamp(soon))
    path = f"/devices/{device.id}/analytics/"
    assert portal.result(path, owner.token)["x"]["count"] == 1
    assert portal.result(path, owner.token, end=stamp(soon + timedelta(minutes=1)))["x"]["count"] == 2


@pytest.mark.parametrize("has_readings", [True, False])
def test_empty_period_has_count_and_sum_zero_and_nulls(
    portal: Portal, owner: Person, device: Sender, has_readings: bool
) -> None:
    if has_readings:
        post_rows(portal, device, [(1, 2, 3)])
    nothing = {"count": 0, "sum": 0.0, "min": None, "max": None, "avg": None, "median": None}
    bounds = {"start": "2025-01-01T00:00:00Z", "end": "2025-02-01T00:00:00Z"}
    result = portal.result(f"/devices/{device.id}/analytics/", owner.token, **bounds)
    whole = {"device_id": device.id, **bounds, **dict.fromkeys(XYZ, nothing)}
    whole |= {"first": None, "last": None, "excluded": 0, "rows_read": 0, "segments_used": 0}
    assert {name: value for name, value in result.items() if name != "coverage"} == whole
    assert (result["coverage"]["gaps"], result["coverage"]["longest_gap"]["start"]) == (1, bounds["start"])
    result = portal.result(f"/users/{owner.id}/analytics/", owner.token, **bounds)
    assert result["aggregate"] == result["devices"][device.id] == dict.fromkeys(XYZ, nothing)


def test_user_without_devices_has_an_empty_result(portal: Portal, owner: Person) -> None:
    result = portal.result(f"/users/{owner.id}/analytics/", owner.token)
    assert (result["start"], result["aggregate"], result["devices"]) == (None, {}, {})


@pytest.mark.parametrize("path", ["/devices/{}/analytics/", "/tasks/{}/", "/stats/{}/", "/devices/{}/"])
def test_unknown_id_is_404_at_once(portal: Portal, path: str) -> None:
    response = portal.request("GET", path.format(uuid.uuid4()), token=portal.admin_token)
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"


def test_unknown_user_is_404_at_once(portal: Portal) -> None:
    for method, path in (("GET", "/users/987654321/analytics/"), ("GET", "/users/987654321/")):
        assert portal.request(method, path, token=portal.admin_token).status_code == 404
    posted = portal.request("POST", "/devices/", token=portal.admin_token, json={"user_id": 987654321})
    assert posted.status_code == 404


def test_trailing_slash_is_optional(portal: Portal, owner: Person, device: Sender) -> None:
    """Also where something is posted: a redirect would lose it."""
    portal.post_reading(device, x=1, y=2, z=3)
    task = portal.ask(f"/devices/{device.id}/analytics", owner.token)
    gets = ["/users", f"/users/{owner.id}", f"/users/{owner.id}/tokens", "/devices", f"/devices/{device.id}"]
    gets += [f"/devices/{device.id}/keys", "/stats", f"/stats/{device.id}", f"/tasks/{task}", "/schema"]
    portal.wait_for_task(task, owner.token)
    for path in gets:
        answers = [portal.request("GET", path + slash, token=owner.token) for slash in ("", "/")]
        assert [answer.status_code for answer in answers] == [200, 200], path
    new = {"user_id": owner.id}
    posts = [("/devices", new, 201), (f"/devices/{device.id}/keys", {}, 201)]
    posts += [
        (f"/users/{owner.id}/tokens", {}, 201),
        (f"/devices/{device.id}/stats", dict.fromkeys(XYZ, 1), 201),
    ]
    posts += [(f"/devices/{device.id}/analytics", {}, 202), (f"/users/{owner.id}/analytics", {}, 202)]
    for path, body, status in posts:
        for slash in ("", "/"):
            answer = portal.request("POST", path + slash, token=owner.token, json=body)
            assert answer.status_code == status, path + slash
    for slash in ("", "/"):
        token = portal.request("POST", f"/users/{owner.id}/tokens/", token=owner.token, json={}).json()[
            "prefix"
        ]
        key = portal.request("POST", f"/devices/{device.id}/keys/", token=owner.token, json={}).json()[
            "prefix"
        ]
        for path in (f"/users/{owner.id}/tokens/{token}", f"/devices/{device.id}/keys/{key}"):
            assert portal.request("DELETE", path + slash, token=owner.token).status_code == 204
        change = portal.request(
            "PATCH", f"/devices/{device.id}{slash}", token=owner.token, json={"name": slash}
        )
        assert change.status_code == 200
