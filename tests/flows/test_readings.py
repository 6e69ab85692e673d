"""Readings come back as they were posted, over HTTP: timestamps, time zones, numbers."""

import math
from datetime import UTC, datetime

import pytest

from tests.support.portal import Person, Portal, Sender


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
