import math
from typing import Protocol, cast
from zoneinfo import ZoneInfo

from django.db import transaction

from devices import limits
from devices.access.credential_cache import CacheEntry
from devices.access.grants import Target, cache
from devices.models import Device, DeviceProfile
from users.models import User
from users.trail.acting import Facts, named_unless_known


class OwnSensors:
    """The SensorDirectory of one user: that user's devices by external id."""

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id

    def find(self, sensors: set[str]) -> dict[str, Target]:
        cache.confirm()
        generation = cache.begin()
        found = {sensor: cache.get((self.user_id, sensor)) for sensor in sensors}
        missing = [sensor for sensor, target in found.items() if target is None]
        if missing:
            devices = Device.objects.with_channels().filter(owner_id=self.user_id, external_id__in=missing)
            for device in devices:
                sensor = cast(str, device.external_id)
                found[sensor] = target = Target.of(device)
                entry = CacheEntry(target, (("device", device.pk),))
                cache.put((self.user_id, sensor), entry, generation)
        return {sensor: target for sensor, target in found.items() if target is not None}

    def register(self, sensors: set[str]) -> dict[str, Target]:
        self.create(sensors)
        return self.find(sensors)

    @transaction.atomic
    def create(self, sensors: set[str]) -> None:
        limits.require_room_for_devices(self.user_id, len(sensors))
        profile = DeviceProfile.objects.get(name="scalar")
        new = [
            Device(owner_id=self.user_id, profile=profile, external_id=sensor, name=sensor[:200])
            for sensor in sorted(sensors)
        ]
        # The gate calls this outside of any request of Django's.
        with named_unless_known(self.acting):
            # Another request may register the same sensors at this moment: both then find the same devices.
            Device.objects.bulk_create(new, ignore_conflicts=True, batch_size=1000)

    def acting(self) -> Facts:
        login = User.objects.filter(pk=self.user_id).values_list("login", flat=True).first()
        return {"source": "POST /data", "actor_id": self.user_id, "actor": login}


class SensorDirectory(Protocol):
    """Finds and registers the devices behind sensor ids."""

    def find(self, sensors: set[str]) -> dict[str, Target]:
        """Return the sensors that are known."""

    def register(self, sensors: set[str]) -> dict[str, Target]:
        """Register the unknown sensors and return all. Raises LimitReached."""


NEW_SENSOR = Target(0, ("value",), (-math.inf,), (math.inf,), ZoneInfo("UTC"))
