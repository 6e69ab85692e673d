"""Who sent the readings of a file: devices named by id, or an owner's sensors."""

from collections.abc import Iterable
from uuid import UUID

from devices.access.credential_cache import CacheEntry, CredentialCache
from devices.access.grants import Target
from devices.ingestion.sensors import NEW_SENSOR, OwnSensors
from devices.models import Device


class KnownDevices:
    """Devices by the text of their id, cached until they change, as for readings that are posted."""

    def __init__(self) -> None:
        self.cache = CredentialCache()

    def find(self, texts: Iterable[str]) -> dict[str, Target]:
        self.cache.confirm()
        begun = self.cache.begin()
        found = {text: self.cache.get(text) for text in texts}
        missing = [(as_uuid(text), text) for text, target in found.items() if target is None]
        if missing:
            devices = Device.objects.with_channels().filter(uuid__in={uuid for uuid, _ in missing if uuid})
            targets = {device.uuid: Target.of(device) for device in devices}
            for uuid, text in missing:
                if uuid in targets:
                    found[text] = target = targets[uuid]
                    self.cache.put(text, CacheEntry(target, (("device", target.device_id),)), begun)
        return {text: target for text, target in found.items() if target is not None}


class UnregisteredSensors(OwnSensors):
    """An owner's sensors for a check, which registers no new ones."""

    def register(self, sensors: set[str]) -> dict[str, Target]:
        return dict.fromkeys(sensors, NEW_SENSOR)


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
