"""The first rows of an upload as they are understood, and the guesses with which they are shown at first."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

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
from devices.timeline.instants import from_unix_microseconds

SHOWN_ROWS = 20


class PreviewCell(NamedTuple):
    """A cell: its text, what was understood (an instant or a number), and what is wrong with it."""

    text: str
    role: str
    time: datetime | None = None
    value: float | None = None
    reason: str = ""


class PreviewRow(NamedTuple):
    line: int
    cells: list[PreviewCell]
    reason: str


@dataclass(frozen=True)
class Preview:
    rows: list[PreviewRow]
    faulty: int
    # Why it cannot be imported yet.
    problems: list[str]
    is_order_open: bool
    channels: list[str]


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
    device = None if upload.device is None or options.device_column is not None else Target.of(upload.device)
    devices = NamedDevices(user)
    checker = RowChecker(options, device, devices, len(headings), now)
    checked = checker.check(shown)
    reasons = {(fault.row, fault.column): fault.reason for fault in reversed(checked.faults)}
    names = channel_names(upload, options, headings, sample, user)
    times = column([row.cells for row in sample], options.time_column)
    return Preview(
        rows=[preview_row(options, number, row, checked, reasons) for number, row in enumerate(shown)],
        faulty=checked.faulty,
        problems=list(problems(upload, options, names)),
        is_order_open=stamps.guess_order(times)[1],
        channels=names,
    )


def preview_row(
    options: Options, number: int, row: SourceRow, checked: CheckedRows, reasons: dict[tuple[int, int], str]
) -> PreviewRow:
    cells = []
    time, values = checked.understood().get(number, (None, {}))
    for place, text in enumerate(row.cells[: len(options.roles)]):
        role, reason = options.roles[place], reasons.get((number, place), "")
        instant = from_unix_microseconds(time) if role == TIME and time is not None else None
        value = values.get(role.removeprefix(CHANNEL)) if role.startswith(CHANNEL) else None
        cells.append(PreviewCell(text, role, instant, value, reason))
    return PreviewRow(row.line, cells, reasons.get((number, WHOLE_ROW), ""))


def problems(upload: Upload, options: Options, channels: Sequence[str]) -> Iterator[str]:
    if options.time_column is None:
        yield "Say which column is the time."
    if options.device_column is None and upload.device is None:
        yield "Choose the device, or say which column names it."
        return
    if options.device_column is None and upload.device is not None and not upload.device.is_active:
        yield "The device is inactive: it takes no readings."
    missing = [name for name in channels if name not in options.channel_columns]
    if missing:
        yield f"Say which column is {', '.join(missing)}: a reading has every channel of its device."


def role_choices(channels: Sequence[str]) -> list[tuple[str, str]]:
    """Roles and their labels for a column's menu."""
    fixed = [("", "Not imported"), (TIME, "Time"), (CLOCK, "Time of day"), (DEVICE, "Device")]
    return [*fixed, *((CHANNEL + name, name) for name in channels)]
