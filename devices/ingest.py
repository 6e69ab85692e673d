"""The one way in: whatever brings readings calls this module, and a single reading is a list of one.

Bodies are decoded strictly: exactly the profile's channels, finite doubles, bounded depth, UTF-8. What is
well formed takes the short way through msgspec and numpy. Only what is not is gone through item by item, so
that every fault can be named. Nothing is stored here: `Taken` holds the rows, and the receipt for later.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from django.conf import settings

from devices import store
from devices.models import Device
from devices.periods import BadStamp, parse_stamp
from devices.stamps import usual_times
from devices.store import Rows

MAX_ITEMS = 10_000
MAX_BYTES = 5 * 1024 * 1024
MAX_AHEAD = timedelta(minutes=5)
MAX_SENSOR = 255
NOT_FINITE = "Must be a finite number."
NOT_SENSOR = f"Must be a text of 1 to {MAX_SENSOR} characters, without NUL and halves of surrogate pairs."

Fault = dict[str, Any]


class Refused(ValueError):
    """Nothing may be stored. `errors` is a list of {field, message} or, of a batch, {index, message}."""

    def __init__(self, errors: list[Fault]) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors


class TooMany(ValueError):
    """A batch of more than MAX_ITEMS."""


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


class Directory(Protocol):
    """The devices behind sensor ids, of one holder of a credential."""

    def find(self, sensors: set[str]) -> dict[str, Target]:
        """Those that are known."""

    def register(self, sensors: set[str]) -> dict[str, Target]:
        """All of them, the unknown ones registered."""


class Taken(NamedTuple):
    """Rows to be stored, and the receipt to be answered once they are."""

    rows: Rows
    receipt: dict[str, Any]


class Reading(NamedTuple):
    """One checked item of a batch."""

    target: Target | None
    sensor: str
    time: int  # microseconds since 1970
    is_naive: bool
    values: Sequence[float]


def take_one(target: Target, body: bytes, now: datetime) -> Taken:
    """One reading, `{channel: number, …, "timestamp"?: text}`. Raises Refused."""
    try:
        *values, text = msgspec.structs.astuple(decoder(target.names).decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(reading_faults(loose_json(body, error), target.names) or [invalid(error)]) from error
    faults = range_faults(target, values)
    time, is_naive = microseconds(now), False
    if text is not msgspec.UNSET:
        try:
            time, is_naive = stamp(text, target, now)
        except BadStamp as error:
            faults.append({"field": "timestamp", "message": str(error)})
    if faults:
        raise Refused(faults)
    receipt = {"status": "ok"} | ({"assumed_timezone": target.zone.key} if is_naive else {})
    return Taken(store.encode(target.device_id, time, values), receipt)


def take_batch(target: Target, body: bytes, now: datetime, *, skip_bad: bool = False) -> Taken:
    """Readings of one device, each with its stamp. Raises Refused, TooMany.

    With `skip_bad` the good ones are taken, and the receipt names the others.
    """
    items = batch_of(body, decoder(target.names, many=True))
    return take_items(target, items, now, skip_bad=skip_bad)


def take_items(target: Target, items: Sequence[Any], now: datetime, *, skip_bad: bool = False) -> Taken:
    """The same, decoded already: each a `reading_type` or whatever JSON there was. Raises Refused."""
    at_once = take_usual(target, items, now)
    if at_once is not None:
        return at_once
    good, rejected = checked(items, partial(batch_item, target, now), skip_bad=skip_bad)
    return taken(good, rejected, len(target.names))


def take_usual(target: Target, items: Sequence[Any], now: datetime) -> Taken | None:
    """All together, a tenth of the cost of one by one; None if there is anything that needs a closer look."""
    if set(map(type, items)) != {reading_type(target.names)}:
        return None
    *channels, stamp = map(attrgetter, reading_type(target.names).__struct_fields__)
    texts = list(map(stamp, items))
    times = None if msgspec.UNSET in texts else usual_times(texts)
    if times is None:
        return None
    values = np.empty((len(items), len(channels)))
    for i, channel in enumerate(channels):
        values[:, i] = np.fromiter(map(channel, items), np.float64, len(items))
    first, last = bounds(target, now)
    if times.min() < first or times.max() > last or out_of_range(target, values).any():
        return None
    return Taken(store.encode_many(target.device_id, times, values), {"accepted": len(items), "rejected": []})


def take_values(target: Target, times: np.ndarray, values: np.ndarray) -> Taken:
    """Finite numbers that are here already: times int64 microseconds since 1970, values (readings, channels).

    Raises Refused, naming the first reading that is out of range.
    """
    bad = out_of_range(target, values)
    if bad.any():
        index = int(bad.any(axis=1).argmax())
        raise Refused([{"index": index, "message": in_words(range_faults(target, values[index].tolist()))}])
    receipt = {"accepted": len(times), "rejected": []}
    return Taken(store.encode_many(target.device_id, times, values), receipt)


def take_sensors(directory: Directory, body: bytes, now: datetime, *, skip_bad: bool = False) -> Taken:
    """Readings of any mix of sensors, `{"sensor", "timestamp", "value"}`. Raises Refused, TooMany.

    Sensors seen for the first time are registered, once all that may be refused is refused.
    """
    return take_sensor_items(directory, batch_of(body, SENSORS), now, skip_bad=skip_bad)


def take_sensor_items(
    directory: Directory, items: Sequence[Any], now: datetime, *, skip_bad: bool = False
) -> Taken:
    """The same, decoded already: each a `SensorReading` or whatever JSON there was. Raises Refused."""
    names = {sensor_name(item) for item in items}
    known = directory.find({name for name in names if not sensor_fault(name)})
    good, rejected = checked(items, partial(sensor_item, known, now), skip_bad=skip_bad)
    unknown = {item.sensor for item in good if item.target is None}
    if unknown:
        known |= directory.register(unknown)
        good = [item if item.target else item._replace(target=known[item.sensor]) for item in good]
    return taken(good, rejected, 1)


def sensor_name(item: Any) -> str:
    """Empty if there is none."""
    if isinstance(item, SensorReading):
        return item.sensor
    name = item.get("sensor") if isinstance(item, dict) else None
    return name if isinstance(name, str) else ""


def batch_of(body: bytes, strict: msgspec.json.Decoder) -> list[Any]:
    """The items of a batch, or whatever JSON there was in their place. Raises Refused, TooMany."""
    try:
        items = strict.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        items = loose_json(body, error)
        if not isinstance(items, list):
            raise Refused([{"field": "body", "message": "Must be an array of readings."}]) from error
    if len(items) > MAX_ITEMS:
        raise TooMany(f"A batch has at most {MAX_ITEMS} items, not {len(items)}.")
    return items


def checked(
    items: Sequence[Any], read: Callable[[Any], Reading], *, skip_bad: bool
) -> tuple[list[Reading], list[Fault]]:
    """The good items and the faults of the others, which only `skip_bad` allows to be any. Raises Refused."""
    good, rejected = [], []
    for index, item in enumerate(items):
        try:
            good.append(read(item))
        except Refused as refused:
            rejected.append({"index": index, "message": in_words(refused.errors)})
    if rejected and not skip_bad:
        raise Refused(rejected)
    return good, rejected


def batch_item(target: Target, now: datetime, item: Any) -> Reading:
    """`item` is what the strict decoder made of it, or whatever JSON there was."""
    if isinstance(item, msgspec.Struct):
        *values, text = msgspec.structs.astuple(item)
        faults = range_faults(target, values)
    else:
        faults = reading_faults(item, target.names)
        if not faults:
            values, text = [float(item[name]) for name in target.names], item.get("timestamp", msgspec.UNSET)
            faults = range_faults(target, values)
    if faults:
        raise Refused(faults)
    time, is_naive = required_stamp(text, target, now)
    return Reading(target, "", time, is_naive, values)


def sensor_item(known: dict[str, Target], now: datetime, item: Any) -> Reading:
    if isinstance(item, msgspec.Struct):
        sensor, text, value = item.sensor, item.timestamp, item.value
        message = sensor_fault(sensor)
        if message:
            raise Refused([{"field": "sensor", "message": message}])
    else:
        faults = sensor_faults(item)
        if faults:
            raise Refused(faults)
        sensor, text, value = item["sensor"], item["timestamp"], float(item["value"])
    target = known.get(sensor)
    if target is None:
        return Reading(None, sensor, *required_stamp(text, NEW_SENSOR, now), (value,))
    if not target.is_active:
        raise Refused([{"field": "sensor", "message": "Is an inactive device."}])
    if len(target.names) != 1:
        raise Refused([{"field": "sensor", "message": f"Is a device of {len(target.names)} channels."}])
    faults = range_faults(target, (value,))
    if faults:
        raise Refused(faults)
    return Reading(target, sensor, *required_stamp(text, target, now), (value,))


def taken(items: list[Reading], rejected: list[Fault], channels: int) -> Taken:
    count = len(items)
    times = np.fromiter((item.time for item in items), np.int64, count)
    values = np.array([item.values for item in items], np.float64).reshape(count, channels)
    devices = np.fromiter((item.target.device_id for item in items), np.int32, count)
    zones = sorted({item.target.zone.key for item in items if item.is_naive})
    receipt = {"accepted": count, "rejected": rejected}
    return Taken(
        store.encode_many(devices, times, values),
        receipt | ({"assumed_timezone": ", ".join(zones)} if zones else {}),
    )


# --- decoding


@lru_cache(maxsize=1024)
def decoder(names: tuple[str, ...], *, many: bool = False) -> msgspec.json.Decoder:
    item = reading_type(names)
    return msgspec.json.Decoder(list[item] if many else item)


@lru_cache(maxsize=1024)
def reading_type(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """Of a profile with these channels; attributes in their order, the stamp's text last."""
    # Numbered fields, as a channel's name may be a word of Python's own.
    fields: list[tuple] = [(f"c{i}", float) for i in range(len(names))]
    return msgspec.defstruct(
        "Reading",
        [*fields, ("timestamp", str | msgspec.UnsetType, msgspec.UNSET)],
        rename={f"c{i}": name for i, name in enumerate(names)},
        forbid_unknown_fields=True,
        # Numbers and texts: in no cycle, and thousands at once are not to be searched for one.
        gc=False,
    )


class SensorReading(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    sensor: str
    timestamp: str
    value: float


SENSORS = msgspec.json.Decoder(list[SensorReading])
NEW_SENSOR = Target(0, ("value",), (-math.inf,), (math.inf,), ZoneInfo("UTC"))


def loose_json(body: bytes, error: Exception) -> Any:
    """The body as JSON that may hold NaN and Infinity, so that they can be named. Raises Refused."""
    try:
        return json.loads(body.decode(), parse_int=whole_number)
    except (ValueError, RecursionError) as worse:
        raise Refused([invalid(error)]) from worse


def whole_number(digits: str) -> float:
    """A double; Python refuses to convert very many digits to an integer."""
    # As msgspec has it, the whole number -0 is 0; -0.0 is another.
    return float(digits) + 0.0


def invalid(error: Exception) -> Fault:
    return {"field": "body", "message": f"Not valid: {error}."}


# --- checking


def reading_faults(reading: Any, names: Sequence[str]) -> list[Fault]:
    """Every fault of what should be an object of the channels and maybe a stamp."""
    if not isinstance(reading, dict):
        return [{"field": "body", "message": "Must be an object."}]
    faults = list(number_faults(reading, names))
    if not isinstance(reading.get("timestamp", ""), str):
        faults.append({"field": "timestamp", "message": "Must be a string."})
    for name in sorted(set(reading) - {*names, "timestamp"}):
        message = f"Unknown channel; there are {', '.join(names)}."
        faults.append({"field": printable(name), "message": message})
    return faults


def sensor_faults(item: Any) -> list[Fault]:
    """Every fault of what should be an object of sensor, timestamp and value."""
    if not isinstance(item, dict):
        return [{"field": "body", "message": "Must be an object."}]
    faults = list(number_faults(item, ("value",)))
    for name in ("sensor", "timestamp"):
        if name not in item:
            faults.append({"field": name, "message": "Is missing."})
        elif not isinstance(item[name], str):
            faults.append({"field": name, "message": "Must be a string."})
    if not faults and sensor_fault(item["sensor"]):
        faults.append({"field": "sensor", "message": NOT_SENSOR})
    for name in sorted(set(item) - {"sensor", "timestamp", "value"}):
        faults.append({"field": printable(name), "message": "Unknown key."})
    return faults


def sensor_fault(sensor: str) -> str:
    is_text = 0 < len(sensor) <= MAX_SENSOR and "\0" not in sensor
    return "" if is_text and sensor == printable(sensor) else NOT_SENSOR


def printable(text: str) -> str:
    """JSON's escapes can make half a surrogate pair, which no answer and no database can carry."""
    return text.encode(errors="backslashreplace").decode()


def number_faults(item: dict, names: Sequence[str]) -> Iterator[Fault]:
    for name in names:
        if name not in item:
            yield {"field": name, "message": "Is missing."}
        elif isinstance(item[name], bool) or not isinstance(item[name], int | float):
            yield {"field": name, "message": "Must be a number."}
        elif not math.isfinite(item[name]):
            yield {"field": name, "message": NOT_FINITE}


def range_faults(target: Target, values: Sequence[float]) -> list[Fault]:
    faults = []
    for name, value, low, high in zip(target.names, values, target.minima, target.maxima, strict=True):
        if value < low:
            faults.append({"field": name, "message": f"Must be at least {low}."})
        if value > high:
            faults.append({"field": name, "message": f"Must be at most {high}."})
    return faults


def out_of_range(target: Target, values: np.ndarray) -> np.ndarray:
    """Which of `values`, of shape (readings, channels), are."""
    return (values < target.minima) | (values > target.maxima)


def required_stamp(text: Any, target: Target, now: datetime) -> tuple[int, bool]:
    """Raises Refused."""
    if text is msgspec.UNSET:
        raise Refused([{"field": "timestamp", "message": "Is missing."}])
    try:
        return stamp(text, target, now)
    except BadStamp as error:
        raise Refused([{"field": "timestamp", "message": str(error)}]) from error


def stamp(text: str, target: Target, now: datetime) -> tuple[int, bool]:
    """Microseconds since 1970, and whether the device's zone had to be assumed. Raises BadStamp."""
    time, is_naive = parse_stamp(text, target.zone)
    if time > now + MAX_AHEAD and not target.allows_future:
        raise BadStamp("Is more than 5 minutes in the future.")
    if settings.RETENTION_DAYS and time < now - timedelta(days=settings.RETENTION_DAYS):
        raise BadStamp(f"Is older than the {settings.RETENTION_DAYS} days that are kept.")
    return microseconds(time), is_naive


def bounds(target: Target, now: datetime) -> tuple[int, int]:
    """The first and the last time that `stamp` takes, as it gives them."""
    days = settings.RETENTION_DAYS
    first = now - timedelta(days=days) if days else datetime.min.replace(tzinfo=UTC)
    last = datetime.max.replace(tzinfo=UTC) if target.allows_future else now + MAX_AHEAD
    return microseconds(first), microseconds(last)


def microseconds(time: datetime) -> int:
    return (time - store.EPOCH) // store.MICROSECOND


def in_words(faults: list[Fault]) -> str:
    """The faults of one item of a batch, as its message."""
    return " ".join(
        fault["message"] if fault["field"] == "body" else f"{fault['field']}: {fault['message']}"
        for fault in faults
    )
