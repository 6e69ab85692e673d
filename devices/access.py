"""What a credential may post to, kept for some seconds: a revocation must reach every process within five."""

import hashlib
import math
import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from django.utils import timezone

from devices import changes
from devices.ingest import Target
from devices.models import Device, DeviceKey, DeviceProfile
from users.models import Credential, Scope, Token

KEPT_SECONDS = 4.0
# With less left it is looked up anew while it holds, all that is due at once, and no more often than this.
RENEW_SECONDS = 1.0
RENEW_EVERY_SECONDS = 0.3
# More than so many entries are not kept, only looked up again.
MAX_KEPT = 100_000
STRIKES_PER_MINUTE = 20


class Grant(NamedTuple):
    """Leave to post as `holder`: for one device or, without a target, for the sensors of a user."""

    holder: str
    target: Target | None
    user_id: int | None


class Kept:
    """What was looked up lately. Safe among threads: each method is one step on a dictionary."""

    def __init__(self) -> None:
        self.entries: dict[Any, tuple[float, Any]] = {}
        self.state = changes.state()
        self.wanted: set = set()
        self.renew_at = 0.0

    def get(self, key: Any) -> Any:
        return self.look(key)[0]

    def look(self, key: Any) -> tuple[Any, bool]:
        """What is kept, and whether it is time to look up what is `due`."""
        state = changes.state()
        if state != self.state:
            self.entries, self.state = {}, state
        until, value = self.entries.get(key, (0.0, None))
        now = time.monotonic()
        if now >= until:
            return None, True
        if until - now < RENEW_SECONDS:
            self.wanted.add(key)
            return value, now >= self.renew_at
        return value, False

    def due(self) -> set:
        """The keys that are in use and will soon be kept no more; told to one caller only."""
        self.renew_at = time.monotonic() + RENEW_EVERY_SECONDS
        wanted, self.wanted = self.wanted, set()
        return wanted

    def begin(self) -> tuple[float, bytes]:
        """To be asked before a look-up: what is changed from here on that may not have seen."""
        return time.monotonic(), changes.state()

    def put(self, key: Any, value: Any, begun: tuple[float, bytes]) -> None:
        since, state = begun
        if state != self.state:
            return
        if len(self.entries) >= MAX_KEPT:
            self.entries.clear()
        self.entries[key] = (since + KEPT_SECONDS, value)


class Strikes:
    """Credentials that were refused again and again are, until their minute is over, not even looked up.

    Counted by credential, in each process: behind a proxy all devices have one address, and those with good
    keys must not suffer for the one without.
    """

    REFUSAL = "This credential was refused too often; wait as long as Retry-After says."

    def __init__(self) -> None:
        # By the digest of the header, as a header may be long: until when, and how often.
        self.entries: dict[bytes, tuple[float, int]] = {}

    def note(self, authorization: bytes) -> None:
        if len(self.entries) >= MAX_KEPT:
            self.entries.clear()
        digest, now = hashlib.sha256(authorization).digest(), time.monotonic()
        until, count = self.entries.get(digest, (0.0, 0))
        self.entries[digest] = (until, count + 1) if now < until else (now + 60, 1)

    def wait_seconds(self, authorization: bytes) -> int:
        """Until the credential may be tried again; 0: it may."""
        until, count = self.entries.get(hashlib.sha256(authorization).digest(), (0.0, 0))
        return max(0, math.ceil(until - time.monotonic())) if count >= STRIKES_PER_MINUTE else 0


# The Authorization header and, unless readings of sensors are to be posted, the device.
Question = tuple[bytes, UUID | None]
kept = Kept()


def grant(question: Question) -> Grant | None:
    """What this header allows. None: ask the full door."""
    found, is_due = kept.look(question)
    if found is not None and not is_due:
        return found
    # Many cost hardly more than one.
    return look_up({question, *kept.due()}).get(question)


def look_up(questions: Collection[Question]) -> dict[Question, Grant]:
    """What these headers allow, and keep it: many cost no more queries than one.

    The full door decides with the same models; this one knows only the plain cases.
    """
    begun, now = kept.begin(), timezone.now()
    grants: dict[Question, Grant] = {}
    for keyword, kind, related, allowed in (
        ("device", DeviceKey, (), device_grants),
        ("token", Token, ("user",), token_grants),
    ):
        texts = {question: credential_text(question, keyword) for question in questions}
        texts = {question: text for question, text in texts.items() if text}
        credentials = kind.find_all(texts.values(), now, *related) if texts else {}
        held = {question: credentials[text] for question, text in texts.items() if text in credentials}
        found = allowed(held) if held else {}
        kind.note_uses([held[question] for question in found], now)
        grants |= found
    for question, grant in grants.items():
        kept.put(question, grant, begun)
    return grants


def credential_text(question: Question, keyword: str) -> str:
    """Empty if the header is of another kind."""
    first, _, text = question[0].decode("latin-1").strip().partition(" ")
    return text.strip() if first.lower() == keyword else ""


def device_grants(keys: Mapping[Question, DeviceKey]) -> dict[Question, Grant]:
    devices = Device.objects.with_channels().filter(is_active=True)
    found = devices.in_bulk({key.device_id for key in keys.values()})
    return {
        question: Grant(holder(key), Target.of(found[key.device_id]), None)
        for question, key in keys.items()
        if key.device_id in found and found[key.device_id].uuid == question[1]
    }


def token_grants(tokens: Mapping[Question, Token]) -> dict[Question, Grant]:
    able = {q: token for q, token in tokens.items() if token.user.is_active and Scope.INGEST in token.scopes}
    grants = {q: Grant(holder(token), None, token.user_id) for q, token in able.items() if q[1] is None}
    for user in {token.user for token in able.values()}:
        own = [q for q, token in able.items() if token.user == user and q[1] is not None]
        devices = Device.objects.visible_to(user).with_channels().filter(is_active=True)
        found = devices.in_bulk({uuid for _, uuid in own}, field_name="uuid")
        grants |= {q: Grant(holder(able[q]), Target.of(found[q[1]]), user.pk) for q in own if q[1] in found}
    return grants


def holder(credential: Credential) -> str:
    """Whose Idempotency-Keys and whose rate: a device's, or a user's, whichever of their keys is used."""
    if isinstance(credential, DeviceKey):
        return f"device:{credential.device_id}"
    return f"user:{credential.user_id}"


class OwnSensors:
    """The devices of one user by external id, as `ingest.take_sensors` wants them."""

    kept = Kept()

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id

    def find(self, sensors: set[str]) -> dict[str, Target]:
        begun = self.kept.begin()
        found = {sensor: self.kept.get((self.user_id, sensor)) for sensor in sensors}
        missing = [sensor for sensor, target in found.items() if target is None]
        if missing:
            devices = Device.objects.with_channels().filter(owner_id=self.user_id, external_id__in=missing)
            for device in devices:
                found[device.external_id] = target = Target.of(device)
                self.kept.put((self.user_id, device.external_id), target, begun)
        return {sensor: target for sensor, target in found.items() if target is not None}

    def register(self, sensors: set[str]) -> dict[str, Target]:
        profile = DeviceProfile.objects.get(name="scalar")
        new = [
            Device(owner_id=self.user_id, profile=profile, external_id=sensor, name=sensor[:200])
            for sensor in sorted(sensors)
        ]
        # Another request may register the same sensors at this moment: whoever is first, both find them.
        Device.objects.bulk_create(new, ignore_conflicts=True, batch_size=1000)
        return self.find(sensors)
