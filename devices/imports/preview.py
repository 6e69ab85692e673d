"""The first rows of an upload as they are understood, and the guesses with which they are shown at first."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.utils import timezone

from devices.access.grants import Target
from devices.imports import uploaded_file
from devices.imports.cells import decimals, stamps
from devices.imports.cells.columns import CHANNEL, CLOCK, DEVICE, TIME, guess_roles
from devices.imports.checking import WHOLE_ROW, CheckedRows, RowChecker
from devices.imports.models import Upload
from devices.imports.options import EXCEL, TEXT, Options
from devices.imports.senders import NamedDevices
from devices.imports.tables import content
from devices.imports.tables.source_row import SourceRow
from devices.models import Device, DeviceProfile, DeviceQuerySet
from devices.notation.numbers import learnt_decimals
from devices.timeline.instants import from_unix_microseconds

SHOWN_ROWS = 20


class PreviewCell(NamedTuple):
    """A cell: its text, what was understood (an instant or a number), and what is wrong with it."""

    text: str
    role: str
    time: datetime | None = None
    value: float | None = None
    reason: str = ""
    decimals: int | None = None


class PreviewRow(NamedTuple):
    line: int
    cells: list[PreviewCell]
    reason: str


@dataclass(frozen=True)
class Preview:
    rows: list[PreviewRow]
    faulty: int
    # Why it cannot be imported yet: no device, or what the columns lack.
    device_problem: str
    column_problems: list[str]
    is_order_open: bool

    @property
    def is_importable(self) -> bool:
        return not self.device_problem and not self.column_problems


def visible_devices(user: Any) -> DeviceQuerySet:
    return Device.objects.visible_to(user).with_channels()


# --- Guessing


def guess_all(upload: Upload, user: Any) -> None:
    """Guess how a new upload is read. Raises CannotRead."""
    options = content.guess(uploaded_file.opened(upload))
    guess_cells(upload, options, user)


def guess_cells(upload: Upload, options: Options, user: Any) -> None:
    """Keep the options, with guesses of what the columns and cells mean. Raises CannotRead."""
    headings, sample = read_sample(upload, options)
    cells = [row.cells for row in sample]
    roles = guess_roles(headings, cells, (), needs_device=upload.device is None)
    options = options.changed(roles=roles)
    channels = channel_names(upload, options, headings, sample, user)
    roles = guess_roles(headings, cells, channels, needs_device=upload.device is None)
    options = options.changed(roles=roles)
    times = column(cells, options.time_column)
    values = [cell for i in range(len(headings)) if i != options.time_column for cell in column(cells, i)]
    options = options.changed(
        order=stamps.guess_order(times)[0],
        unit=stamps.guess_unit(times),
        decimal=guess_decimal(options, values),
    )
    if options.kind == EXCEL:
        # Its numbers are written anew, with that decimal sign.
        options = options.changed(decimal=".") if not any("," in value for value in values) else options
    upload.headings, upload.options = headings, options.as_json()
    upload.save(update_fields=("headings", "options"))


def guess_decimal(options: Options, cells: Sequence[str]) -> str:
    numbers = [cell for cell in cells if decimals.is_number(cell)]
    has_commas = any("," in cell for cell in numbers) and not any("." in cell for cell in numbers)
    may_be_comma = options.kind == TEXT and options.separator != "," and has_commas
    return decimals.guess_sign(numbers, otherwise="," if may_be_comma else ".")


def read_sample(upload: Upload, options: Options) -> tuple[list[str], list[SourceRow]]:
    table = content.open_table(uploaded_file.opened(upload), options)
    return table.headings, list(islice(table.rows, content.SAMPLE_ROWS))


def column(cells: Sequence[Sequence[str]], number: int | None) -> list[str]:
    return [] if number is None else [row[number] for row in cells if number < len(row)]


def channel_names(
    upload: Upload, options: Options, headings: Sequence[str], sample: Sequence[SourceRow], user: Any
) -> list[str]:
    """Channels to choose from: of the device, of the devices in the sample, or of the nearest profile."""
    if upload.device is not None:
        return [channel.name for channel in upload.device.channels]
    names = set(column([row.cells for row in sample], options.device_column))
    found = NamedDevices(user).find(names).values() if names else ()
    targets = [target for target in found if isinstance(target, Target)]
    if targets:
        return list(dict.fromkeys(name for target in targets for name in target.names))
    return nearest_profile(headings)


def nearest_profile(headings: Collection[str]) -> list[str]:
    profiles = DeviceProfile.objects.prefetch_related("channels")
    channels = [[channel.name for channel in profile.channels.all()] for profile in profiles]

    def likeness(names: Sequence[str]) -> tuple[int, int]:
        given = guess_roles(list(headings), [], names, needs_device=True)
        return sum(1 for role in given if role.startswith(CHANNEL)), -len(names)

    return max(channels, key=likeness, default=[])


# --- Showing


def of(upload: Upload, user: Any, now: datetime) -> Preview:
    """Raises CannotRead."""
    options = Options.of(upload.options)
    headings, sample = read_sample(upload, options)
    shown = sample[:SHOWN_ROWS]
    devices = NamedDevices(user)
    checker = RowChecker(options, sender(upload, options), devices, len(headings), now)
    checked = checker.check(shown)
    declared = declared_decimals(upload, options, devices)
    names = channel_names(upload, options, headings, sample, user)
    times = column([row.cells for row in sample], options.time_column)
    return Preview(
        rows=preview_rows(options, shown, checked, declared),
        faulty=checked.faulty,
        device_problem=device_problem(upload, options),
        column_problems=list(column_problems(upload, options, names)),
        is_order_open=stamps.guess_order(times)[1],
    )


def sender(upload: Upload, options: Options) -> Target | None:
    """The device of all rows; before one is chosen, a device with the channels that the columns have.

    Its zone is that of the page, which shows a stamp without an offset as it stands in the file.
    """
    if options.device_column is not None:
        return None
    if upload.device is not None:
        return Target.of(upload.device)
    names = tuple(options.channel_columns)
    unbounded = (math.inf,) * len(names)
    zone = ZoneInfo(str(timezone.get_current_timezone()))
    return Target(0, names, tuple(-limit for limit in unbounded), unbounded, zone, allows_future=True)


def declared_decimals(upload: Upload, options: Options, devices: NamedDevices) -> dict[str, int]:
    """Decimals by channel, as the profiles of the device, or of the `devices` found, declare them."""
    if options.device_column is not None or upload.device is None:
        return devices.decimals
    channels = upload.device.channels
    return {channel.name: channel.decimals for channel in channels if channel.decimals is not None}


def preview_rows(
    options: Options, rows: Sequence[SourceRow], checked: CheckedRows, declared: dict[str, int]
) -> list[PreviewRow]:
    reasons = {(fault.row, fault.column): fault.reason for fault in reversed(checked.faults)}
    understood = checked.understood()
    values_of_rows = [values for _, values in understood.values()]
    decimals_of = {name: learnt(values_of_rows, name) for name in options.channel_columns} | declared
    found = []
    for number, row in enumerate(rows):
        time, values = understood.get(number, (None, {}))
        cells = []
        for place, text in enumerate(row.cells[: len(options.roles)]):
            role, reason = options.roles[place], reasons.get((number, place), "")
            name = role.removeprefix(CHANNEL) if role.startswith(CHANNEL) else ""
            instant = from_unix_microseconds(time) if role == TIME and time is not None else None
            cells.append(PreviewCell(text, role, instant, values.get(name), reason, decimals_of.get(name)))
        found.append(PreviewRow(row.line, cells, reasons.get((number, WHOLE_ROW), "")))
    return found


def learnt(rows: Sequence[dict[str, float | None]], name: str) -> int | None:
    return learnt_decimals(value for row in rows if (value := row.get(name)) is not None)


def device_problem(upload: Upload, options: Options) -> str:
    if options.device_column is not None:
        return ""
    if upload.device is None:
        return "Choose the device, or say which column names it."
    return "" if upload.device.is_active else "The device is inactive: it takes no readings."


def column_problems(upload: Upload, options: Options, channels: Sequence[str]) -> Iterator[str]:
    if options.time_column is None:
        yield "Say which column is the time."
    is_known = options.device_column is not None or upload.device is not None
    missing = [name for name in channels if name not in options.channel_columns]
    # Before a device is known its channels are guessed.
    if missing and is_known:
        yield f"Say which column is {', '.join(missing)}: a reading has every channel of its device."


def role_choices(channels: Sequence[str]) -> list[tuple[str, str]]:
    """Roles and their labels for a column's menu."""
    fixed = [("", "Not imported"), (TIME, "Time"), (CLOCK, "Time of day"), (DEVICE, "Device")]
    return [*fixed, *((CHANNEL + name, name) for name in channels)]
