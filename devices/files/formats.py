"""Files of readings, CSV and NDJSON, as records; and records as items that `ingest` checks.

A record is one line in both, so that every fault has a line number and every block ends between two records.
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple, Protocol

import msgspec

from devices.ingestion.decoding import double_of_digits

# A block is stored in one transaction; with these bounds a file of any size needs little memory.
BLOCK_LINES = 5000
BLOCK_BYTES = 2 * 1024 * 1024
MAX_LINE_BYTES = 16 * 1024
BOM = b"\xef\xbb\xbf"
FLOATS = msgspec.json.Decoder(list[float])


class CannotImport(Exception):
    """The file as a whole; the message says why."""


class BadLine(Exception):
    """A line is no record; the message says why."""


class Fault(NamedTuple):
    line: int
    message: str


class Records(NamedTuple):
    """Of one device: the numbers of their lines, and what each says beside the device."""

    lines: list[int]
    contents: list[Any]


class Block(NamedTuple):
    """Some lines, by the text of the device's id. It ends behind the line `line`, at the byte `position`."""

    records: dict[str, Records]
    faults: list[Fault]
    line: int
    position: int


class Format(Protocol):
    def read(self, texts: Sequence[str]) -> list[tuple[str, Any]]:
        """Device and content of each line. Raises BadLine if one is no record."""

    def items(self, kind: type[msgspec.Struct], contents: Sequence[Any]) -> list[Any]:
        """Of each record's content a `kind`, or JSON that says the same or what is wrong."""


class Ndjson:
    """An object in each line; its key `device` is the device's id, unless `device` is given for all."""

    def __init__(self, device: str | None) -> None:
        self.device = device

    def read(self, texts: Sequence[str]) -> list[tuple[str, Any]]:
        return [self.read_one(text) for text in texts]

    def read_one(self, text: str) -> tuple[str, Any]:
        try:
            # NaN and Infinity, which are not JSON, are for `ingest` to name.
            content = json.loads(text, parse_int=double_of_digits)
        except json.JSONDecodeError as error:
            raise BadLine(f"Not valid JSON: {error.msg}, at character {error.colno}.") from error
        except RecursionError as error:
            raise BadLine("Not valid JSON: nested too deeply.") from error
        if not isinstance(content, dict):
            raise BadLine("Must be an object.")
        if self.device is not None:
            return self.device, content
        device = content.pop("device", None)
        if not isinstance(device, str):
            raise BadLine("device: Must be the id of a device.")
        return device, content

    def items(self, kind: type[msgspec.Struct], contents: Sequence[Any]) -> list[Any]:
        return list(contents)


class Csv:
    """Cells of the columns that the first line names; `device` is one, unless it is given for all lines."""

    def __init__(self, columns: Sequence[str], device: str | None) -> None:
        self.columns = columns
        self.device = device
        self.device_place = columns.index("device") if device is None else None
        self.reading_columns = {c for place, c in enumerate(columns) if place != self.device_place}

    def read(self, texts: Sequence[str]) -> list[tuple[str, Any]]:
        try:
            rows = list(csv.reader(texts, strict=True))
        except csv.Error as error:
            raise BadLine(f"Not valid CSV: {error}.") from error
        # Quotes that are closed in another line make fewer records than lines.
        if len(rows) != len(texts):
            raise BadLine("Not valid CSV: quotes are not closed in the line.")
        width = len(self.columns)
        for row in rows:
            if len(row) != width:
                raise BadLine(f"Has {len(row)} columns instead of {width}.")
        if self.device_place is None:
            return [(self.device, row) for row in rows]
        return [(row[self.device_place], row) for row in rows]

    def items(self, kind: type[msgspec.Struct], contents: Sequence[Any]) -> list[Any]:
        is_number = keys(kind)
        if is_number.keys() == self.reading_columns:
            cells = dict(zip(self.columns, zip(*contents, strict=True), strict=True))
            try:
                return list(map(kind, *(numbers(cells[c]) if is_number[c] else cells[c] for c in is_number)))
            except msgspec.DecodeError:
                pass
        return [self.loose_item(row, is_number) for row in contents]

    def loose_item(self, row: list[str], is_number: dict[str, bool]) -> dict[str, Any]:
        return {
            column: loose_number(cell) if is_number.get(column) else cell
            for place, (column, cell) in enumerate(zip(self.columns, row, strict=True))
            if place != self.device_place
        }


class RecordFile:
    """An open file. `columns` are those that a CSV file names; `line`, `position` where the records begin.

    Raises CannotImport if it is no such file.
    """

    def __init__(self, file: BinaryIO, format_name: str, device: str | None) -> None:
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
        """Of a CSV file. Raises CannotImport."""
        try:
            text = self.file.readline(MAX_LINE_BYTES).decode()
            columns = next(csv.reader([text], strict=True), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise CannotImport(f"The first line must name the columns, in UTF-8: {error}.") from error
        doubled = sorted({column for column in columns if columns.count(column) > 1})
        if doubled:
            raise CannotImport(f"Columns named twice: {', '.join(doubled)}.")
        if device is None and "device" not in columns:
            raise CannotImport("There is no column device: say which device, or whose sensors, these are.")
        return columns

    def blocks(self, line: int, position: int) -> Iterator[Block]:
        """All lines behind the line `line`, which ends at the byte `position`. Raises CannotImport."""
        self.file.seek(position)
        while lines := self.next_lines(line + 1):
            # What was checked, and what its digest stands for, must be what is stored.
            if self.file_state() != self.state:
                raise CannotImport("The file was changed while it was read.")
            records, faults = self.read(line + 1, lines)
            line, position = line + len(lines), position + sum(map(len, lines))
            yield Block(records, faults, line, position)

    def next_lines(self, first: int) -> list[bytes]:
        """Those of a block; none at the end of the file."""
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
        state = os.fstat(self.file.fileno())
        return state.st_size, state.st_mtime_ns

    def read(self, first: int, lines: Sequence[bytes]) -> tuple[dict[str, Records], list[Fault]]:
        """Empty lines are no records; they count all the same."""
        numbered = {number: raw for number, raw in enumerate(lines, first) if not raw.isspace()}
        try:
            return grouped(numbered, self.format.read([raw.decode() for raw in numbered.values()])), []
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
        return grouped(good, good.values()), faults


def grouped(numbers: Iterable[int], read: Iterable[tuple[str, Any]]) -> dict[str, Records]:
    """`read`: device and content of each of these lines."""
    groups: dict[str, Records] = {}
    for number, (device, content) in zip(numbers, read, strict=True):
        if device not in groups:
            groups[device] = Records([], [])
        groups[device].lines.append(number)
        groups[device].contents.append(content)
    return groups


@lru_cache(maxsize=1024)
def keys(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """Its keys in JSON, in order, and whether each is a number."""
    return {field.encode_name: field.type is float for field in msgspec.structs.fields(kind)}


def numbers(cells: Sequence[str]) -> list[float]:
    """Raises msgspec.DecodeError unless every cell is one number as JSON writes it."""
    # A cell that is no number spoils the array; one that holds several makes it longer.
    values = FLOATS.decode(f"[{','.join(cells)}]")
    if len(values) != len(cells):
        raise msgspec.DecodeError("A cell holds several numbers.")
    return values


def loose_number(cell: str) -> Any:
    """What the cell is in JSON, which may be no number, or its text."""
    try:
        return json.loads(cell, parse_int=double_of_digits)
    except (json.JSONDecodeError, RecursionError):
        return cell
