"""Rows as CSV, safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

# With these a cell is a formula to a spreadsheet.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
BATCH = 500


def lines(names: Sequence[str], rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The heading and the rows, some hundred lines at a time (RFC 4180)."""
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
    """Text that a spreadsheet would compute gets an apostrophe before it; numbers are as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
