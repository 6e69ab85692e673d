"""What a credential may post to, kept as long as nothing is changed that it depends on.

The database is asked every few seconds whether anything was: one question for all that is kept. So each
device is looked up once, and a revocation still reaches every process within five seconds.
"""

import math
import time
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils import timezone

from devices.access.credential_cache import (
    CacheEntry,
    CredentialCache,
    note_uses,
)
from devices.access.credential_changes import Subject
from devices.models import Device, DeviceKey
from users.models import Credential, Scope, Token


class Target(NamedTuple):
    """What taking a device's readings needs to know of it."""

    device_id: int
    names: tuple[str, ...]
    # Of each channel the smallest and the largest value allowed; infinite where any is.
    minima: tuple[float, ...]
    maxima: tuple[float, ...]
    zone: ZoneInfo
    is_active: bool = True
    allows_future: bool = False

    @classmethod
    def of(cls, device: Device) -> "Target":
        """Of a device read `with_channels`."""
        channels = device.channels
        return cls(
            device.pk,
            tuple(channel.name for channel in channels),
            tuple(-math.inf if channel.minimum is None else channel.minimum for channel in channels),
            tuple(math.inf if channel.maximum is None else channel.maximum for channel in channels),
            device.zone,
            device.is_active,
            device.profile.allows_future,
        )


class Grant(NamedTuple):
    """Leave to post as `holder`: for one device or, without a target, for the sensors of a user."""

    holder: str
    target: Target | None
    user_id: int | None


# The Authorization header and, unless readings of sensors are to be posted, the device; or a user's id and a
# sensor.
GrantKey = tuple[bytes, UUID | None]
cache = CredentialCache()


def find_grant(question: GrantKey) -> Grant | None:
    """What this header allows. None: ask the full door."""
    found, is_due = cache.look(question)
    return look_up_grants([question]).get(question) if found is None or is_due else found


def look_up_grants(questions: Collection[GrantKey]) -> dict[GrantKey, Grant]:
    """What these headers allow, and keep it: many cost no more queries than one. Raises DatabaseError.

    The full door decides with the same models; this one knows only the plain cases.
    """
    cache.confirm()
    begun, now = cache.begin(), timezone.now()
    grants = {question: cache.get(question) for question in questions}
    entries = entries_of([question for question, grant in grants.items() if grant is None], now)
    for question, entry in entries.items():
        cache.put(question, entry, begun)
        grants[question] = entry.value
    note_uses([entry for question in questions if (entry := cache.entries.get(question))], now)
    return {question: grant for question, grant in grants.items() if grant is not None}


def entries_of(questions: Collection[GrantKey], now: datetime) -> dict[GrantKey, CacheEntry]:
    entries: dict[GrantKey, CacheEntry] = {}
    for keyword, kind, related, allowed in (
        ("device", DeviceKey, (), device_grants),
        ("token", Token, ("user",), token_grants),
    ):
        texts = {question: credential_text(question, keyword) for question in questions}
        texts = {question: text for question, text in texts.items() if text}
        credentials = kind.find_all(texts.values(), now, *related) if texts else {}
        held = {question: credentials[text] for question, text in texts.items() if text in credentials}
        grants = allowed(held) if held else {}
        entries |= {question: entry_of(grant, held[question], now) for question, grant in grants.items()}
    return entries


def entry_of(grant: Grant, credential: DeviceKey | Token, now: datetime) -> CacheEntry:
    about: list[Subject] = []
    if grant.target is not None:
        about.append(("device", grant.target.device_id))
    if grant.user_id is not None:
        about.append(("user", grant.user_id))
    end = credential.expires_at
    until = math.inf if end is None else time.monotonic() + (end - now).total_seconds()
    return CacheEntry(grant, tuple(about), until, (type(credential), credential.pk))


def credential_text(question: GrantKey, keyword: str) -> str:
    """Empty if the header is of another kind."""
    first, _, text = question[0].decode("latin-1").strip().partition(" ")
    return text.strip() if first.lower() == keyword else ""


def device_grants(keys: Mapping[GrantKey, DeviceKey]) -> dict[GrantKey, Grant]:
    devices = Device.objects.with_channels().filter(is_active=True)
    found = devices.in_bulk({key.device_id for key in keys.values()})
    return {
        question: Grant(holder_of(key), Target.of(found[key.device_id]), None)
        for question, key in keys.items()
        if key.device_id in found and found[key.device_id].uuid == question[1]
    }


def token_grants(tokens: Mapping[GrantKey, Token]) -> dict[GrantKey, Grant]:
    able = {q: token for q, token in tokens.items() if token.user.is_active and Scope.INGEST in token.scopes}
    grants = {q: Grant(holder_of(token), None, token.user_id) for q, token in able.items() if q[1] is None}
    for user in {token.user for token in able.values()}:
        own = [q for q, token in able.items() if token.user == user and q[1] is not None]
        devices = Device.objects.visible_to(user).with_channels().filter(is_active=True)
        found = devices.in_bulk({uuid for _, uuid in own}, field_name="uuid")
        grants |= {
            q: Grant(holder_of(able[q]), Target.of(found[q[1]]), user.pk) for q in own if q[1] in found
        }
    return grants


def holder_of(credential: Credential) -> str:
    """Whose Idempotency-Keys and whose rate: a device's, or a user's, whichever of their keys is used."""
    if isinstance(credential, DeviceKey):
        return f"device:{credential.device_id}"
    return f"user:{credential.user_id}"
