"""The request that posts a reading, in each language of templates/devices/snippets."""

import json
from typing import NamedTuple

from django.template.loader import render_to_string

from devices.models import Channel, Device

# Shown where a key belongs that is not known any more.
NO_KEY = "YOUR-DEVICE-KEY"
# By the name of the template: what a person calls the language.
LANGUAGES = {
    "curl": "curl",
    "python": "Python",
    "powershell": "PowerShell",
    "javascript": "JavaScript",
    "arduino": "Arduino / ESP32",
    "micropython": "MicroPython",
}


class Snippet(NamedTuple):
    name: str
    label: str
    text: str


def snippets(device: Device, *, address: str, key: str) -> list[Snippet]:
    """The request of each language, whole: it needs no further editing but a board's network."""
    values = example_values(device)
    context = {
        "address": address,
        "is_https": address.startswith("https:"),
        "key": key,
        "values": [(name, json.dumps(value)) for name, value in values.items()],
        "body": json.dumps(values),
    }
    return [
        Snippet(name, label, render_to_string(f"devices/snippets/{name}.txt", context).strip())
        for name, label in LANGUAGES.items()
    ]


def example_values(device: Device) -> dict[str, float]:
    """A value for each channel that its range allows."""
    return {channel.name: example_value(channel) for channel in device.channels}


def example_value(channel: Channel) -> float:
    low, high = channel.minimum, channel.maximum
    if low is not None and high is not None:
        # Halved first: the sum of two large doubles may be infinite. Halves of the smallest ones are 0.
        return min(max(low / 2 + high / 2, low), high)
    if low is not None:
        return max(low, 1.5)
    return 1.5 if high is None else min(high, 1.5)
