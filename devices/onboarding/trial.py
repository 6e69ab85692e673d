"""A test reading, which the portal stores for a device before the device itself works."""

import json
from datetime import UTC, datetime
from typing import NamedTuple

from django.db import transaction

from devices import exclusions, limits
from devices.access.grants import Target
from devices.ingestion import intake
from devices.ingestion.group_commit import store_now
from devices.models import Device
from devices.onboarding.snippets import example_values
from devices.storage.interface import StoredReading

# The mark of such a reading: an exclusion has this reason.
REASON = "Test reading, sent from the Connect page"


class DeviceInactive(Exception):
    """An inactive device may not post, nor may the portal for it."""


class Trial(NamedTuple):
    time: datetime
    values: dict[str, float]


def send(device: Device, *, by: str, now: datetime, is_excluded: bool) -> Trial:
    """Store a reading of now as the device's posts are stored; `is_excluded` keeps it out of statistics.

    Only the reading made here is excluded, so an owner may do it, too.
    Raises DeviceInactive, InvalidItems, NotStored, LimitReached.
    """
    if not device.is_active:
        raise DeviceInactive("This device is inactive: it may not post.")
    if is_excluded:
        # Before the reading is stored, which would count otherwise.
        with transaction.atomic():
            limits.require_room_for_exclusion(device)
    time, values = now.astimezone(UTC), example_values(device)
    body = json.dumps(values | {"timestamp": time.isoformat()}).encode()
    taken = intake.take_one(Target.of(device), body, now)
    store_now(taken)
    if is_excluded:
        extent = exclusions.of_reading(device, time, list(values.values()))
        exclusions.make(device, extent, reason=REASON, by=by, now=now)
    return Trial(time, values)


def own_reading(device: Device, newest: list[StoredReading]) -> StoredReading | None:
    """The newest of these readings that is no excluded test reading."""
    trials = list(device.exclusions.in_force().filter(reason=REASON)[: len(newest)])
    return next((r for r in newest if not any(trial.covers(r) for trial in trials)), None)
