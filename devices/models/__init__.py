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
    known_zone,
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
    "known_zone",
    "zone_names",
]
