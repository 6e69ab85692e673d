"""Reading a file in blocks of whole lines, with the device and content of each."""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from devices.files.formats import BadLine, CannotImport, Csv, Format, Ndjson

# A block is stored in one transaction; its limits bound the memory for a file of any size.
BLOCK_LINES = 5000
BLOCK_BYTES = 2 * 1024 * 1024
MAX_LINE_BYTES = 16 * 1024
BOM = b"\xef\xbb\xbf"


class Fault(NamedTuple):
    line: int
    message: str


class Records(NamedTuple):
    """Records of one device: line numbers, and what each line holds beside the device."""

    lines: list[int]
    contents: list[Any]

    def faults(self, receipt: dict[str, Any]) -> list[Fault]:
        """Name the rejected items of an intake's receipt by their lines."""
        return [Fault(self.lines[item["index"]], item["message"]) for item in receipt["rejected"]]


class Block(NamedTuple):
    """Records of some lines by device, as text. `line` is the last one, which ends at the byte `position`."""

    records: dict[str, Records]
    faults: list[Fault]
    line: int
    position: int


class RecordFile:
    """An open file. The records begin after the line `line`, at the byte `position`.

    `device` is the device of every line, empty for lines without devices; None if each line names its own.
    """

    def __init__(self, file: BinaryIO, format_name: str, device: str | None) -> None:
        """Raises CannotImport if the first line of a CSV file does not name columns."""
        self.file = file
        self.state = self.file_state()
        file.seek(0)
        if file.read(len(BOM)) != BOM:
            file.seek(0)
        self.columns: list[str] = []
        self.line = 0
        if format_name == "csv":
            self.columns, self.line = self.read_header(device), 1
        self.position = file.tell()
        self.format: Format = Csv(self.columns, device) if format_name == "csv" else Ndjson(device)

    @property
    def size(self) -> int:
        return self.state[0]

    def read_header(self, device: str | None) -> list[str]:
        """Return the columns of a CSV file. Raises CannotImport."""
        try:
            text = self.file.readline(MAX_LINE_BYTES).decode()
            columns = next(csv.reader([text], strict=True), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise CannotImport(f"The first line must name the columns, in UTF-8: {error}.") from error
        doubled = sorted({column for column in columns if columns.count(column) > 1})
        if doubled:
            raise CannotImport(f"Columns named twice: {', '.join(doubled)}.")
        if device is None and "device" not in columns:
            raise CannotImport("There is no column device: name the device, or the owner of the sensors.")
        return columns

    def blocks(self, line: int, position: int) -> Iterator[Block]:
        """Yield all lines after the line `line`, which ends at the byte `position`. Raises CannotImport."""
        self.file.seek(position)
        while lines := self.next_lines(line + 1):
            # The lines that are stored must be those that were checked and digested.
            if self.file_state() != self.state:
                raise CannotImport("The file was changed while it was read.")
            records, faults = self.read(line + 1, lines)
            line, position = line + len(lines), position + sum(map(len, lines))
            yield Block(records, faults, line, position)

    def next_lines(self, first: int) -> list[bytes]:
        """Return the lines of the next block; none at the end of the file."""
        lines: list[bytes] = []
        size = 0
        while len(lines) < BLOCK_LINES and size < BLOCK_BYTES:
            raw = self.file.readline(MAX_LINE_BYTES + 1)
            if not raw:
                break
            if len(raw) > MAX_LINE_BYTES:
                raise CannotImport(f"Line {first + len(lines)} is longer than {MAX_LINE_BYTES} bytes.")
            lines.append(raw)
            size += len(raw)
        return lines

    def file_state(self) -> tuple[int, int]:
        """Return size and time of the last change."""
        state = os.fstat(self.file.fileno())
        return state.st_size, state.st_mtime_ns

    def read(self, first: int, lines: Sequence[bytes]) -> tuple[dict[str, Records], list[Fault]]:
        """Read records by device; empty lines are counted, but hold no record."""
        numbered = {number: raw for number, raw in enumerate(lines, first) if not raw.isspace()}
        try:
            return by_device(numbered, self.format.read([raw.decode() for raw in numbered.values()])), []
        except (UnicodeDecodeError, BadLine):
            return self.read_one_by_one(numbered)

    def read_one_by_one(self, numbered: Mapping[int, bytes]) -> tuple[dict[str, Records], list[Fault]]:
        good, faults = {}, []
        for number, raw in numbered.items():
            try:
                [good[number]] = self.format.read([raw.decode()])
            except UnicodeDecodeError:
                faults.append(Fault(number, "Is not UTF-8."))
            except BadLine as error:
                faults.append(Fault(number, str(error)))
        return by_device(good, good.values()), faults


def by_device(numbers: Iterable[int], records: Iterable[tuple[str, Any]]) -> dict[str, Records]:
    """Group the records (device, content) of these lines."""
    groups: dict[str, Records] = {}
    for number, (device, content) in zip(numbers, records, strict=True):
        if device not in groups:
            groups[device] = Records([], [])
        groups[device].lines.append(number)
        groups[device].contents.append(content)
    return groups
