"""Grants: what a device key or token may post to, cached until something changes that the grant depends on.

One query every CHECK_SECONDS asks the database for changes, for the whole cache, and no grant is trusted for
longer than TRUSTED_SECONDS after it. So each device is looked up once, and a revocation still reaches every
process within five seconds.
"""

import math
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils import timezone

from devices.access.credential_cache import CacheEntry, CredentialCache, note_uses
from devices.access.credential_changes import Subject
from devices.models import Device, DeviceKey
from users.models import Scope, Token


class Target(NamedTuple):
    """A device as far as the checks of its readings need it."""

    device_id: int
    names: tuple[str, ...]
    # The smallest and the largest value allowed in each channel; infinite if there is no limit.
    minima: tuple[float, ...]
    maxima: tuple[float, ...]
    zone: ZoneInfo
    is_active: bool = True
    allows_future: bool = False
    uuid: UUID | None = None

    @classmethod
    def of(cls, device: Device) -> "Target":
        """Make the target of a device that was read `with_channels`."""
        channels = device.channels
        return cls(
            device.pk,
            tuple(channel.name for channel in channels),
            tuple(-math.inf if channel.minimum is None else channel.minimum for channel in channels),
            tuple(math.inf if channel.maximum is None else channel.maximum for channel in channels),
            device.zone,
            device.is_active,
            device.profile.allows_future,
            device.uuid,
        )


class Grant(NamedTuple):
    """Permission to post as `holder`: for one device or, without a target, for the sensors of a user."""

    holder: str
    target: Target | None
    user_id: int | None


# The Authorization header, and the device or, for readings of sensors, None.
GrantKey = tuple[bytes, UUID | None]
# A keyword of the header, the model of its credentials, their related rows, and what they allow.
Kind = tuple[str, type[DeviceKey | Token], tuple[str, ...], Callable[[Any], dict[GrantKey, Grant]]]
# Grants by GrantKey, and the targets of sensors by (user's id, sensor).
cache = CredentialCache()


def find_grant(grant_key: GrantKey) -> Grant | None:
    """Find the grant, cached or not. None: REST framework's authentication decides. Raises DatabaseError."""
    found, is_due = cache.find(grant_key)
    return look_up_grants([grant_key]).get(grant_key) if found is None or is_due else found


def look_up_grants(grant_keys: Collection[GrantKey]) -> dict[GrantKey, Grant]:
    """Look up and cache grants: many cost no more queries than one. Raises DatabaseError.

    Active devices with a valid key, and active users with a valid token, have a grant. For all other requests
    REST framework's authentication finds the error.
    """
    cache.confirm()
    generation, now = cache.begin(), timezone.now()
    grants = {grant_key: cache.get(grant_key) for grant_key in grant_keys}
    entries = entries_of([grant_key for grant_key, grant in grants.items() if grant is None], now)
    for grant_key, entry in entries.items():
        cache.put(grant_key, entry, generation)
        grants[grant_key] = entry.value
    used = [cache.entries.get(grant_key) for grant_key in grant_keys]
    note_uses([entry for entry in used if entry is not None], now)
    return {grant_key: grant for grant_key, grant in grants.items() if grant is not None}


def entries_of(grant_keys: Collection[GrantKey], now: datetime) -> dict[GrantKey, CacheEntry]:
    entries: dict[GrantKey, CacheEntry] = {}
    kinds: tuple[Kind, ...] = (
        ("device", DeviceKey, (), device_grants),
        ("token", Token, ("user",), token_grants),
    )
    for keyword, kind, related, allowed in kinds:
        texts = {grant_key: credential_text(grant_key, keyword) for grant_key in grant_keys}
        texts = {grant_key: text for grant_key, text in texts.items() if text}
        credentials = kind.find_all(texts.values(), now, *related) if texts else {}
        credentials_by_key = {
            grant_key: credentials[text] for grant_key, text in texts.items() if text in credentials
        }
        grants = allowed(credentials_by_key) if credentials_by_key else {}
        entries |= {
            grant_key: entry_of(grant, credentials_by_key[grant_key], now)
            for grant_key, grant in grants.items()
        }
    return entries


def entry_of(grant: Grant, credential: DeviceKey | Token, now: datetime) -> CacheEntry:
    subjects: list[Subject] = []
    if grant.target is not None:
        subjects.append(("device", grant.target.device_id))
    if grant.user_id is not None:
        subjects.append(("user", grant.user_id))
    end = credential.expires_at
    expires_at = math.inf if end is None else time.monotonic() + (end - now).total_seconds()
    return CacheEntry(grant, tuple(subjects), expires_at, (type(credential), credential.pk))


def credential_text(grant_key: GrantKey, keyword: str) -> str:
    """Return the credential in the header; empty if the header has another keyword."""
    first, _, text = grant_key[0].decode("latin-1").strip().partition(" ")
    return text.strip() if first.lower() == keyword else ""


def device_grants(keys: Mapping[GrantKey, DeviceKey]) -> dict[GrantKey, Grant]:
    devices = Device.objects.with_channels().filter(is_active=True)
    found = devices.in_bulk({key.device_id for key in keys.values()})
    return {
        grant_key: Grant(holder_of(key), Target.of(found[key.device_id]), None)
        for grant_key, key in keys.items()
        if key.device_id in found and found[key.device_id].uuid == grant_key[1]
    }


def token_grants(tokens: Mapping[GrantKey, Token]) -> dict[GrantKey, Grant]:
    able = {
        key: token for key, token in tokens.items() if token.user.is_active and Scope.INGEST in token.scopes
    }
    grants = {
        key: Grant(holder_of(token), None, token.user_id) for key, token in able.items() if key[1] is None
    }
    for user in {token.user for token in able.values()}:
        own = [key for key, token in able.items() if token.user == user and key[1] is not None]
        devices = Device.objects.visible_to(user).with_channels().filter(is_active=True)
        found = devices.in_bulk({uuid for _, uuid in own}, field_name="uuid")
        grants |= {
            key: Grant(holder_of(able[key]), Target.of(found[key[1]]), user.pk)
            for key in own
            if key[1] in found
        }
    return grants


def holder_of(credential: DeviceKey | Token) -> str:
    """Name the device or user whose Idempotency-Keys and rate all of its credentials share."""
    if isinstance(credential, DeviceKey):
        return f"device:{credential.device_id}"
    return f"user:{credential.user_id}"
