"""Devices found by their state, which for each is the one that its own page shows."""

import random
from datetime import timedelta

import pytest
from django.core.cache import caches
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device, DeviceProfile
from devices.rhythm.fleet import devices_in_state
from devices.rhythm.habits import READINGS, habits_of, state_of
from devices.rhythm.state import State
from devices.storage.interface import Storage
from tests.rhythm.test_habits import send
from tests.support import factories
from tests.support.factories import NOON

pytestmark = pytest.mark.django_db
DEVICES = 120


@pytest.fixture(autouse=True)
def nothing_is_kept() -> None:
    """Devices of the portal may have the same ids, and Redis keeps what was learnt of them."""
    caches["redis"].clear()


def test_devices_are_found_by_their_state() -> None:
    made = {
        State.NEW: factories.device(),
        State.ON_TIME: factories.device(),
        State.LATE: factories.device(),
        State.SILENT: factories.device(),
        State.DISABLED: factories.device(is_active=False),
    }
    send(made[State.ON_TIME], [[1, 1, 1]] * 5, 3600, NOON - timedelta(seconds=5000))
    send(made[State.LATE], [[1, 1, 1]] * 5, 60, NOON - timedelta(seconds=100))
    send(made[State.SILENT], [[1, 1, 1]] * 5, 1, NOON - timedelta(seconds=100))
    send(made[State.DISABLED], [[1, 1, 1]] * 5, 60)
    for state, device in made.items():
        assert list(devices_in_state(Device.objects.all(), state, NOON)) == [device], state


def add_random_device(chance: random.Random) -> None:
    device = factories.device(
        is_active=chance.random() > 0.1,
        expected_interval_seconds=chance.choice([None, None, None, 0.5, 60]),
        profile=factories.profile(chance.choice(["undeclared", "declared"]), ["level"]),
    )
    # Zero makes readings of one time.
    intervals = [chance.choice([0, 0.001, 7, 60, 3600]) for _ in range(chance.randint(0, READINGS + 5))]
    age, readings = chance.choice([0, 1, 100, 40_000]) * chance.random(), []
    for interval in intervals:
        readings.append((device.pk, NOON - timedelta(seconds=age), [20.5]))
        age += interval * chance.random()
    factories.append(readings)


def states_one_by_one() -> dict[int, State]:
    devices = list(Device.objects.with_channels())
    newest = {device.pk: next(iter(device.newest_readings(1)), None) for device in devices}
    habits = habits_of(devices)
    return {device.pk: state_of(device, newest[device.pk], habits, NOON) for device in devices}


def test_random_devices_are_found_by_the_states_that_each_has(kept: Storage) -> None:
    chance = random.Random(13)
    for _ in range(DEVICES):
        add_random_device(chance)
    DeviceProfile.objects.filter(name="declared").update(expected_interval_seconds=600)
    expected = states_one_by_one()
    assert set(expected.values()) == set(State)
    for state in State:
        found = {device.pk for device in devices_in_state(Device.objects.with_channels(), state, NOON)}
        assert found == {pk for pk, each in expected.items() if each == state}, state


def test_queries_do_not_grow_with_the_devices() -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert devices_in_state(Device.objects.all(), State.SILENT, NOON).exists()
        return len(captured)

    counts = []
    for _ in range(2):
        for _ in range(10):
            send(factories.device(), [[1, 1, 1]] * 3, 1, NOON - timedelta(days=1))
        counts.append(queries())
    assert counts[0] == counts[1]


def test_only_devices_of_the_list_are_found() -> None:
    seen, hidden = factories.device(), factories.device()
    assert list(devices_in_state(Device.objects.visible_to(seen.owner), State.NEW, NOON)) == [seen]
    assert not devices_in_state(Device.objects.visible_to(seen.owner), State.LATE, NOON).exists()
    assert hidden in devices_in_state(Device.objects.all(), State.NEW, NOON)
