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
    known_zone,
    without_controls,
    zone_names,
)
from devices.models.profiles import Channel, DeviceProfile
from devices.storage.tables import Change, Reading, Rollup, Segment

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
    "zone_names",
]
