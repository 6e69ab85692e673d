"""Percentiles, buckets, coverage, exclusions, staleness and series, through HTTP on real processes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from tests.support.portal import Person, Portal, Sender
from tests.support.rows import stamp

BERLIN = ZoneInfo("Europe/Berlin")
LONG_AGO = datetime(1999, 3, 28, tzinfo=BERLIN).astimezone(UTC)  # clocks went forward on this day
SECOND = timedelta(seconds=1)


@pytest.fixture
def sensor(portal: Portal, owner: Person) -> Sender:
    return portal.new_device(owner, profile="scalar", time_zone="Europe/Berlin")


def path(sensor: Sender, rest: str = "analytics/") -> str:
    return f"/devices/{sensor.id}/{rest}"


def load(portal: Portal, sensor: Sender, values: Sequence[float], start: datetime = LONG_AGO) -> None:
    """Load one reading a minute."""
    first = start.astimezone(UTC)
    portal.load(sensor, ((first + 60 * SECOND * i, [value]) for i, value in enumerate(values)))


def percentiles(portal: Portal, values: Sequence[float], fractions: dict[str, float]) -> dict[str, float]:
    statement = (
        "SELECT percentile_cont(%s::float8[]) WITHIN GROUP (ORDER BY v) FROM unnest(%s::float8[]) AS v"
    )
    [(found,)] = portal.query(statement, list(fractions.values()), list(values))
    return dict(zip(fractions, found, strict=True))


def test_percentiles_are_those_of_postgresql(portal: Portal, owner: Person, sensor: Sender) -> None:
    values = [Random(4).gauss(0, 1e6) for _ in range(1000)]
    load(portal, sensor, values)
    result = portal.result(path(sensor), owner.token, percentiles="95,5,0,99.9,100")
    fractions = {"0": 0.0, "5": 0.05, "95": 0.95, "99.9": 0.999, "100": 1.0}
    assert result["value"]["percentiles"] == percentiles(portal, values, fractions)
    assert [*result["value"]["percentiles"]] == [*fractions]
    asked = portal.request(
        "POST", path(sensor), token=owner.token, json={"percentiles": [5, 95, 0, 99.9, 100]}
    )
    task = portal.wait_for_task(asked.json()["task_id"], owner.token)
    assert task["result"]["value"] == result["value"]


def test_fleets_percentiles_pool_every_reading(portal: Portal, owner: Person) -> None:
    parts = [[float(i) for i in range(100)], [1e6]]
    for values in parts:
        load(portal, portal.new_device(owner, profile="scalar"), values)
    result = portal.result(f"/users/{owner.id}/analytics/", owner.token, percentiles="25")
    assert result["aggregate"]["value"]["percentiles"] == percentiles(
        portal, [*parts[0], *parts[1]], {"25": 0.25}
    )
    assert len(result["details"]) == 2


def test_a_day_when_clocks_change_has_23_hours(portal: Portal, owner: Person, sensor: Sender) -> None:
    load(portal, sensor, [float(i) for i in range(48 * 60)])
    bounds = {"start": "1999-03-28", "end": "1999-03-30"}
    result = portal.result(path(sensor), owner.token, bucket="day", **bounds)
    first, second = result["buckets"]
    assert (first["seconds"], second["seconds"]) == (23 * 3600, 24 * 3600)
    assert (first["start"], first["end"]) == ("1999-03-27T23:00:00Z", "1999-03-28T22:00:00Z")
    assert (first["value"]["count"], second["value"]["count"]) == (23 * 60, 24 * 60)
    assert second["value"]["min"] == 23 * 60
    in_utc = portal.result(path(sensor), owner.token, bucket="day", time_zone="UTC", **bounds)
    assert [bucket["seconds"] / 3600 for bucket in in_utc["buckets"]] == [1, 24, 22]


def test_a_day_when_clocks_go_back_has_25_hours(portal: Portal, owner: Person, sensor: Sender) -> None:
    load(portal, sensor, [1.0] * (30 * 60), datetime(1999, 10, 31, tzinfo=BERLIN))
    bounds = {"start": "1999-10-31", "end": "1999-11-01"}
    [day] = portal.result(path(sensor), owner.token, bucket="day", **bounds)["buckets"]
    assert (day["seconds"], day["value"]["count"]) == (25 * 3600, 25 * 60)
    hours = portal.result(path(sensor), owner.token, bucket="hour", **bounds)["buckets"]
    assert [hour["value"]["count"] for hour in hours] == [60] * 25


def test_buckets_without_bounds_go_from_the_first_readings_day_to_now(
    portal: Portal, owner: Person, sensor: Sender
) -> None:
    now = datetime.now(UTC)
    portal.post_reading(sensor, value=1, timestamp=stamp(now - timedelta(days=2)))
    portal.post_reading(sensor, value=2, timestamp=stamp(now - timedelta(minutes=1)))
    result = portal.result(path(sensor), owner.token, bucket="day", time_zone="UTC")
    assert [bucket["value"]["count"] for bucket in result["buckets"]] in ([1, 0, 1], [1, 1, 0])
    assert result["buckets"][0]["start"].endswith("T00:00:00Z")
    assert result["buckets"][-1]["end"] == result["end"]


def test_buckets_of_a_fleet_pool_its_devices(portal: Portal, owner: Person) -> None:
    for value in (1.0, 2.0):
        load(
            portal,
            portal.new_device(owner, profile="scalar"),
            [value] * 120,
            datetime(1999, 5, 1, tzinfo=UTC),
        )
    bounds = {"start": "1999-05-01T00:00:00Z", "end": "1999-05-01T02:00:00Z"}
    result = portal.result(f"/users/{owner.id}/analytics/", owner.token, bucket="hour", **bounds)
    assert [(hour["value"]["count"], hour["value"]["median"]) for hour in result["buckets"]] == [
        (120, 1.5)
    ] * 2


def test_result_says_what_it_covers(portal: Portal, owner: Person, sensor: Sender) -> None:
    load(portal, sensor, [1.0] * 60)
    load(portal, sensor, [1.0] * 60, LONG_AGO + timedelta(hours=3))
    result = portal.result(path(sensor), owner.token, end=stamp(LONG_AGO + timedelta(hours=4)))
    assert (result["first"], result["last"]) == (
        stamp(LONG_AGO),
        stamp(LONG_AGO + timedelta(hours=4, minutes=-1)),
    )
    coverage = result["coverage"]
    assert (coverage["expected_seconds"], coverage["gaps"]) == (60, 1)
    assert 50 <= coverage["percent"] <= 51
    assert coverage["longest_gap"] == {
        "start": stamp(LONG_AGO + timedelta(minutes=59)),
        "end": stamp(LONG_AGO + timedelta(hours=3)),
        "seconds": 121 * 60,
    }
    assert result["rows_read"] + 10**6 * result["segments_used"] > 0


def test_excluded_readings_are_left_out_counted_and_come_back(
    portal: Portal, owner: Person, sensor: Sender
) -> None:
    load(portal, sensor, [1.0, 2.0, 3.0, 1000.0])
    first = portal.ask(path(sensor), owner.token)
    before = portal.wait_for_task(first, owner.token)
    assert before["stale"] is False
    reading = {"timestamp": stamp(LONG_AGO + timedelta(minutes=3)), "value": 1000.0}
    body = {"reading": reading, "reason": "Spike"}
    exclusion = portal.made(path(sensor, "exclusions/"), portal.admin_token, body)

    assert portal.get(f"/tasks/{first}/", owner.token) == before | {"stale": True}
    without = portal.result(path(sensor), owner.token)
    assert (without["value"]["count"], without["value"]["max"], without["excluded"]) == (3, 3.0, 1)
    assert len(portal.get(f"/stats/{sensor.id}/", owner.token)) == 4

    lift = path(sensor, f"exclusions/{exclusion['id']}/lift")
    assert portal.request("POST", lift, token=portal.admin_token).status_code == 200
    again = portal.result(path(sensor), owner.token)
    assert (again["value"], again["excluded"]) == (before["result"]["value"], 0)


def test_late_readings_of_an_excluded_period_are_left_out_too(
    portal: Portal, owner: Person, sensor: Sender
) -> None:
    period = {"start": "1999-03-01", "end": "1999-04-01", "reason": "Cleaning"}
    portal.made(path(sensor, "exclusions/"), portal.admin_token, period)
    load(portal, sensor, [1.0, 2.0])
    portal.post_reading(sensor, value=3, timestamp="1999-04-01T00:00:00")
    result = portal.result(path(sensor), owner.token)
    assert (result["value"]["count"], result["value"]["sum"], result["excluded"]) == (1, 3.0, 2)
    assert result["first"] == "1999-03-31T22:00:00Z"


def test_sensors_statistics_leave_excluded_readings_out(portal: Portal, owner: Person) -> None:
    rows = [(f"2026-03-01T12:00:0{i}Z", value) for i, value in enumerate((1.0, 2.0, 600.0))]
    body = [{"sensor": "boiler", "timestamp": time, "value": value} for time, value in rows]
    portal.made("/data", owner.token, body)
    [device] = portal.get("/devices/?search=boiler", owner.token)
    period = {"start": rows[2][0], "end": "2026-03-01T12:00:03Z", "reason": "Spike"}
    exclusion = portal.made(f"/devices/{device['id']}/exclusions/", portal.admin_token, period)
    seen = portal.get("/statistics/boiler", owner.token)
    assert seen == {"last_measurement": rows[1][0], "count": 2, "avg": 1.5}
    portal.request(
        "POST", f"/devices/{device['id']}/exclusions/{exclusion['id']}/lift", token=portal.admin_token
    )
    assert portal.get("/statistics/boiler", owner.token)["count"] == 3


CHANGES = ("late", "deleted", "excluded")


@pytest.mark.parametrize("change", CHANGES)
def test_a_stale_result_says_so_and_asking_again_computes(portal: Portal, owner: Person, change: str) -> None:
    portal.made("/data", owner.token, [{"sensor": change, "timestamp": "2026-03-01T12:00:00Z", "value": 1}])
    [device] = portal.get(f"/devices/?search={change}", owner.token)
    target = f"/devices/{device['id']}/analytics/"
    first = portal.ask(target, owner.token, percentiles="5")
    assert portal.wait_for_task(first, owner.token)["stale"] is False
    assert portal.ask(target, owner.token, percentiles="5.0") == first

    if change == "late":
        late = [{"sensor": change, "timestamp": "2026-02-01T12:00:00Z", "value": 1}]
        portal.made("/data", owner.token, late)
    elif change == "deleted":
        assert portal.request("DELETE", f"/statistics/{change}", token=owner.token).status_code == 204
    else:
        period = {"start": "2026-03-01", "end": "2026-03-02", "reason": "Cleaning"}
        portal.made(f"/devices/{device['id']}/exclusions/", portal.admin_token, period)

    assert portal.get(f"/tasks/{first}/", owner.token)["stale"] is True
    second = portal.ask(target, owner.token, percentiles="5")
    assert second != first
    done = portal.wait_for_task(second, owner.token)
    assert done["stale"] is False
    assert done["result"]["value"]["count"] == {"late": 2, "deleted": 0, "excluded": 0}[change]
    assert portal.ask(target, owner.token, percentiles="5") == second


# --- Series


def test_series_has_minimum_mean_and_maximum_of_columns(
    portal: Portal, owner: Person, sensor: Sender
) -> None:
    values = [float(i % 60) for i in range(600)]
    load(portal, sensor, values)
    bounds = {"start": stamp(LONG_AGO), "end": stamp(LONG_AGO + timedelta(hours=10))}
    series = portal.get(path(sensor, "series/"), owner.token, params={"points": 10, **bounds})
    assert {name: series[name] for name in ("device_id", "points", *bounds)} == {
        "device_id": sensor.id,
        "points": 10,
        **bounds,
    }
    assert series["count"] == [60] * 10
    assert series["channels"]["value"] == {"min": [0.0] * 10, "mean": [29.5] * 10, "max": [59.0] * 10}
    assert series["starts"] == [stamp(LONG_AGO + timedelta(hours=i)) for i in range(10)]
    assert series["ends"] == [stamp(LONG_AGO + timedelta(hours=i, minutes=59)) for i in range(10)]


def test_series_leaves_gaps_and_excluded_readings_out(portal: Portal, owner: Person, sensor: Sender) -> None:
    load(portal, sensor, [1.0, 2.0])
    load(portal, sensor, [3.0, 4000.0], LONG_AGO + timedelta(hours=5))
    spike = {"timestamp": stamp(LONG_AGO + timedelta(hours=5, minutes=1)), "value": 4000.0}
    portal.made(path(sensor, "exclusions/"), portal.admin_token, {"reading": spike, "reason": "Spike"})
    end = stamp(LONG_AGO + timedelta(hours=10))
    series = portal.get(path(sensor, "series/"), owner.token, params={"points": 10, "end": end})
    assert (series["start"], series["count"]) == (stamp(LONG_AGO), [2, 1])
    assert series["channels"]["value"]["max"] == [2.0, 3.0]


@pytest.mark.parametrize(
    "query",
    ["", "?start=9998-01-01", "?start=0001-01-01T00:00Z&end=9999-12-31T00:00Z&points=5000", "?points=1"],
)
def test_series_of_nothing_is_empty(portal: Portal, owner: Person, sensor: Sender, query: str) -> None:
    series = portal.get(path(sensor, "series/") + query, owner.token)
    assert (series["starts"], series["ends"], series["count"]) == ([], [], [])
    assert series["channels"] == {"value": {"min": [], "mean": [], "max": []}}


def test_series_over_all_of_time_has_its_readings(portal: Portal, owner: Person, sensor: Sender) -> None:
    load(portal, sensor, [1.0, 2.0])
    query = {"start": "0001-01-01T00:00Z", "end": "9999-12-31T00:00Z", "points": 5000}
    assert portal.get(path(sensor, "series/"), owner.token, params=query)["count"] == [2]
