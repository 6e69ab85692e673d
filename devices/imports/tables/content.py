"""An uploaded file as a table: unpacked, decoded, and read row by row, whatever its size."""

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, BinaryIO, NamedTuple

from django.conf import settings

from devices.imports.cells.columns import looks_like_heading
from devices.imports.options import EXCEL, JSON, SEPARATORS, Options
from devices.imports.tables import workbook
from devices.imports.tables.source_row import CannotRead, SourceRow, storable
from devices.ingestion.decompression import WINDOW
from devices.notation.numbers import count_text

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MEBI = 1024 * 1024
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
ZIP_MAGIC, OLD_EXCEL_MAGIC = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
# A compressed file may unpack to this many times the largest upload.
EXPANSION = 8
HEAD_BYTES = 64 * 1024
# Characters of a line.
MAX_LINE = 64 * 1024
MAX_COLUMNS = 1000
SAMPLE_ROWS = 200
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


class SourceTable(NamedTuple):
    headings: list[str]
    rows: Iterator[SourceRow]


# --- Bytes


class Bounded(io.RawIOBase):
    """A decompressing file that raises CannotRead beyond the limit, or where it breaks off."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.left = EXPANSION * settings.IMPORT_MEBIBYTES * MEBI

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self.file.read(min(len(buffer), HEAD_BYTES))
        except (EOFError, OSError, zlib.error, zstd.ZstdError) as error:
            raise CannotRead("The compressed file is broken, or breaks off before its end.") from error
        self.left -= len(data)
        if self.left < 0:
            raise CannotRead(f"The file unpacks to more than {EXPANSION * settings.IMPORT_MEBIBYTES} MiB.")
        buffer[: len(data)] = data
        return len(data)


def unpacked(file: BinaryIO) -> BinaryIO:
    """The file's content, which may be compressed by gzip or zstd."""
    file.seek(0)
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(GZIP_MAGIC):
        return io.BufferedReader(Bounded(gzip.GzipFile(fileobj=file)), HEAD_BYTES)
    if magic == ZSTD_MAGIC:
        return io.BufferedReader(Bounded(zstd.ZstdFile(file, options=WINDOW)), HEAD_BYTES)
    return file


def is_archive(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(4) == ZIP_MAGIC


# --- Guesses


def guess(file: BinaryIO) -> Options:
    """Guess kind, encoding, separator, sheet and heading. Raises CannotRead."""
    if is_archive(file):
        options = Options(kind=EXCEL, sheet=workbook.sheet_names(file)[0])
    else:
        head = unpacked(file).read(HEAD_BYTES)
        if head.startswith(OLD_EXCEL_MAGIC):
            raise CannotRead("This is the old format of Excel: save it as .xlsx or as CSV.")
        encoding = guess_encoding(head)
        text = head.decode(encoding, "ignore").lstrip("\ufeff")
        if not text.strip():
            raise CannotRead("The file is empty.")
        if text.lstrip().startswith("{"):
            return Options(kind=JSON, encoding=encoding, header_row=0)
        options = Options(encoding=encoding, separator=guess_separator(text.splitlines()[:SAMPLE_ROWS]))
    return options.changed(header_row=guess_header(all_rows(file, options)))


def guess_encoding(head: bytes) -> str:
    """Raises CannotRead if it is no text."""
    for bom, encoding in BOMS.items():
        if head.startswith(bom):
            return encoding
    zeros = head[::2].count(0), head[1::2].count(0)
    if min(zeros) == 0 and max(zeros) * 4 > len(head):
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    if 0 in head:
        raise CannotRead("This is neither text nor an Excel workbook (.xlsx).")
    try:
        # The last character may be cut.
        head[: max(len(head) - 3, 0) if len(head) == HEAD_BYTES else None].decode()
    except UnicodeDecodeError as error:
        return "utf-8-sig" if error.start >= HEAD_BYTES - 6 else "cp1252"
    return "utf-8-sig"


def guess_separator(lines: Sequence[str]) -> str:
    """Choose the separator that gives the most rows of one width; a tie goes to the first in SEPARATORS."""
    said = SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    if said is not None and said[1] in SEPARATORS:
        return said[1]

    def agreement(separator: str) -> tuple[int, int]:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
        except csv.Error:
            return 0, 0
        common = max(set(widths), key=widths.count, default=1)
        return (widths.count(common), common > 1) if common > 1 else (0, 0)

    # A comma in a German number must not win over tab or semicolon by some rows.
    order = sorted(SEPARATORS, key=lambda each: each not in ";\t")
    best = max(order, key=agreement)
    return best if agreement(best) > (0, 0) else ","


def guess_header(rows: Iterable[SourceRow]) -> int:
    """Return the number of the first full row that has names and no values; 0 if none has."""
    sample = [row.cells for row in islice(rows, 20)]
    if not sample:
        return 0
    widths = [filled(cells) for cells in sample]
    usual = max(set(widths), key=widths.count)
    for number, cells in enumerate(sample, start=1):
        if filled(cells) >= min(usual, max(widths)):
            return number if looks_like_heading(cells) else 0
    return 0


def filled(cells: Sequence[str]) -> int:
    return sum(1 for cell in cells if cell.strip())


# --- Rows


def open_table(file: BinaryIO, options: Options) -> SourceTable:
    """Open the rows below the heading. Raises CannotRead, then and while rows are read."""
    if options.kind == JSON:
        return json_table(unpacked(file), options)
    rows = all_rows(file, options)
    if not options.header_row:
        head = list(islice(rows, SAMPLE_ROWS))
        width = max((len(row.cells) for row in head), default=0)
        return SourceTable([f"Column {i}" for i in range(1, width + 1)], chain(head, rows))
    heading = next(islice(rows, options.header_row - 1, None), None)
    if heading is None:
        raise CannotRead(f"The file has no row {options.header_row}.")
    headings = [cell.strip() or f"Column {i}" for i, cell in enumerate(heading.cells, start=1)]
    return SourceTable(headings[:MAX_COLUMNS], rows)


def all_rows(file: BinaryIO, options: Options) -> Iterator[SourceRow]:
    """Yield each row that is not blank."""
    if options.kind == EXCEL:
        rows = workbook.rows(file, options.sheet, options.decimal)
    else:
        rows = text_rows(lines(unpacked(file), options.encoding), options.separator)
    for row in rows:
        if row.error or any(cell and not cell.isspace() for cell in row.cells):
            yield row


def lines(content: BinaryIO, encoding: str) -> Iterator[str]:
    """Yield lines of bounded length, the last perhaps without its end. Raises CannotRead."""
    text = io.TextIOWrapper(content, encoding=encoding, errors="replace", newline="")
    try:
        for number in range(1, sys.maxsize):
            line = text.readline(MAX_LINE + 1)
            if not line:
                return
            if len(line) > MAX_LINE:
                raise CannotRead(f"Line {number} is longer than {count_text(MAX_LINE)} characters.")
            yield storable(line.removeprefix("\ufeff") if number == 1 else line)
    finally:
        # Closing it would close the upload, which is read again.
        text.detach()


class Counted:
    """An iterator of lines that knows how many it has given."""

    def __init__(self, found: Iterator[str]) -> None:
        self.found = found
        self.number = 0

    def __iter__(self) -> "Counted":
        return self

    def __next__(self) -> str:
        line = next(self.found)
        self.number += 1
        if self.number == 1 and SEPARATOR_LINE.fullmatch(line):
            return next(self)
        return line


def text_rows(found: Iterator[str], separator: str) -> Iterator[SourceRow]:
    source = Counted(found)
    while True:
        before = source.number
        reader = csv.reader(source, delimiter=separator)
        try:
            for cells in reader:
                yield SourceRow(before + 1, cells[:MAX_COLUMNS])
                before = source.number
        except csv.Error as error:
            yield SourceRow(before + 1, [], f"Not valid CSV: {error}.")
        else:
            return


def json_table(content: BinaryIO, options: Options) -> SourceTable:
    """JSON objects, one in each line: their keys are the columns."""
    numbered = enumerate(lines(content, options.encoding), start=1)
    head = list(islice(numbered, SAMPLE_ROWS))
    headings = list(dict.fromkeys(key for _, line in head for key in json_object(line)[0]))[:MAX_COLUMNS]
    if not headings:
        raise CannotRead("No line has a JSON object.")
    return SourceTable(headings, json_rows(chain(head, numbered), headings))


def json_rows(numbered: Iterable[tuple[int, str]], headings: Sequence[str]) -> Iterator[SourceRow]:
    for number, line in numbered:
        if line.isspace():
            continue
        content, error = json_object(line)
        unknown = [key for key in content if key not in headings]
        if unknown:
            error = f"Has a key that the first lines do not have: {unknown[0][:50]}."
        cells = [content.get(heading, "") for heading in headings]
        yield SourceRow(number, cells if not error else [line.strip()], error)


def json_object(line: str) -> tuple[dict[str, str], str]:
    """Return keys and texts of an object in a line, and the error of a line that has none."""
    try:
        # Numbers stay as they are written.
        found = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
    except (json.JSONDecodeError, RecursionError):
        return {}, "" if line.isspace() else "Not valid JSON."
    if not isinstance(found, dict):
        return {}, "Must be a JSON object."
    return {storable(key): storable(json_text(value)) for key, value in found.items()}, ""


def json_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)
