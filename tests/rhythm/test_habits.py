"""What readings teach of a device: its interval, its decimals, and so its state."""

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from devices.rhythm.habits import KEPT_SECONDS, READINGS, cache_key, habits_of
from tests.support import factories
from tests.support.factories import NOON
from users.redis_cache import remember

pytestmark = pytest.mark.django_db


def send(device: Device, rows: list[list[float]], seconds: float, last: datetime = NOON) -> None:
    """Store readings of this interval, the last one at `last`."""
    start = last - timedelta(seconds=seconds * (len(rows) - 1))
    factories.append(
        (device.pk, start + timedelta(seconds=seconds * number), row) for number, row in enumerate(rows)
    )


def loaded(device: Device) -> Device:
    return Device.objects.with_channels().get(pk=device.pk)


def habits(device: Device) -> tuple[float, list[int | None]]:
    return tuple(habits_of([loaded(device)])[device.pk])  # type: ignore[return-value]  # a named tuple


def test_interval_and_decimals_are_those_of_the_newest_readings() -> None:
    device = factories.device()
    send(device, [[0.12345, 1, 1]] * 5, 1, NOON - timedelta(days=1))
    send(device, [[20.5, 3.0, 1e-7], [20.25, 4.0, 0.5]] * (READINGS // 2), 60)
    assert habits(device) == (60.0, [2, 0, 7])


def test_pause_does_not_change_the_interval() -> None:
    device = factories.device()
    send(device, [[1, 1, 1]] * 5, 60, NOON - timedelta(hours=9))
    send(device, [[1, 1, 1]] * 5, 60)
    assert habits(device)[0] == 60


def test_nothing_is_known_of_a_device_without_readings() -> None:
    assert habits(factories.device()) == (300.0, [None] * 3)


def test_what_is_declared_is_not_learnt() -> None:
    device = factories.device(profile=factories.profile("declared", ["level"]))
    send(device, [[0.125], [0.25]], 60)
    device.profile.channels.update(decimals=1)
    device.profile.expected_interval_seconds = 30
    device.profile.save()
    with CaptureQueriesContext(connection) as captured:
        known = loaded(device)
        loading = len(captured)
        assert habits_of([known])[device.pk] == (30.0, [1])
        assert len(captured) == loading
    Device.objects.filter(pk=device.pk).update(expected_interval_seconds=5)
    assert habits(device) == (5.0, [1])


def test_one_query_teaches_many_devices_and_the_cache_spares_it() -> None:
    devices = [factories.device() for _ in range(10)]
    for device in devices:
        send(device, [[1.5, 2, 3]] * READINGS, 60)
    listed = list(Device.objects.with_channels())
    with CaptureQueriesContext(connection) as captured:
        first = habits_of(listed)
    assert len(captured) == 1
    with CaptureQueriesContext(connection) as captured:
        assert habits_of(listed) == first
    assert len(captured) == 0


def test_first_readings_are_learnt_at_once() -> None:
    device = factories.device()
    for row, decimals in (([20.0, 1, 1], 0), ([20.55, 1, 1], 2)):
        send(device, [row], 60, NOON + timedelta(minutes=decimals))
        assert habits(device)[1][0] == decimals


@pytest.mark.parametrize("strange", ["text", 7, [1], [1, 2, 3], ["a", [1]], {"a": 1}])
def test_what_somebody_else_wrote_into_the_cache_is_a_miss(strange: object) -> None:
    device = factories.device()
    send(device, [[0.5, 1, 1]] * 5, 60)
    remember(cache_key(device.pk), strange, KEPT_SECONDS)
    assert habits(device) == (60.0, [1, 0, 0])
