"""The devices that the cells of a column name: by id, by the sender's own name, or by name."""

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.db.models import Q

from devices.access.grants import Target
from devices.models import Device

UNKNOWN = "There is no such device."
AMBIGUOUS = "Several devices have this name: use the id or the external id."
# As the file of faulty rows writes a name that a spreadsheet would take for a formula.
QUOTED = re.compile(r"'\s*[=+@-]")


class NamedDevices:
    """Targets by the text of a cell, each looked up once. A text without a target has its reason."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self.found: dict[str, Target | str] = {}
        # As their profiles declare them, by the name of the channel; the most if profiles differ.
        self.decimals: dict[str, int] = {}

    def find(self, texts: Iterable[str]) -> dict[str, Target | str]:
        """Return the target of each text, or why it has none: two queries at most for any number."""
        names = {text: text.strip() for text in texts}
        missing = {name for name in names.values() if name not in self.found}
        if missing:
            self.look_up(missing)
        return {text: self.found[name] for text, name in names.items()}

    def look_up(self, names: set[str]) -> None:
        ids = {name: uuid for name in names if (uuid := as_uuid(name)) is not None}
        texts = [text for name in names for text in meant(name) if text and "\0" not in text]
        known = Q(uuid__in=ids.values()) | Q(external_id__in=texts) | Q(name__in=texts)
        devices = list(Device.objects.visible_to(self.user).with_channels().filter(known))
        for channel in (channel for device in devices for channel in device.channels):
            if channel.decimals is not None:
                self.decimals[channel.name] = max(channel.decimals, self.decimals.get(channel.name, 0))
        for name in names:
            found = [chosen(text, ids.get(text), devices) for text in meant(name)]
            known_ones = [each for each in found if each != UNKNOWN]
            self.found[name] = AMBIGUOUS if len(known_ones) > 1 else next(iter(known_ones), UNKNOWN)


def meant(name: str) -> list[str]:
    """The names that a cell may mean: `'@home` is the device of this name, or `@home`."""
    return [name, name[1:].strip()] if QUOTED.match(name) else [name]


def chosen(name: str, uuid: UUID | None, devices: list[Device]) -> Target | str:
    for such in (
        [device for device in devices if uuid is not None and device.uuid == uuid],
        [device for device in devices if name and device.external_id == name],
        [device for device in devices if name and device.name == name],
    ):
        if len(such) == 1:
            return Target.of(such[0]) if such[0].is_active else "The device is inactive."
        if such:
            return AMBIGUOUS
    return UNKNOWN


def as_uuid(text: str) -> UUID | None:
    with suppress(ValueError):
        return UUID(text)
    return None
