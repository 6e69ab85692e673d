"""Changes of profiles. A profile in use keeps its channels: only their order tells stored values apart.

Django admin and the API share these rules.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from devices.models import Channel, DeviceProfile

# Made by a migration; devices are registered with them unless they ask for another.
BUILT_IN = ("xyz", "scalar")
# Of a channel in use these may change.
DESCRIPTIVE = ("unit", "kind", "minimum", "maximum", "decimals")


class ProfileFixed(Exception):
    """The profile is in use or built in, and does not allow this change."""


def is_built_in(profile: DeviceProfile) -> bool:
    return profile.name in BUILT_IN


def is_in_use(profile: DeviceProfile) -> bool:
    return profile.devices.exists()


def why_fixed(profile: DeviceProfile) -> str:
    """Why the profile may not be deleted, and keeps the names and the order of its channels; empty if not."""
    if is_built_in(profile):
        return f"The profile {profile} is built in."
    return f"Devices use the profile {profile}." if is_in_use(profile) else ""


@transaction.atomic
def create(fields: Mapping[str, Any], channels: Sequence[Channel]) -> DeviceProfile:
    profile = DeviceProfile.objects.create(**fields)
    add_channels(profile, channels)
    return profile


def change(profile: DeviceProfile, fields: Mapping[str, Any], channels: Sequence[Channel] | None) -> None:
    """Change a profile that the transaction has locked; None keeps its channels. Raises ProfileFixed."""
    if fields.get("name", profile.name) != profile.name and is_built_in(profile):
        raise ProfileFixed(f"The profile {profile} is built in and keeps its name.")
    if channels is not None:
        change_channels(profile, channels)
    for name, value in fields.items():
        setattr(profile, name, value)
    profile.save()


def change_channels(profile: DeviceProfile, channels: Sequence[Channel]) -> None:
    """Replace the channels, or of a fixed profile what describes them. Raises ProfileFixed."""
    current = list(profile.channels.all())
    if [channel.name for channel in channels] != [channel.name for channel in current]:
        reason = why_fixed(profile)
        if reason:
            raise ProfileFixed(f"{reason} Its channels keep their names and their order.")
        profile.channels.all().delete()
        add_channels(profile, channels)
        return
    for old, new in zip(current, channels, strict=True):
        for name in DESCRIPTIVE:
            setattr(old, name, getattr(new, name))
    Channel.objects.bulk_update(current, DESCRIPTIVE)


def add_channels(profile: DeviceProfile, channels: Sequence[Channel]) -> None:
    for position, channel in enumerate(channels):
        channel.profile, channel.position = profile, position
    Channel.objects.bulk_create(channels)


def delete(profile: DeviceProfile) -> None:
    """Delete a profile that the transaction has locked. Raises ProfileFixed."""
    reason = why_fixed(profile)
    if reason:
        raise ProfileFixed(f"{reason} It can't be deleted.")
    profile.delete()
