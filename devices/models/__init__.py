"""The models of `devices`: Django looks for them here."""

from devices.models.devices import (
    Device,
    DeviceKey,
    DeviceQuerySet,
    Erasure,
    Exclusion,
    ExclusionQuerySet,
    IdempotencyKey,
    Import,
    is_control,
    without_controls,
)
from devices.models.profiles import Channel, DeviceProfile
from devices.storage.tables import Change, Reading, Rollup, Segment

# Migrations name it as one of this module.
from users.zones import known_zone

__all__ = [
    "Change",
    "Channel",
    "Device",
    "DeviceKey",
    "DeviceProfile",
    "DeviceQuerySet",
    "Erasure",
    "Exclusion",
    "ExclusionQuerySet",
    "IdempotencyKey",
    "Import",
    "Reading",
    "Rollup",
    "Segment",
    "is_control",
    "known_zone",
    "without_controls",
]
