"""Rows as CSV, safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

# A spreadsheet takes a cell that begins with one of these for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
BATCH = 500


def lines(names: Sequence[str], rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The heading and the rows as CSV (RFC 4180), in batches of lines."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(map(cell, names))
    for count, row in enumerate(rows, start=1):
        writer.writerow([cell(row[name]) for name in names])
        if count % BATCH == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def cell(value: Any) -> Any:
    """The value; an apostrophe precedes text that a spreadsheet would compute."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
