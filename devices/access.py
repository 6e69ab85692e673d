"""What a credential may post to, kept for some seconds: a revocation must reach every process within five."""

import hashlib
import math
import time
from typing import Any, NamedTuple
from uuid import UUID

from django.utils import timezone

from devices import changes
from devices.ingest import Target
from devices.models import Device, DeviceKey, DeviceProfile
from users.models import Credential, Scope, Token

KEPT_SECONDS = 4.0
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

    def get(self, key: Any) -> Any:
        state = changes.state()
        if state != self.state:
            self.entries, self.state = {}, state
        until, value = self.entries.get(key, (0.0, None))
        return value if time.monotonic() < until else None

    def put(self, key: Any, value: Any) -> None:
        if len(self.entries) >= MAX_KEPT:
            self.entries.clear()
        self.entries[key] = (time.monotonic() + KEPT_SECONDS, value)


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


def grant(authorization: str, device: UUID | None) -> Grant | None:
    """What this header allows: posting for the device or, without one, for sensors. None: ask the full door.

    The full door decides with the same models; this one knows only the plain cases.
    """
    keyword, _, text = authorization.strip().partition(" ")
    kinds: dict[str, tuple[type[Credential], str]] = {
        "token": (Token, "user"),
        "device": (DeviceKey, "device"),
    }
    if keyword.lower() not in kinds:
        return None
    kind, related = kinds[keyword.lower()]
    now = timezone.now()
    credential = kind.find(text.strip(), now, related)
    if credential is None:
        return None
    allowed = device_grant(credential, device) if kind is DeviceKey else token_grant(credential, device)
    if allowed is not None:
        credential.note_use(now)
    return allowed


def device_grant(key: DeviceKey, uuid: UUID | None) -> Grant | None:
    if key.device.uuid != uuid or not key.device.is_active:
        return None
    return Grant(holder(key), Target.of(Device.objects.with_channels().get(pk=key.device_id)), None)


def token_grant(token: Token, uuid: UUID | None) -> Grant | None:
    if not token.user.is_active or Scope.INGEST not in token.scopes:
        return None
    if uuid is None:
        return Grant(holder(token), None, token.user_id)
    device = Device.objects.visible_to(token.user).with_channels().filter(uuid=uuid, is_active=True).first()
    return device and Grant(holder(token), Target.of(device), token.user_id)


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
        found = {sensor: self.kept.get((self.user_id, sensor)) for sensor in sensors}
        missing = [sensor for sensor, target in found.items() if target is None]
        if missing:
            devices = Device.objects.with_channels().filter(owner_id=self.user_id, external_id__in=missing)
            for device in devices:
                found[device.external_id] = target = Target.of(device)
                self.kept.put((self.user_id, device.external_id), target)
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
