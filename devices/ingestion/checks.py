"""Checks of decoded readings, item by item, and the words for their faults."""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
from django.conf import settings

from devices.access.grants import Target
from devices.timeline.instants import UnixMicroseconds, from_unix_microseconds, unix_microseconds
from devices.timeline.periods import BadStamp, parse_stamp
from devices.timeline.unix_time import SECOND, parse_number

MAX_AHEAD = timedelta(minutes=5)
MAX_SENSOR = 255
# An answer must not be much longer than the body, nor much of it be in memory: so many faults of an item are
# told, so many unknown names, so many of the channels there are, and so many characters of a batch.
FAULTS_OF_ITEM = 20
NAMED_UNKNOWN = 20
NAMED_CHANNELS = 10
TOLD_CHARACTERS = 256 * 1024
MORE_FAULTS = {"field": "body", "message": "It has more faults."}
UNTOLD = "Has faults, too."
TOO_FAR_AHEAD = "Is more than 5 minutes in the future."
NOT_FINITE = "Must be a finite number."
NOT_SENSOR = f"Must be a text of 1 to {MAX_SENSOR} characters, without NUL and halves of surrogate pairs."

Fault = dict[str, Any]
# Devices with the faults of their readings.
Refused = Sequence[tuple[UUID, list[Fault]]]


class InvalidItems(ValueError):
    """Nothing may be stored. `errors` is a list of {field, message} or, for a batch, {index, message}.

    `refused` has the faults of each known device of a batch of sensors.
    """

    refused: Refused = ()

    def __init__(self, errors: list[Fault]) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors


def reading_faults(reading: Any, names: Sequence[str]) -> list[Fault]:
    """List the faults of a JSON value that should be an object of channels and an optional timestamp."""
    if not isinstance(reading, dict):
        return [{"field": "body", "message": "Must be an object."}]
    there_are = f"there are {', '.join(names[:NAMED_CHANNELS])}"
    if len(names) > NAMED_CHANNELS:
        there_are += f" and {len(names) - NAMED_CHANNELS} others"
    unknown = unknown_names(reading, {*names, "timestamp"})
    return first_faults(
        chain(
            number_faults(reading, names),
            stamp_faults(reading.get("timestamp", "")),
            ({"field": name, "message": f"Unknown channel; {there_are}."} for name in unknown),
        )
    )


def sensor_faults(item: Any) -> list[Fault]:
    """List the faults of a JSON value that should be an object of sensor, timestamp and value."""
    if not isinstance(item, dict):
        return [{"field": "body", "message": "Must be an object."}]
    faults = list(number_faults(item, ("value",)))
    if not isinstance(item.get("sensor", ""), str):
        faults.append({"field": "sensor", "message": "Must be a string."})
    faults += stamp_faults(item.get("timestamp", ""))
    faults += [
        {"field": name, "message": "Is missing."} for name in ("sensor", "timestamp") if name not in item
    ]
    if not faults and sensor_fault(item["sensor"]):
        faults.append({"field": "sensor", "message": NOT_SENSOR})
    for name in unknown_names(item, {"sensor", "timestamp", "value"}):
        faults.append({"field": name, "message": "Unknown key."})
    return faults


def unknown_names(item: dict[str, Any], known: set[str]) -> list[str]:
    """The first unknown names, cut where they are long."""
    names = map(printable, sorted(set(item) - known)[:NAMED_UNKNOWN])
    return [name if len(name) <= MAX_SENSOR else f"{name[:MAX_SENSOR]}…" for name in names]


def sensor_fault(sensor: str) -> str:
    is_text = 0 < len(sensor) <= MAX_SENSOR and "\0" not in sensor
    return "" if is_text and sensor == printable(sensor) else NOT_SENSOR


def stamp_faults(stamp: Any) -> list[Fault]:
    if isinstance(stamp, str):
        return []
    if isinstance(stamp, bool) or not isinstance(stamp, int | float):
        return [{"field": "timestamp", "message": "Must be a string or a number."}]
    return [] if math.isfinite(stamp) else [{"field": "timestamp", "message": NOT_FINITE}]


def printable(text: str) -> str:
    """Escape halves of surrogate pairs: JSON can bring them, but no answer and no database can hold them."""
    return text.encode(errors="backslashreplace").decode()


def number_faults(item: dict, names: Sequence[str]) -> Iterator[Fault]:
    for name in names:
        if name not in item:
            yield {"field": name, "message": "Is missing."}
        elif isinstance(item[name], bool) or not isinstance(item[name], int | float):
            yield {"field": name, "message": "Must be a number."}
        elif not math.isfinite(item[name]):
            yield {"field": name, "message": NOT_FINITE}


def first_faults(faults: Iterable[Fault]) -> list[Fault]:
    """FAULTS_OF_ITEM at most, and whether there are more; the others are not even made."""
    found = list(islice(faults, FAULTS_OF_ITEM + 1))
    return found if len(found) <= FAULTS_OF_ITEM else [*found[:-1], MORE_FAULTS]


def range_faults(target: Target, values: Sequence[float]) -> list[Fault]:
    faults = []
    for name, value, low, high in zip(target.names, values, target.minima, target.maxima, strict=True):
        if value < low:
            faults.append({"field": name, "message": f"Must be at least {low}."})
        if value > high:
            faults.append({"field": name, "message": f"Must be at most {high}."})
    return faults


def out_of_range(target: Target, values: np.ndarray) -> np.ndarray:
    """Mark the `values`, of shape (readings, channels), that are out of their channel's range."""
    return (values < target.minima) | (values > target.maxima)


def require_reading_time(
    stamp: Any, target: Target, now: datetime, unit: int
) -> tuple[UnixMicroseconds, bool]:
    """Do the same as `parse_reading_time`, but raise InvalidItems, also for a missing timestamp."""
    if stamp is msgspec.UNSET:
        raise InvalidItems([{"field": "timestamp", "message": "Is missing."}])
    try:
        return parse_reading_time(stamp, target, now, unit)
    except BadStamp as error:
        raise InvalidItems([{"field": "timestamp", "message": str(error)}]) from error


def parse_reading_time(
    stamp: str | float, target: Target, now: datetime, unit: int = SECOND
) -> tuple[UnixMicroseconds, bool]:
    """Return microseconds since 1970, and whether a text has no offset and the device's zone was assumed.

    A number counts units of `unit` nanoseconds. Raises BadStamp, also for a time in the future or older than
    RETENTION_DAYS.
    """
    if isinstance(stamp, str):
        time, is_naive = parse_stamp(stamp, target.zone)
    else:
        time, is_naive = from_unix_microseconds(parse_number(stamp, unit)), False
    if time > now + MAX_AHEAD and not target.allows_future:
        raise BadStamp(f"{TOO_FAR_AHEAD} It is {hours(time - now)} ahead of this server.")
    if settings.RETENTION_DAYS and time < now - timedelta(days=settings.RETENTION_DAYS):
        raise BadStamp(f"Is older than the {settings.RETENTION_DAYS} days that are kept.")
    return unix_microseconds(time), is_naive


def hours(span: timedelta) -> str:
    """Format a span of minutes and more: a clock that is wrong by its zone is seen at once."""
    minutes = round(span / timedelta(minutes=1))
    if minutes >= 2880:
        return f"{minutes // 1440} d {minutes // 60 % 24} h"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def accepted_times(target: Target, now: datetime) -> tuple[UnixMicroseconds, UnixMicroseconds]:
    """Return the first and the last time that `parse_reading_time` accepts."""
    days = settings.RETENTION_DAYS
    first = now - timedelta(days=days) if days else datetime.min.replace(tzinfo=UTC)
    last = datetime.max.replace(tzinfo=UTC) if target.allows_future else now + MAX_AHEAD
    return unix_microseconds(first), unix_microseconds(last)


def describe_faults(faults: list[Fault]) -> str:
    return " ".join(
        fault["message"] if fault["field"] == "body" else f"{fault['field']}: {fault['message']}"
        for fault in faults
    )


class Rejections:
    """The faulty items of a batch by index: all of them, the faults of the first TOLD_CHARACTERS in words."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.left = TOLD_CHARACTERS

    def add(self, index: int, faults: list[Fault]) -> None:
        message = describe_faults(faults) if self.left > 0 else UNTOLD
        self.left -= len(message)
        self.faults.append({"index": index, "message": message})
