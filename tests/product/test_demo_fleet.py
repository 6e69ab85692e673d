"""The demo's devices and the agent that posts for them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from config.demo import fleet
from config.demo.fleet import DEVICES, SEED
from config.demo.plausible import grid, plausible_values
from config.management.commands.agent import MOST_WAITING, AgentSender, Unreachable
from devices import storage
from devices.models import Device, DeviceKey
from devices.rhythm.habits import habits_of, state_of
from devices.timeline.periods import Period
from tests.support import factories
from tests.support.portal import Portal, free_port

NOW = datetime(2026, 11, 21, 12, 34, 56, 789, tzinfo=UTC)
HOUR = timedelta(hours=1)
CHANNELS = ["temperature", "humidity", "pressure"]


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(SEED)


def make_fleet() -> dict[str, Device]:
    factories.profile()
    factories.profile("scalar", ["value"])
    people = {login: factories.owner(login=login) for login in ("ada", "grace", "emmy")}
    fleet.create_devices(people | {"admin": factories.admin(login="admin")})
    fleet.store_missing_readings(NOW)
    return fleet.found_devices()


def states(at: datetime) -> dict[str, str]:
    devices = fleet.found_devices()
    latest = storage.current().latest([device.pk for device in devices.values()])
    habits = habits_of(devices.values())
    return {name: state_of(device, latest.get(device.pk), habits, at) for name, device in devices.items()}


@pytest.mark.django_db
def test_only_those_named_so_are_silent_or_new() -> None:
    make_fleet()
    found = states(NOW)
    assert len(found) == len(DEVICES) == 14
    assert [name for name, state in found.items() if state == "silent"] == [
        name for name in found if "(silent)" in name
    ]
    assert [name for name, state in found.items() if state == "new"] == ["Flow meter (new)"]
    assert sum("(silent)" in name for name in found) == 2
    assert {state for name, state in found.items() if "(" not in name} == {"on_time"}


@pytest.mark.django_db
def test_a_later_start_adds_what_is_missing_and_nothing_twice() -> None:
    devices = make_fleet()
    ids = {name: device.pk for name, device in devices.items()}
    before = storage.current().counts(list(ids.values()), Period())
    fleet.store_missing_readings(NOW)
    assert storage.current().counts(list(ids.values()), Period()) == before
    fleet.store_missing_readings(NOW + HOUR)
    after = storage.current().counts(list(ids.values()), Period())
    grown = {name: after[pk] - before[pk] for name, pk in ids.items()}
    assert (grown["Greenhouse north"], grown["Pump 1"]) == (60, 12)
    assert {grown[name] for name in grown if "(silent)" in name or "(new)" in name} == {0}
    assert states(NOW + HOUR)["Greenhouse north"] == "on_time"


@pytest.mark.django_db
def test_a_device_that_was_renamed_or_disabled_is_left_alone() -> None:
    devices = make_fleet()
    renamed, disabled = devices["Pump 1"], devices["Silo level"]
    Device.objects.filter(pk=renamed.pk).update(name="Mine")
    Device.objects.filter(pk=disabled.pk).update(is_active=False)
    before = storage.current().counts([renamed.pk, disabled.pk], Period())
    fleet.store_missing_readings(NOW + HOUR)
    assert storage.current().counts([renamed.pk, disabled.pk], Period()) == before


@pytest.mark.django_db
def test_each_start_gives_new_keys_and_deletes_its_old_ones_alone(tmp_path: Path) -> None:
    devices = make_fleet()
    own, _ = DeviceKey.issue(device=devices["Pump 1"])
    file = tmp_path / "agent.json"
    fleet.write_agent_keys(file)
    first = json.loads(file.read_text())
    assert file.stat().st_mode & 0o077 == 0
    # This computer, and all that post.
    assert [sender.get("name") for sender in first] == [
        None,
        *(demo.name for demo in DEVICES if demo.is_posting),
    ]
    fleet.write_agent_keys(file)
    second = json.loads(file.read_text())
    prefixes = {sender["key"].partition(".")[0] for sender in second} | {own.prefix}
    assert set(DeviceKey.objects.values_list("prefix", flat=True)) == prefixes


def test_courses_go_on_over_a_pause(random: np.random.Generator) -> None:
    times = grid("Cold store", 300, NOW.timestamp() - 3 * 86400, NOW.timestamp())
    values = plausible_values("Cold store", "temperature", times, random)
    again = plausible_values("Cold store", "temperature", times[-10:], random)
    assert np.abs(np.diff(values)).max() < 2
    assert np.abs(values[-10:] - again).max() < 1.5
    assert len({*np.diff(times).tolist()}) == 1


def test_agent_measures_each_moment_once(random: np.random.Generator) -> None:
    start = NOW.timestamp()
    sender = AgentSender("id", "key", "Cold store", CHANNELS, 60, measured_until=start)
    assert start < sender.due() <= start + 60
    for now in (start + 59, start + 61, start + 3600):
        sender.measure(now, random)
    stamps = [datetime.fromisoformat(reading["timestamp"]).timestamp() for reading in sender.waiting]
    assert stamps == grid("Cold store", 60, start, start + 3600).tolist()
    assert len(stamps) == 60
    assert sender.waiting[0].keys() == {"timestamp", *CHANNELS}


def test_agent_does_not_flood_after_a_pause(random: np.random.Generator) -> None:
    start = NOW.timestamp()
    sender = AgentSender("id", "key", "Cold store", CHANNELS, 60, measured_until=start)
    sender.measure(start + 30 * 86400, random)
    assert len(sender.waiting) == MOST_WAITING
    host = AgentSender("id", "key", "this computer", measured_until=start)
    host.measure(start + 86400, random)
    assert len(host.waiting) == 1


def test_agent_posts_what_waits_in_one_request(portal: Portal, random: np.random.Generator) -> None:
    device = portal.new_device(portal.new_user(), profile="scalar")
    now = datetime.now(UTC).timestamp()
    sender = AgentSender(device.id, device.key, "Gauge", ["value"], 60, measured_until=now - 600)
    sender.measure(now, random)
    # Without a server it keeps waiting.
    with pytest.raises(Unreachable):
        sender.send(f"http://127.0.0.1:{free_port()}", now)
    assert len(sender.waiting) == 10
    sender.send(portal.url, now)
    assert not sender.waiting
    assert len(portal.get(f"/stats/{device.id}/")) == 10


def test_refused_agent_does_not_end_and_tries_again_later(
    portal: Portal, random: np.random.Generator
) -> None:
    device = portal.new_device(portal.new_user(), profile="scalar", active=False)
    now = datetime.now(UTC).timestamp()
    sender = AgentSender(device.id, device.key, "Gauge", ["value"], 1, measured_until=now - 5)
    sender.measure(now, random)
    sender.send(portal.url, now)
    assert not sender.waiting
    assert sender.due() > now + 59
