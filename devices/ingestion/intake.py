"""Readings, decoded and checked: every way in calls this module.

Bodies are decoded strictly: exactly the profile's channels, finite doubles, bounded depth, UTF-8. Well-formed
batches take the short way through msgspec and numpy. Others are checked item by item, so that every fault can
be named. Nothing is stored here: an `Intake` holds the rows and the receipt.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import numpy as np

from devices.access.grants import Target
from devices.ingestion.batch_stamps import parse_batch_stamps
from devices.ingestion.checks import (
    Fault,
    InvalidItems,
    Refused,
    Rejections,
    accepted_times,
    describe_faults,
    first_faults,
    out_of_range,
    parse_reading_time,
    range_faults,
    reading_faults,
    require_reading_time,
    sensor_fault,
    sensor_faults,
)
from devices.ingestion.decoding import (
    MAX_ITEMS,
    SENSOR_BATCH_DECODER,
    SensorReading,
    decode_batch,
    decode_loosely,
    decoder,
    reading_type,
    require_few_parts,
    undecodable,
)
from devices.ingestion.sensors import NEW_SENSOR, SensorDirectory
from devices.storage import row_codec
from devices.storage.interface import Rows
from devices.timeline.instants import UnixMicroseconds, UnixTimes, unix_microseconds
from devices.timeline.periods import BadStamp
from devices.timeline.unix_time import SECOND
from users.limits import LimitReached

# One faulty batch of very many sensors must not fill the log of refusals.
MOST_REFUSED = 50
# A receipt names so many faults, in so many characters: with an Idempotency-Key it is kept for a week.
NAMED_FAULTS = 100
NAMED_CHARACTERS = 4096


class NeedsThread(Exception):
    """A batch takes too long for the event loop: its items must be checked one by one."""


class Intake(NamedTuple):
    """Checked rows, and the receipt that is sent once they are stored.

    `refused` has the faults of each known device of which readings were left out.
    """

    rows: Rows
    receipt: dict[str, Any]
    refused: Refused = ()

    def bounded(self) -> "Intake":
        """The same with a receipt of bounded size, which counts the faults if it cannot name all."""
        rejected = self.receipt["rejected"]
        if not rejected:
            return self
        named = bounded_faults(rejected)
        if named == rejected:
            return self
        return self._replace(receipt=self.receipt | {"rejected": named, "rejected_count": len(rejected)})


class CheckedReading(NamedTuple):
    target: Target
    sensor: str
    time: UnixMicroseconds
    is_naive: bool
    values: Sequence[float]


def take_one(target: Target, body: bytes, now: datetime, *, unit: int = SECOND) -> Intake:
    """Take one reading, `{channel: number, …, "timestamp"?: text or number}`. Raises InvalidItems."""
    require_few_parts(body)
    try:
        *values, stamp = msgspec.structs.astuple(decoder(target.names).decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        faults = reading_faults(decode_loosely(body, error), target.names)
        raise InvalidItems(faults or [undecodable(error)]) from error
    faults = range_faults(target, values)
    time, is_naive = unix_microseconds(now), False
    if stamp is not msgspec.UNSET:
        try:
            time, is_naive = parse_reading_time(stamp, target, now, unit)
        except BadStamp as error:
            faults.append({"field": "timestamp", "message": str(error)})
    if faults:
        raise InvalidItems(first_faults(faults))
    receipt = {"status": "ok"} | ({"assumed_timezone": target.zone.key} if is_naive else {})
    return Intake(row_codec.encode_row(target.device_id, time, values), receipt)


def take_batch(
    target: Target, body: bytes, now: datetime, *, skip_bad: bool = False, unit: int = SECOND
) -> Intake:
    """Take readings of one device, each with its timestamp. Raises InvalidItems, BatchTooLong.

    With `skip_bad` the good ones are taken, and the receipt names the others.
    """
    items = decode_batch(body, decoder(target.names, many=True))
    return take_items(target, items, now, skip_bad=skip_bad, unit=unit).bounded()


def take_batch_at_once(target: Target, body: bytes, now: datetime, *, unit: int = SECOND) -> Intake:
    """Do the same on the event loop, where others wait: with a batch without a fault. Raises NeedsThread."""
    try:
        items = decoder(target.names, many=True).decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NeedsThread from error
    intake = take_uniform_batch(target, items, now, unit) if len(items) <= MAX_ITEMS else None
    if intake is None:
        raise NeedsThread
    return intake


def take_items(
    target: Target, items: Sequence[Any], now: datetime, *, skip_bad: bool = False, unit: int = SECOND
) -> Intake:
    """Take decoded readings of one device: `reading_type`s or other JSON values. Raises InvalidItems."""
    intake = take_uniform_batch(target, items, now, unit)
    if intake is not None:
        return intake
    good, rejected = check_items(items, partial(check_batch_item, target, now, unit), skip_bad=skip_bad)
    refused = [(target.uuid, rejected)] if rejected and target.uuid else ()
    return intake_of(good, rejected, len(target.names))._replace(refused=refused)


def take_uniform_batch(target: Target, items: Sequence[Any], now: datetime, unit: int) -> Intake | None:
    """Check all items together, at a tenth of the cost; None if one needs a closer look."""
    if set(map(type, items)) != {reading_type(target.names)}:
        return None
    *channels, stamp = map(attrgetter, reading_type(target.names).__struct_fields__)
    times = parse_batch_stamps(list(map(stamp, items)), unit)
    if times is None:
        return None
    values = np.empty((len(items), len(channels)))
    for i, channel in enumerate(channels):
        values[:, i] = np.fromiter(map(channel, items), np.float64, len(items))
    first, last = accepted_times(target, now)
    if times.min() < first or times.max() > last or out_of_range(target, values).any():
        return None
    receipt = {"accepted": len(items), "rejected": []}
    return Intake(row_codec.encode_rows(target.device_id, times, values), receipt)


def take_values(target: Target, times: UnixTimes, values: np.ndarray) -> Intake:
    """Take finite numbers; `values` has shape (readings, channels).

    Raises InvalidItems, which names the first reading that is out of range.
    """
    bad = out_of_range(target, values)
    if bad.any():
        index = int(bad.any(axis=1).argmax())
        message = describe_faults(range_faults(target, values[index].tolist()))
        raise InvalidItems([{"index": index, "message": message}])
    receipt = {"accepted": len(times), "rejected": []}
    return Intake(row_codec.encode_rows(target.device_id, times, values), receipt)


def take_sensors(
    directory: SensorDirectory, body: bytes, now: datetime, *, skip_bad: bool = False, unit: int = SECOND
) -> Intake:
    """Take readings of sensors, `{"sensor", "timestamp", "value"}`. Raises InvalidItems, BatchTooLong.

    New sensors are registered after all checks: a refused batch registers none. If the owner may have no more
    devices: LimitReached, or with `skip_bad` a fault of each reading of a new sensor.
    """
    items = decode_batch(body, SENSOR_BATCH_DECODER)
    return take_sensor_items(directory, items, now, skip_bad=skip_bad, unit=unit).bounded()


def take_sensor_items(
    directory: SensorDirectory,
    items: Sequence[Any],
    now: datetime,
    *,
    skip_bad: bool = False,
    unit: int = SECOND,
) -> Intake:
    """Take decoded readings of sensors: `SensorReading`s or other JSON values. Raises InvalidItems."""
    names = {sensor_name(item) for item in items}
    known = directory.find({name for name in names if not sensor_fault(name)})
    try:
        good, rejected = check_items(items, partial(check_sensor_item, known, now, unit), skip_bad=skip_bad)
    except InvalidItems as error:
        error.refused = refused_sensors(items, error.errors, known)
        raise
    unknown = {item.sensor for item in good if item.target is NEW_SENSOR}
    if unknown:
        try:
            known |= directory.register(unknown)
        except LimitReached as error:
            if not skip_bad:
                raise
            rejected = with_new_sensors_refused(good, rejected, str(error))
        good = [
            item._replace(target=known[item.sensor]) if item.target is NEW_SENSOR else item
            for item in good
            if item.target is not NEW_SENSOR or item.sensor in known
        ]
    return intake_of(good, rejected, 1)._replace(refused=refused_sensors(items, rejected, known))


def refused_sensors(items: Sequence[Any], rejected: list[Fault], known: dict[str, Target]) -> Refused:
    """The faults of each known sensor, of MOST_REFUSED at most."""
    found: dict[UUID, list[Fault]] = {}
    for fault in rejected:
        target = known.get(sensor_name(items[fault["index"]]))
        if target and target.uuid and (target.uuid in found or len(found) < MOST_REFUSED):
            found.setdefault(target.uuid, []).append(fault)
    return list(found.items())


def with_new_sensors_refused(good: list[CheckedReading], rejected: list[Fault], message: str) -> list[Fault]:
    """The faults, and one for each good reading of a sensor that could not be registered, by index."""
    bad, message = {fault["index"] for fault in rejected}, f"sensor: {message}"
    places = [place for place in range(len(good) + len(bad)) if place not in bad]
    refused = [
        {"index": place, "message": message}
        for place, item in zip(places, good, strict=True)
        if item.target is NEW_SENSOR
    ]
    return sorted([*rejected, *refused], key=lambda fault: fault["index"])


def sensor_name(item: Any) -> str:
    """Return the sensor's id; empty if the item has none."""
    if isinstance(item, SensorReading):
        return item.sensor
    name = item.get("sensor") if isinstance(item, dict) else None
    return name if isinstance(name, str) else ""


def check_items(
    items: Sequence[Any], read: Callable[[Any], CheckedReading], *, skip_bad: bool
) -> tuple[list[CheckedReading], list[Fault]]:
    """Return the good items and the faults of the others; without `skip_bad` a fault raises InvalidItems."""
    good, rejections = [], Rejections()
    for index, item in enumerate(items):
        try:
            good.append(read(item))
        except InvalidItems as error:
            rejections.add(index, error.errors)
    if rejections.faults and not skip_bad:
        raise InvalidItems(rejections.faults)
    return good, rejections.faults


def bounded_faults(faults: Sequence[Fault]) -> list[Fault]:
    """The first faults, in the bounds of a receipt; at least one, whose message may be cut."""
    named: list[Fault] = []
    left = NAMED_CHARACTERS
    for fault in faults[:NAMED_FAULTS]:
        message = fault["message"]
        if len(message) > left:
            break
        named.append(fault)
        left -= len(message)
    return named or [faults[0] | {"message": f"{faults[0]['message'][: NAMED_CHARACTERS - 1]}…"}]


def check_batch_item(target: Target, now: datetime, unit: int, item: Any) -> CheckedReading:
    if isinstance(item, msgspec.Struct):
        *values, stamp = msgspec.structs.astuple(item)
        faults = range_faults(target, values)
    else:
        faults = reading_faults(item, target.names)
        if not faults:
            values = [float(item[name]) for name in target.names]
            stamp = item.get("timestamp", msgspec.UNSET)
            faults = range_faults(target, values)
    if faults:
        raise InvalidItems(first_faults(faults))
    time, is_naive = require_reading_time(stamp, target, now, unit)
    return CheckedReading(target, "", time, is_naive, values)


def check_sensor_item(known: dict[str, Target], now: datetime, unit: int, item: Any) -> CheckedReading:
    if isinstance(item, SensorReading):
        sensor, stamp, value = item.sensor, item.timestamp, item.value
        message = sensor_fault(sensor)
        if message:
            raise InvalidItems([{"field": "sensor", "message": message}])
    else:
        faults = sensor_faults(item)
        if faults:
            raise InvalidItems(faults)
        sensor, stamp, value = item["sensor"], item["timestamp"], float(item["value"])
    target = known.get(sensor)
    if target is None:
        time, is_naive = require_reading_time(stamp, NEW_SENSOR, now, unit)
        return CheckedReading(NEW_SENSOR, sensor, time, is_naive, (value,))
    if not target.is_active:
        raise InvalidItems([{"field": "sensor", "message": "Is an inactive device."}])
    if len(target.names) != 1:
        raise InvalidItems([{"field": "sensor", "message": f"Is a device of {len(target.names)} channels."}])
    faults = range_faults(target, (value,))
    if faults:
        raise InvalidItems(faults)
    return CheckedReading(target, sensor, *require_reading_time(stamp, target, now, unit), (value,))


def intake_of(items: list[CheckedReading], rejected: list[Fault], channels: int) -> Intake:
    count = len(items)
    times = UnixTimes(np.fromiter((item.time for item in items), np.int64, count))
    values = np.array([item.values for item in items], np.float64).reshape(count, channels)
    devices = np.fromiter((item.target.device_id for item in items), np.int64, count)
    zones = sorted({item.target.zone.key for item in items if item.is_naive})
    receipt = {"accepted": count, "rejected": rejected}
    receipt |= {"assumed_timezone": ", ".join(zones)} if zones else {}
    return Intake(row_codec.encode_rows(devices, times, values), receipt)
