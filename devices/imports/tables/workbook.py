"""Excel workbooks (.xlsx), read row by row.

openpyxl's read-only mode parses a sheet as a stream. python-calamine is faster, but holds the whole sheet in
memory: an upload could fill it. Before anything is parsed, the sizes that the archive declares are checked;
Python's zipfile unpacks no more than them.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

from django.conf import settings
from django.utils.module_loading import import_string

from devices.imports.tables.source_row import CannotRead, SourceRow, storable

# Imported by name on use: it is a tenth of the start of every command, and few of them read a workbook.
LOAD = "openpyxl.load_workbook"
MEBI = 1024 * 1024
# Sheets are read as a stream; texts, styles and all else are held in memory.
MAX_HELD_BYTES = 64 * MEBI
SHEET_EXPANSION = 8
MAX_ENTRIES = 10_000
# As many as Excel has.
MAX_ROWS = 1_048_576
MAX_COLUMNS = 1000
FAULTS = (
    zipfile.BadZipFile,
    ParseError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ArithmeticError,
    OSError,
    struct.error,
    zlib.error,
)


def check_sizes(file: BinaryIO) -> None:
    """Refuse an archive that would unpack to too much. Raises CannotRead."""
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except FAULTS as error:
        raise CannotRead("The workbook is broken.") from error
    held = sum(entry.file_size for entry in entries if "worksheets/" not in entry.filename)
    total = sum(entry.file_size for entry in entries)
    most = SHEET_EXPANSION * settings.IMPORT_MEBIBYTES * MEBI
    if len(entries) > MAX_ENTRIES or held > MAX_HELD_BYTES or total > most:
        raise CannotRead("The workbook unpacks to too much: save the sheet as CSV.")


@contextmanager
def opened(file: BinaryIO) -> Iterator[Any]:
    """Open a workbook; openpyxl's many errors become CannotRead."""
    check_sizes(file)
    file.seek(0)
    try:
        # A file object of its own: openpyxl closes what it gets.
        book = import_string(LOAD)(Kept(file), read_only=True, data_only=True, keep_links=False)
        try:
            yield book
        finally:
            book.close()
    except FAULTS as error:
        raise CannotRead("The workbook is broken, or no .xlsx.") from error


class Kept(io.BufferedReader):
    """A view of the file that can be closed without closing the file."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(View(file))


class View(io.RawIOBase):
    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def sheet_names(file: BinaryIO) -> list[str]:
    """Raises CannotRead."""
    with opened(file) as book:
        names = [sheet.title for sheet in book.worksheets]
    if not names:
        raise CannotRead("The workbook has no sheet with cells.")
    return names


def rows(file: BinaryIO, sheet: str, decimal: str) -> Iterator[SourceRow]:
    """Yield each row of the sheet; numbers are written with the decimal sign. Raises CannotRead."""
    with opened(file) as book:
        if sheet not in book.sheetnames:
            raise CannotRead(f"The workbook has no sheet {sheet}.")
        source = book[sheet]
        # The size that a file declares may be wrong.
        source.reset_dimensions()
        for number, cells in enumerate(source.iter_rows(max_row=MAX_ROWS, values_only=True), start=1):
            if cells:
                yield SourceRow(number, [cell_text(cell, decimal) for cell in cells[:MAX_COLUMNS]])


def cell_text(value: Any, decimal: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return repr(value).removesuffix(".0").replace(".", decimal)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return storable(str(value))
