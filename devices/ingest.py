"""The one way in: whatever brings readings calls this module, and a single reading is a list of one.

Bodies are decoded strictly: exactly the profile's channels, finite doubles, bounded depth, UTF-8.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from django.conf import settings

from devices import store
from devices.models import Channel, Device
from devices.periods import BadStamp, parse_stamp

MAX_AHEAD = timedelta(minutes=5)


class Refused(ValueError):
    """Nothing was stored. `errors` is a list of {field, message}."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors


def post_reading(device: Device, body: bytes, now: datetime) -> dict[str, str]:
    """Store one reading, `{channel: number, …, "timestamp"?: text}`; returns the receipt. Raises Refused."""
    values, text = decode(body, device.channels)
    time, assumed = now, False
    if text is not None:
        try:
            time, assumed = parse_stamp(text, device.zone)
        except BadStamp as error:
            raise Refused([fault("timestamp", str(error)), *out_of_range(values, device.channels)]) from error
    store_readings(device, [(time, values)], now)
    return {"status": "ok"} | ({"assumed_timezone": device.time_zone} if assumed else {})


def store_readings(
    device: Device, readings: Iterable[tuple[datetime, Sequence[float]]], now: datetime
) -> None:
    """Store finite values, each in the order of the device's channels, or nothing of them. Raises Refused."""
    channels = device.channels
    rows = [store.NewReading(device.pk, time, values) for time, values in readings]
    for row in rows:
        errors = [*out_of_range(row.values, channels), *bad_age(row.time, now)]
        if errors:
            raise Refused(errors)
    store.append(rows)


def decode(body: bytes, channels: list[Channel]) -> tuple[list[float], str | None]:
    """The values in the order of the channels and the stamp's text. Raises Refused."""
    names = tuple(channel.name for channel in channels)
    try:
        *values, text = msgspec.structs.astuple(decoder(names).decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(list(faults(body, names)) or [fault("body", f"Not valid: {error}.")]) from error
    return values, None if text is msgspec.UNSET else text


@lru_cache(maxsize=1024)
def decoder(names: tuple[str, ...]) -> msgspec.json.Decoder:
    # Numbered fields, as a channel's name may be a word of Python's own.
    fields: list[tuple] = [(f"c{i}", float) for i in range(len(names))]
    struct = msgspec.defstruct(
        "Reading",
        [*fields, ("timestamp", str | msgspec.UnsetType, msgspec.UNSET)],
        rename={f"c{i}": name for i, name in enumerate(names)},
        forbid_unknown_fields=True,
    )
    return msgspec.json.Decoder(struct)


def faults(body: bytes, names: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Every fault of a body that the decoder refused, by name; it stops at the first and can't name a NaN."""
    try:
        # As floats: Python refuses to read a whole number of thousands of digits.
        reading = json.loads(body, parse_int=float)
    except (ValueError, RecursionError):
        return
    if not isinstance(reading, dict):
        yield fault("body", "Must be an object.")
        return
    for name in names:
        message = value_fault(reading[name]) if name in reading else "Is missing."
        if message:
            yield fault(name, message)
    if not isinstance(reading.get("timestamp", ""), str):
        yield fault("timestamp", "Must be a string.")
    for name in sorted(set(reading) - {*names, "timestamp"}):
        yield fault(name, f"Unknown channel; this device has {', '.join(names)}.")


def value_fault(value: Any) -> str:
    if not isinstance(value, float):
        return "Must be a number."
    return "" if math.isfinite(value) else "Must be a finite number."


def out_of_range(values: Sequence[float], channels: list[Channel]) -> Iterator[dict[str, str]]:
    for value, channel in zip(values, channels, strict=True):
        if channel.minimum is not None and value < channel.minimum:
            yield fault(channel.name, f"Must be at least {channel.minimum}.")
        if channel.maximum is not None and value > channel.maximum:
            yield fault(channel.name, f"Must be at most {channel.maximum}.")


def bad_age(time: datetime, now: datetime) -> Iterator[dict[str, str]]:
    if time > now + MAX_AHEAD:
        yield fault("timestamp", "Is more than 5 minutes in the future.")
    if settings.RETENTION_DAYS and time < now - timedelta(days=settings.RETENTION_DAYS):
        yield fault("timestamp", f"Is older than the {settings.RETENTION_DAYS} days that are kept.")


def fault(field: str, message: str) -> dict[str, str]:
    # A key may hold half a surrogate pair, which no answer can carry.
    return {"field": field.encode(errors="backslashreplace").decode(), "message": message}
