from typing import NamedTuple

from devices.ingestion.checks import printable

TOO_MUCH = "The workbook unpacks to too much: save the sheet as CSV."


class CannotRead(Exception):
    """The file as a whole cannot be read; the message says why."""


class SourceRow(NamedTuple):
    """A row of a file: the line or row where it begins, its cells, and why it is none, if so."""

    line: int
    cells: list[str]
    error: str = ""


def storable(text: str) -> str:
    """Replace what no database holds: NUL, and halves of surrogate pairs."""
    return text if text.isascii() and "\0" not in text else printable(text.replace("\0", "\ufffd"))
