"""Rows of an upload that were not stored: shown with the faulty cell, and as a file to be corrected."""

import csv
import io
from collections.abc import Iterator
from itertools import groupby, islice
from typing import NamedTuple

from devices.imports.cells.columns import REASON
from devices.imports.cells.decimals import is_number
from devices.imports.checking import WHOLE_ROW
from devices.imports.models import ImportBlock, Upload
from devices.imports.options import TEXT, Options
from devices.imports.work import unpack_cells
from devices.notation.spreadsheet import harmless

SHOWN_CELLS = 12
BLOCKS_AT_ONCE = 10


class FaultyCell(NamedTuple):
    heading: str
    text: str
    reason: str


class FaultyRow(NamedTuple):
    """A row and what is wrong with it: `reason` is about the row as a whole, if it is not about cells."""

    line: int
    cells: list[str]
    reasons: dict[int, str]
    headings: list[str]

    @property
    def in_words(self) -> str:
        return " ".join(
            reason if column == WHOLE_ROW else f"{self.heading(column)}: {reason}"
            for column, reason in self.reasons.items()
        )

    def heading(self, column: int) -> str:
        return self.headings[column] if column < len(self.headings) else f"Column {column + 1}"

    @property
    def shown(self) -> list[FaultyCell]:
        padded = [*self.cells, *[""] * len(self.headings)]
        return [
            FaultyCell(self.heading(i), text, self.reasons.get(i, ""))
            for i, text in zip(range(min(len(self.headings), SHOWN_CELLS)), padded, strict=False)
        ]


def faulty_rows(upload: Upload) -> Iterator[FaultyRow]:
    for block in faulty_blocks(upload):
        rows = unpack_cells(block.cells)
        for number, faults in groupby(block.faults, key=lambda fault: fault[0]):
            row = rows[number]
            reasons = {column: reason for _, column, reason in faults}
            yield FaultyRow(row.line, row.cells, reasons, upload.headings)


def faulty_blocks(upload: Upload) -> Iterator[ImportBlock]:
    """Each query is complete: a streamed answer goes on in another thread, which has another connection."""
    blocks = upload.blocks.exclude(faults=[]).order_by("number").only("number", "cells", "faults")
    number = -1
    while found := list(blocks.filter(number__gt=number)[:BLOCKS_AT_ONCE]):
        number = found[-1].number
        yield from found


def first(upload: Upload, count: int) -> list[FaultyRow]:
    return list(islice(faulty_rows(upload), count))


def as_file(upload: Upload) -> Iterator[str]:
    """The faulty rows as CSV with the original columns and a reason, to be corrected and imported again."""
    options = Options.of(upload.options)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=options.separator if options.kind == TEXT else ";")
    # The mark tells a spreadsheet that it is UTF-8.
    buffer.write("\ufeff")
    writer.writerow([*map(written, upload.headings), REASON])
    for row in faulty_rows(upload):
        width = len(upload.headings)
        # A row that is too long shows so in its reason; its rest stays behind it.
        cells = [*row.cells[:width], *[""] * (width - len(row.cells))]
        writer.writerow([*map(written, cells), harmless(row.in_words), *map(written, row.cells[width:])])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def written(cell: str) -> str:
    """Return the cell as the file has it: a negative number stays one."""
    return cell if is_number(cell) else harmless(cell)
