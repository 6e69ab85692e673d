from typing import NamedTuple


class CannotRead(Exception):
    """The file as a whole cannot be read; the message says why."""


class SourceRow(NamedTuple):
    """A row of a file: the line or row where it begins, its cells, and why it is none, if so."""

    line: int
    cells: list[str]
    error: str = ""
