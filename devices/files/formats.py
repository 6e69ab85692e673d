"""Formats of lines: CSV and NDJSON. Each line is one record, so that every fault has a line number."""

import csv
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from devices.ingestion.decoding import number_of_digits

FLOATS = msgspec.json.Decoder(list[float])
NUMBER: msgspec.json.Decoder[int | float] = msgspec.json.Decoder(int | float)


class CannotImport(Exception):
    """The file as a whole cannot be imported; the message says why."""


class BadLine(Exception):
    """The line is not a record; the message says why."""


class Format(Protocol):
    def read(self, texts: Sequence[str]) -> list[tuple[str, Any]]:
        """Return device and content of each line. Raises BadLine if one of them is not a record."""

    def items(self, kind: type[msgspec.Struct], contents: Sequence[Any]) -> list[Any]:
        """Convert each content to a `kind`, or to unchecked JSON if any of them does not fit."""


class Ndjson:
    """A JSON object in each line; its key `device` is the device's id, unless `device` is given for all."""

    def __init__(self, device: str | None) -> None:
        self.device = device

    def read(self, texts: Sequence[str]) -> list[tuple[str, Any]]:
        return [self.read_one(text) for text in texts]

    def read_one(self, text: str) -> tuple[str, Any]:
        try:
            # NaN and Infinity are not JSON, but pass here: the intake names the channel that has them.
            content = json.loads(text, parse_int=number_of_digits)
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
    """Cells of the columns that the first line names; one is `device`, unless it is given for all lines."""

    def __init__(self, columns: Sequence[str], device: str | None) -> None:
        self.columns = columns
        self.device = device
        self.device_column = columns.index("device") if device is None else None
        self.reading_columns = {c for number, c in enumerate(columns) if number != self.device_column}

    def read(self, texts: Sequence[str]) -> list[tuple[str, Any]]:
        try:
            rows = list(csv.reader(texts, strict=True))
        except csv.Error as error:
            raise BadLine(f"Not valid CSV: {error}.") from error
        # A quoted cell that goes on in the next line makes fewer records than lines.
        if len(rows) != len(texts):
            raise BadLine("Not valid CSV: a quoted cell must end on its line.")
        width = len(self.columns)
        for row in rows:
            if len(row) != width:
                raise BadLine(f"Has {len(row)} columns instead of {width}.")
        if self.device is not None:
            return [(self.device, row) for row in rows]
        device_column = self.columns.index("device")
        return [(row[device_column], row) for row in rows]

    def items(self, kind: type[msgspec.Struct], contents: Sequence[Any]) -> list[Any]:
        is_number = json_keys(kind)
        if is_number.keys() == self.reading_columns:
            cells = dict(zip(self.columns, zip(*contents, strict=True), strict=True))
            try:
                return list(map(kind, *(read_column(c, cells[c], is_number[c]) for c in is_number)))
            except msgspec.DecodeError:
                pass
        return [self.unchecked_item(row, is_number) for row in contents]

    def unchecked_item(self, row: list[str], is_number: dict[str, bool]) -> dict[str, Any]:
        return {
            column: unchecked_cell(column, cell, is_number=is_number.get(column, False))
            for number, (column, cell) in enumerate(zip(self.columns, row, strict=True))
            if number != self.device_column
        }


@lru_cache(maxsize=1024)
def json_keys(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """Return the keys of its JSON, in order, and whether each is a number."""
    return {field.encode_name: field.type is float for field in msgspec.structs.fields(kind)}


def read_column(name: str, cells: Sequence[str], is_number: bool) -> Sequence[Any]:
    """Convert the cells of a column. Raises msgspec.DecodeError, see `numbers`."""
    if is_number:
        return numbers(cells)
    if name != "timestamp":
        return cells
    # No number has two hyphens there, as 2026-11-21 has: text costs nothing more.
    return [cell if cell[4:8:3] == "--" else text_or_number(cell) for cell in cells]


def text_or_number(cell: str) -> str | int | float:
    try:
        return NUMBER.decode(cell)
    except msgspec.DecodeError:
        return cell


def numbers(cells: Sequence[str]) -> list[float]:
    """Parse all cells at once. Raises msgspec.DecodeError unless each is one number as JSON writes it."""
    # Decoding fails on a cell that is not a number; a cell of several numbers makes the array longer.
    values = FLOATS.decode(f"[{','.join(cells)}]")
    if len(values) != len(cells):
        raise msgspec.DecodeError("A cell holds several numbers.")
    return values


def unchecked_cell(name: str, cell: str, *, is_number: bool) -> Any:
    """Parse the cell of a number as JSON of any type; return its text if it is not JSON."""
    if not is_number:
        return text_or_number(cell) if name == "timestamp" else cell
    try:
        return json.loads(cell, parse_int=number_of_digits)
    except (json.JSONDecodeError, RecursionError):
        return cell
