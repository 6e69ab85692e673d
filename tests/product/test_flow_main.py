"""From posting readings to their statistics, over HTTP, with the product's own processes."""

import math
import statistics
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from tests.support.portal import Person, Portal, Sender, eventually

XYZ = ("x", "y", "z")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG_AGO = datetime(1999, 5, 17, 8, tzinfo=UTC)
ERASE_SECONDS = 30


@pytest.fixture
def owner(portal: Portal) -> Person:
    return portal.new_user()


@pytest.fixture
def device(portal: Portal, owner: Person) -> Sender:
    return portal.new_device(owner)


def stamp(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


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


def post_rows(
    portal: Portal, device: Sender, rows: Iterable[Sequence[float]], start: datetime = NOON
) -> None:
    """Post a reading for each second."""
    for second, row in enumerate(rows):
        time = stamp(start + timedelta(seconds=second))
        portal.post_reading(device, **dict(zip(XYZ, row, strict=True)), timestamp=time)


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


def pages(portal: Portal, path: str, token: str, **params: Any) -> list[list[dict]]:
    """Every page, by the `next` of the `Link` header."""
    response = portal.request("GET", path, token=token, params=params)
    found = []
    while True:
        assert response.status_code == 200, response.text
        found.append(response.json())
        if "next" not in response.links:
            return found
        assert len(found) < 100
        response = portal.request("GET", response.links["next"]["url"], token=token)


def test_pages_of_readings_lose_and_repeat_nothing(portal: Portal, owner: Person) -> None:
    """Two devices, two partitions, and hundreds of readings of one and the same stamp."""
    devices = [portal.new_device(owner), portal.new_device(owner)]
    for device in devices:
        portal.load(device, [(LONG_AGO, (i, 0, 0)) for i in range(200)])
        portal.load(device, [(LONG_AGO + timedelta(seconds=i), (1000 + i, 0, 0)) for i in range(50)])
        post_rows(portal, device, [(2000 + i, 0, 0) for i in range(5)])
    everything = {*range(200), *range(1000, 1050), *range(2000, 2005)}
    for device in devices:
        one = pages(portal, f"/stats/{device.id}", owner.token, limit=32)
        assert [len(page) for page in one] == [32] * 7 + [31]
        assert sorted(reading["x"] for page in one for reading in page) == sorted(everything)
    both = [reading for page in pages(portal, "/stats/", owner.token, limit=99) for reading in page]
    seen = {(reading["device_id"], reading["x"]) for reading in both}
    assert len(both) == len(seen) == 2 * len(everything)
    times = [reading["timestamp"] for reading in both]
    assert times == sorted(times, reverse=True)


def test_readings_that_come_in_meanwhile_do_not_shift_the_pages(portal: Portal, owner: Person) -> None:
    device = portal.new_device(owner)
    portal.load(device, [(LONG_AGO, (i, 0, 0)) for i in range(20)])
    first = portal.request("GET", f"/stats/{device.id}/", token=owner.token, params={"limit": 10})
    post_rows(portal, device, [(-1, 0, 0), (-2, 0, 0)])
    rest = portal.get(first.links["next"]["url"], owner.token)
    assert sorted(reading["x"] for reading in first.json() + rest) == list(range(20))


def test_page_that_is_just_full_is_the_last(portal: Portal, owner: Person, device: Sender) -> None:
    portal.load(device, [(LONG_AGO, (i, 0, 0)) for i in range(10)])
    assert len(pages(portal, f"/stats/{device.id}/", owner.token, limit=5)) == 2
    response = portal.request("GET", f"/stats/{device.id}/", token=owner.token, params={"limit": 10})
    assert set(response.links) == {"first"}


def test_pages_keep_the_period(portal: Portal, owner: Person, device: Sender) -> None:
    portal.load(device, [(LONG_AGO + timedelta(seconds=i), (i, 0, 0)) for i in range(30)])
    bounds = {
        "start": stamp(LONG_AGO + timedelta(seconds=10)),
        "end": stamp(LONG_AGO + timedelta(seconds=20)),
    }
    found = pages(portal, f"/stats/{device.id}/", owner.token, limit=4, **bounds)
    assert [reading["x"] for page in found for reading in page] == list(range(19, 9, -1))


def test_devices_and_users_are_paged_with_links_and_a_count(portal: Portal, owner: Person) -> None:
    ids = [portal.new_device(owner).id for _ in range(5)]
    path = f"/devices/?user={owner.id}&limit=2"
    response = portal.request("GET", path, token=owner.token)
    assert response.headers["X-Total-Count"] == "5"
    assert {"first", "next"} <= set(response.links)
    found = pages(portal, path, owner.token)
    assert [device["id"] for page in found for device in page] == ids
    second = portal.request("GET", response.links["next"]["url"], token=owner.token)
    back = portal.request("GET", second.links["prev"]["url"], token=owner.token)
    assert back.json() == response.json()
    portal.new_user()
    users = [user["id"] for page in pages(portal, "/users/", portal.admin_token, limit=1) for user in page]
    assert len(users) == len(set(users)) >= 3


@pytest.mark.parametrize(
    ("zone", "text", "utc"),
    [
        ("Europe/Berlin", "2026-07-01T12:00:00", "2026-07-01T10:00:00Z"),
        ("Europe/Berlin", "2026-01-01T12:00:00.000001", "2026-01-01T11:00:00.000001Z"),
        ("America/New_York", "2026-01-01", "2026-01-01T05:00:00Z"),
        ("UTC", "2026-01-01 12:00", "2026-01-01T12:00:00Z"),
    ],
)
def test_naive_stamp_is_read_in_the_devices_zone(
    portal: Portal, owner: Person, zone: str, text: str, utc: str
) -> None:
    device = portal.new_device(owner, time_zone=zone)
    assert portal.post_reading(device, x=1, y=2, z=3, timestamp=text) == {
        "status": "ok",
        "assumed_timezone": zone,
    }
    [reading] = portal.get(f"/stats/{device.id}/", owner.token)
    assert reading == {"device_id": device.id, "timestamp": utc, "x": 1.0, "y": 2.0, "z": 3.0}
    assert portal.get(f"/stats/{device.id}/", owner.token, params={"start": text}) == [reading]
    assert portal.result(f"/devices/{device.id}/analytics/", owner.token, start=text)["start"] == utc


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-01T12:00:00+05:30", "2026-01-01T06:30:00Z"),
        ("2026-01-01T00:00:00.123456-11:00", "2026-01-01T11:00:00.123456Z"),
        ("2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:00.000001Z"),
        ("2026-01-01T00:00:00.999999z", "2026-01-01T00:00:00.999999Z"),
    ],
)
def test_stamp_with_an_offset_is_kept_to_the_microsecond(
    portal: Portal, owner: Person, text: str, utc: str
) -> None:
    device = portal.new_device(owner, time_zone="Asia/Tokyo")
    assert portal.post_reading(device, x=1, y=2, z=3, timestamp=text) == {"status": "ok"}
    assert portal.get(f"/stats/{device.id}/", owner.token)[0]["timestamp"] == utc


def test_reading_without_a_stamp_is_of_now(portal: Portal, owner: Person, device: Sender) -> None:
    before = datetime.now(UTC)
    portal.post_reading(device, x=1, y=2, z=3)
    [reading] = portal.get(f"/stats/{device.id}/", owner.token)
    assert before <= datetime.fromisoformat(reading["timestamp"]) <= datetime.now(UTC)


@pytest.mark.parametrize("value", [5e-324, -0.0, 1.7976931348623157e308, 0.1, 2**53 - 1, 12345678901234567])
def test_number_comes_back_as_it_went_in(portal: Portal, owner: Person, device: Sender, value: float) -> None:
    portal.post_reading(device, x=value, y=0, z=0)
    [reading] = portal.get(f"/stats/{device.id}/", owner.token)
    assert (reading["x"], math.copysign(1, reading["x"])) == (float(value), math.copysign(1, value))


def test_two_readings_with_the_same_stamp_are_two(portal: Portal, owner: Person, device: Sender) -> None:
    for _ in range(2):
        portal.post_reading(device, x=1, y=2, z=3, timestamp="2026-03-01T12:00:00Z")
    assert portal.result(f"/devices/{device.id}/analytics/", owner.token)["x"]["count"] == 2
    assert len(portal.get(f"/stats/{device.id}/", owner.token)) == 2


def test_device_shows_its_last_reading_and_whether_it_is_online(
    portal: Portal, owner: Person, device: Sender
) -> None:
    path = f"/devices/{device.id}/"
    assert (portal.get(path)["last_reading"], portal.get(path)["online"]) == (None, False)
    portal.post_reading(device, x=1, y=2, z=3, timestamp="2026-03-01T12:00:00Z")
    assert portal.get(path)["online"] is False
    portal.post_reading(device, x=4, y=5, z=6)
    portal.post_reading(device, x=7, y=8, z=9, timestamp="2026-03-01T12:00:01Z")
    shown = portal.get(path)
    assert (shown["last_reading"]["x"], shown["online"]) == (4.0, True)


def test_devices_are_filtered(portal: Portal, owner: Person) -> None:
    pump = portal.new_device(owner, name="Pump", external_id="p-1")
    sensor = portal.new_device(owner, profile="scalar", name="Gauge", active=False)
    portal.post_reading(pump, x=1, y=2, z=3)
    for query, found in (
        ("search=pUMp", pump),
        ("search=P-1", pump),
        (f"search={sensor.id}", sensor),
        ("profile=scalar", sensor),
        ("active=false", sensor),
        ("active=true", pump),
        ("online=true", pump),
        ("online=false", sensor),
    ):
        listed = portal.get(f"/devices/?user={owner.id}&{query}")
        assert [device["id"] for device in listed] == [found.id], query


def test_inactive_device_may_not_post(portal: Portal, owner: Person, device: Sender) -> None:
    portal.request("PATCH", f"/devices/{device.id}/", token=owner.token, json={"active": False})
    refused = portal.request(
        "POST", f"/devices/{device.id}/stats/", device_key=device.key, json=dict.fromkeys(XYZ, 1)
    )
    assert refused.status_code == 403
    assert portal.get(f"/stats/{device.id}/") == []


def test_rotated_key_overlaps_for_as_long_as_asked(portal: Portal, owner: Person, device: Sender) -> None:
    path = f"/devices/{device.id}/keys/"
    new = portal.made(path, owner.token, {"overlap_seconds": 3600})
    posted = {"json": dict.fromkeys(XYZ, 1)}
    stats = f"/devices/{device.id}/stats/"
    assert portal.request("POST", stats, device_key=device.key, **posted).status_code == 201
    newest = portal.made(path, owner.token, {"overlap_seconds": 0})
    for old in (device.key, new["key"]):
        assert portal.request("POST", stats, device_key=old, **posted).status_code == 401
    assert portal.request("POST", stats, device_key=newest["key"], **posted).status_code == 201
    listed = portal.get(path, owner.token)
    assert {key["prefix"] for key in listed} >= {new["prefix"], newest["prefix"]}
    assert all("key" not in key for key in listed)


def test_deleted_device_is_gone_at_once_and_its_readings_soon(
    portal: Portal, owner: Person, device: Sender
) -> None:
    post_rows(portal, device, [(1, 2, 3)])
    portal.load(device, [(LONG_AGO, (i, 0, 0)) for i in range(25_000)])
    task = portal.ask(f"/devices/{device.id}/analytics/", owner.token)
    [(number,)] = portal.query("SELECT id FROM devices_device WHERE uuid = %s", device.id)
    assert portal.request("DELETE", f"/devices/{device.id}/", token=owner.token).status_code == 204
    for path in (f"/devices/{device.id}/", f"/stats/{device.id}/", f"/tasks/{task}/"):
        assert portal.request("GET", path, token=owner.token).status_code == 404
    assert portal.get("/stats/", owner.token) == []
    posted = portal.request(
        "POST", f"/devices/{device.id}/stats/", device_key=device.key, json=dict.fromkeys(XYZ, 1)
    )
    assert posted.status_code == 401
    # Beat would start it within the minute.
    portal.manage("shell", "--command", "from devices.tasks import erase_readings; erase_readings.delay()")
    left = "SELECT count(*) FROM devices_reading WHERE device_id = %s"
    eventually(lambda: portal.query(left, number) == [(0,)], seconds=ERASE_SECONDS)


def test_user_with_devices_is_deactivated(portal: Portal, owner: Person, device: Sender) -> None:
    portal.post_reading(device, x=1, y=2, z=3)
    assert portal.request("DELETE", f"/users/{owner.id}/", token=portal.admin_token).status_code == 204
    assert portal.get(f"/users/{owner.id}/")["active"] is False
    assert len(portal.get(f"/stats/{device.id}/")) == 1
    assert portal.request("GET", "/devices/", token=owner.token).status_code == 401


def test_user_without_devices_is_erased(portal: Portal, owner: Person) -> None:
    assert portal.request("DELETE", f"/users/{owner.id}/", token=portal.admin_token).status_code == 204
    assert portal.request("GET", f"/users/{owner.id}/", token=portal.admin_token).status_code == 404
    assert portal.request("GET", "/devices/", token=owner.token).status_code == 401


def test_purge_erases_a_user_with_devices_and_readings(portal: Portal, owner: Person, device: Sender) -> None:
    portal.post_reading(device, x=1, y=2, z=3)
    path = f"/users/{owner.id}/?purge=true"
    assert portal.request("DELETE", path, token=portal.admin_token).status_code == 204
    for gone in (f"/users/{owner.id}/", f"/devices/{device.id}/", f"/stats/{device.id}/"):
        assert portal.request("GET", gone, token=portal.admin_token).status_code == 404
    assert portal.get(f"/devices/?search={device.id}") == []
