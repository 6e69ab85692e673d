"""The demo's devices, their readings of DAYS days, and the credentials with which the agent goes on posting.

Two devices are silent on purpose, one is new: they are named so. All others post on (`manage.py agent`).
"""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from config.demo.plausible import arriving, grid, plausible_values
from devices import storage
from devices.access.grants import Target
from devices.ingestion import intake
from devices.ingestion.group_commit import store_now
from devices.models import Device, DeviceKey, DeviceProfile
from devices.timeline.instants import UnixTimes
from users.models import User

SEED = 20_261_121
DAYS = 30
HOST = "host"
HOST_NAME = "This computer"
# Description, and the channels: name, unit, decimals.
PROFILES: dict[str, tuple[str, list[tuple[str, str, int | None]]]] = {
    HOST: ("Load averages of a computer.", [("load1", "", 2), ("load5", "", 2), ("load15", "", 2)]),
    "climate": (
        "Climate of a room.",
        [("temperature", "°C", None), ("humidity", "%", None), ("pressure", "hPa", None)],
    ),
}


class DemoDevice(NamedTuple):
    """`silent_days`: its last reading is so old; None for a device that posts on."""

    owner: str
    name: str
    profile: str
    zone: str
    seconds: int  # between readings; 0: no readings
    silent_days: int | None = None

    @property
    def is_posting(self) -> bool:
        return bool(self.seconds) and self.silent_days is None


DEVICES = (
    DemoDevice("ada", "Greenhouse north", "climate", "Europe/Berlin", 60),
    DemoDevice("ada", "Greenhouse south", "climate", "Europe/Berlin", 300),
    DemoDevice("ada", "Cold store", "climate", "Europe/Berlin", 300),
    DemoDevice("ada", "Pump 1", "xyz", "Europe/Berlin", 300),
    DemoDevice("grace", "Turbine bearing A", "xyz", "America/New_York", 60),
    DemoDevice("grace", "Turbine bearing B", "xyz", "America/New_York", 300),
    DemoDevice("grace", "Silo level", "scalar", "America/New_York", 300),
    DemoDevice("grace", "Control room", "climate", "America/New_York", 300),
    DemoDevice("emmy", "Bridge pier 1", "xyz", "Asia/Tokyo", 300),
    DemoDevice("emmy", "Bridge pier 2 (gaps)", "xyz", "Asia/Tokyo", 300),
    DemoDevice("emmy", "River gauge", "scalar", "Asia/Tokyo", 300),
    DemoDevice("emmy", "Spare sensor (silent)", "scalar", "Asia/Tokyo", 300, silent_days=2),
    DemoDevice("ada", "Old pump (silent)", "xyz", "Europe/Berlin", 60, silent_days=5),
    DemoDevice("grace", "Flow meter (new)", "scalar", "America/New_York", 0),
)


def create_devices(people: dict[str, User]) -> None:
    """Create profiles and devices, without readings. `people`: by login."""
    for name, (description, channels) in PROFILES.items():
        profile, _ = DeviceProfile.objects.get_or_create(name=name, defaults={"description": description})
        for position, (channel, unit, decimals) in enumerate(channels):
            profile.channels.create(position=position, name=channel, unit=unit, decimals=decimals)
    profiles = {profile.name: profile for profile in DeviceProfile.objects.all()}
    Device.objects.create(owner=people["admin"], profile=profiles[HOST], name=HOST_NAME)
    for demo in DEVICES:
        Device.objects.create(
            owner=people[demo.owner], profile=profiles[demo.profile], name=demo.name, time_zone=demo.zone
        )


def found_devices() -> dict[str, Device]:
    """The demo's devices that still are as they were made, by name."""
    named = Device.objects.filter(name__in=[demo.name for demo in DEVICES]).with_channels()
    made = {(demo.owner, demo.name, demo.profile) for demo in DEVICES}
    return {
        device.name: device
        for device in named.order_by("-pk")
        if (device.owner.login, device.name, device.profile.name) in made
    }


def store_missing_readings(now: datetime) -> None:
    """Store the readings of each device from its newest one, or of DAYS days, up to now or to its silence."""
    devices = found_devices()
    newest = storage.current().latest([device.pk for device in devices.values()])
    random = np.random.default_rng([SEED, int(now.timestamp())] if newest else SEED)
    for demo in DEVICES:
        device = devices.get(demo.name)
        if device is None or not demo.seconds or not device.is_active:
            continue
        reading = newest.get(device.pk)
        if reading is not None and not demo.is_posting:
            continue
        start = now - timedelta(days=DAYS)
        if reading is not None:
            start = max(start, reading.time)
        end = now - timedelta(days=demo.silent_days or 0)
        fill(device, demo, grid(demo.name, demo.seconds, start.timestamp(), end.timestamp()), random)


def fill(device: Device, demo: DemoDevice, times: np.ndarray, random: np.random.Generator) -> None:
    columns = [plausible_values(demo.name, channel.name, times, random) for channel in device.channels]
    stored = arriving(demo.name, len(times), random)
    if "(gaps)" in demo.name:
        stored[len(times) // 3 : len(times) // 3 + len(times) // 20] = False
    if stored.any():
        microseconds: UnixTimes = 1_000_000 * times[stored]
        store_now(intake.take_values(Target.of(device), microseconds, np.column_stack(columns)[stored]))


def write_agent_keys(path: Path) -> None:
    """Issue new keys for the devices that post, and write them to a file that only its owner may read.

    The keys of the file before are deleted. A sender without `channels` posts this computer's load.
    """
    delete_keys_of(path)
    host = Device.objects.filter(profile__name=HOST).order_by("pk").first()
    senders = [] if host is None else [sender(host)]
    devices = found_devices()
    for demo in DEVICES:
        device = devices.get(demo.name)
        if device is not None and demo.is_posting:
            channels = [channel.name for channel in device.channels]
            senders.append(sender(device, name=demo.name, channels=channels, seconds=demo.seconds))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(senders, file)


def sender(device: Device, **fields: object) -> dict[str, object]:
    _key, text = DeviceKey.issue(device=device)
    return {"device": str(device.uuid), "key": text, **fields}


def delete_keys_of(path: Path) -> None:
    try:
        senders = json.loads(path.read_text())
    except (OSError, ValueError):
        return
    # A demo before 0.3 wrote a single sender.
    known = senders if isinstance(senders, list) else [senders]
    prefixes = [each["key"].partition(".")[0] for each in known]
    DeviceKey.objects.filter(prefix__in=prefixes).delete()
