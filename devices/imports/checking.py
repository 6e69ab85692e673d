"""Rows of cells become readings; each cell that cannot is named. Usual columns are read at once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from devices.access.grants import Target
from devices.imports.cells import decimals, stamps
from devices.imports.options import Options
from devices.imports.senders import NamedDevices
from devices.imports.tables.source_row import SourceRow
from devices.ingestion.checks import MAX_AHEAD, accepted_times, out_of_range, range_faults
from devices.storage import row_codec
from devices.storage.interface import Rows
from devices.timeline.instants import UnixMicroseconds, UnixTimes
from devices.timeline.periods import BadStamp

WHOLE_ROW = -1
NO_ROWS = Rows(b"", UnixTimes(np.empty(0, np.int64)))


class CellFault(NamedTuple):
    """A faulty cell of a block: the indices of its row and column, WHOLE_ROW for none, and the reason."""

    row: int
    column: int
    reason: str


class DeviceRows(NamedTuple):
    """The rows of one device: their numbers and, in the same order, times and values; None is unreadable."""

    numbers: list[int]
    times: list[UnixMicroseconds | None]
    columns: dict[str, list[float | None]]


@dataclass
class CheckedRows:
    """Rows of a block: their cells, what was read of each device's, the faults, and the good readings."""

    cells: list[list[str]] = field(default_factory=list)
    read: list[DeviceRows] = field(default_factory=list)
    faults: list[CellFault] = field(default_factory=list)
    rows: Rows = NO_ROWS

    def understood(self) -> dict[int, tuple[UnixMicroseconds | None, dict[str, float | None]]]:
        """Return time and values by the number of the row."""
        return {
            number: (part.times[i], {name: column[i] for name, column in part.columns.items()})
            for part in self.read
            for i, number in enumerate(part.numbers)
        }

    @property
    def faulty(self) -> int:
        return len({fault.row for fault in self.faults})


class RowChecker:
    """Checks blocks of an upload. `device` sent all rows, or `devices` finds those that they name."""

    def __init__(
        self, options: Options, device: Target | None, devices: NamedDevices, width: int, now: datetime
    ) -> None:
        self.options = options
        self.device = device
        self.devices = devices
        self.width = width
        self.now = now

    def check(self, rows: Sequence[SourceRow]) -> CheckedRows:
        checked = CheckedRows()
        checked.cells = [self.whole(number, row, checked.faults) for number, row in enumerate(rows)]
        good = [number for number, cells in enumerate(checked.cells) if cells]
        by_target: dict[Target, list[int]] = {}
        if self.device is not None:
            by_target[self.device] = good
        else:
            for number, target in self.find_targets(good, checked).items():
                by_target.setdefault(target, []).append(number)
        checked.rows = join([self.check_device(target, mine, checked) for target, mine in by_target.items()])
        checked.faults.sort()
        return checked

    def whole(self, number: int, row: SourceRow, faults: list[CellFault]) -> list[str]:
        """The row's cells, as many as there are columns; none of a row that is faulty as a whole."""
        cells, error = row.cells, row.error
        if len(cells) == self.width and not error:
            return cells
        if not error and any(cell.strip() for cell in cells[self.width :]):
            error = f"Has {len(cells)} cells instead of {self.width}."
        if error:
            faults.append(CellFault(number, WHOLE_ROW, error))
            return []
        return [*cells[: self.width], *[""] * (self.width - len(cells))]

    def find_targets(self, numbers: Iterable[int], checked: CheckedRows) -> dict[int, Target]:
        column = self.options.device_column
        if column is None:
            return {}
        texts = {number: checked.cells[number][column] for number in numbers}
        found = self.devices.find(set(texts.values()))
        targets = {}
        for number, text in texts.items():
            target = found[text]
            if isinstance(target, Target):
                targets[number] = target
            else:
                checked.faults.append(CellFault(number, column, target))
        return targets

    def check_device(self, target: Target, numbers: list[int], checked: CheckedRows) -> Rows:
        """Check the rows of one device, add what was understood to `checked`, and return the good ones."""
        before = len(checked.faults)
        cells = [checked.cells[number] for number in numbers]
        times = self.read_times(target, numbers, cells, checked.faults)
        columns = self.read_values(target, numbers, cells, checked.faults)
        self.check_times(target, numbers, times, checked.faults)
        self.check_ranges(target, numbers, columns, checked.faults)
        checked.read.append(DeviceRows(numbers, times, columns))
        bad = {fault.row for fault in checked.faults[before:]}
        good = [place for place, number in enumerate(numbers) if number not in bad]
        if not good:
            return NO_ROWS
        table = table_of(columns, target.names, len(numbers))[good]
        stamps_read = UnixTimes(np.array([times[place] for place in good], np.int64))
        return row_codec.encode_rows(target.device_id, stamps_read, table)

    # --- Cells

    def read_times(
        self, target: Target, numbers: Sequence[int], rows: Sequence[Sequence[str]], faults: list[CellFault]
    ) -> list[UnixMicroseconds | None]:
        options, column = self.options, self.options.time_column
        if column is None:
            return [None] * len(rows)
        zone = ZoneInfo(options.zone) if options.zone else target.zone
        texts = [row[column].strip() for row in rows]
        if options.clock_column is not None:
            texts = [
                f"{text} {row[options.clock_column].strip()}" for text, row in zip(texts, rows, strict=True)
            ]
        usual = stamps.parse_usual(texts, options.order, zone)
        if usual is not None:
            return usual[0].tolist()

        def read(text: str) -> UnixMicroseconds:
            return stamps.parse(text, options.order, options.unit, zone)[0]

        return read_each(read, texts, numbers, column, faults)

    def read_values(
        self, target: Target, numbers: Sequence[int], rows: Sequence[Sequence[str]], faults: list[CellFault]
    ) -> dict[str, list[float | None]]:
        options, found = self.options, {}
        for name in target.names:
            column = options.channel_columns.get(name)
            if column is None:
                faults += [CellFault(number, WHOLE_ROW, f"No column has {name}.") for number in numbers]
                continue
            texts = [row[column] for row in rows]
            usual = decimals.parse_usual(texts, options.decimal)

            def read(text: str) -> float:
                return decimals.parse(text, options.decimal, is_grouped=options.is_grouped)

            found[name] = list(usual) if usual else read_each(read, texts, numbers, column, faults)
        return found

    def check_times(
        self,
        target: Target,
        numbers: Sequence[int],
        times: Sequence[UnixMicroseconds | None],
        faults: list[CellFault],
    ) -> None:
        first, last = accepted_times(target, self.now)
        known = [time for time in times if time is not None]
        if not known or (first <= min(known) and max(known) <= last):
            return
        for number, time in zip(numbers, times, strict=True):
            if time is not None and not first <= time <= last:
                reason = TOO_LATE if time > last else "Is older than what is kept."
                faults.append(CellFault(number, self.options.time_column or 0, reason))

    def check_ranges(
        self,
        target: Target,
        numbers: Sequence[int],
        columns: dict[str, list[float | None]],
        faults: list[CellFault],
    ) -> None:
        if len(columns) < len(target.names):
            return
        # What could not be read is NaN: within every range.
        table = table_of(columns, target.names, len(numbers))
        for place in np.flatnonzero(out_of_range(target, table).any(axis=1)).tolist():
            for fault in range_faults(target, table[place].tolist()):
                column = self.options.channel_columns[fault["field"]]
                faults.append(CellFault(numbers[place], column, fault["message"]))


TOO_LATE = f"Is more than {MAX_AHEAD.seconds // 60} minutes in the future."


def read_each(
    read: Callable[[str], Any],
    texts: Sequence[str],
    numbers: Sequence[int],
    column: int,
    faults: list[CellFault],
) -> list[Any]:
    """Read cell by cell; a cell that cannot be read is None and named."""
    found: list[Any] = []
    for number, text in zip(numbers, texts, strict=True):
        try:
            found.append(read(text))
        except (BadStamp, decimals.BadNumber) as error:
            faults.append(CellFault(number, column, str(error)))
            found.append(None)
    return found


def table_of(columns: dict[str, list[float | None]], names: Sequence[str], height: int) -> np.ndarray:
    """Return the values in shape (readings, channels), also of no channel; None is NaN."""
    return np.array([columns[name] for name in names], np.float64).reshape(len(names), height).T


def join(parts: Sequence[Rows]) -> Rows:
    parts = [NO_ROWS, *parts]
    return Rows(
        b"".join(part.payload for part in parts), UnixTimes(np.concatenate([part.times for part in parts]))
    )
