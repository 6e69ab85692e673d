"""A function's return value as a table: a DataFrame of pandas, or dicts of the same keys.

A DataFrame is known by its attributes: the portal itself needs no pandas. Cells that are no date or no number
are left as they are: all rows are checked where they are stored.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from itertools import islice
from typing import Any, Literal

import numpy as np

from analytics.kernels.declaration import MAX_ROWS, BadRow, Column, Table

Cells = dict[str, list[Any]]


def table_of(returned: Any) -> Table:
    """Raises TypeError for anything else than a table, and BadRow if its rows do not make one."""
    is_frame = hasattr(returned, "iloc") and hasattr(returned, "columns")
    cells = frame_cells(returned) if is_frame else dict_cells(returned)
    if not cells:
        return Table((), iter(()))
    head, *numbers = cells
    kind, stamps = stamp_texts(cells[head])
    columns = (Column(head, head, kind=kind), *(Column(name, name) for name in numbers))
    plain = ([unwrapped(cell) for cell in cells[name]] for name in numbers)
    return Table(columns, zip(stamps, *plain, strict=True))


def frame_cells(frame: Any) -> Cells:
    """The columns of a DataFrame, with the index before them if it has the dates."""
    # One row too many, for the check of their number.
    frame = frame.iloc[: MAX_ROWS + 1]
    named = [(str(name), frame.iloc[:, i].tolist()) for i, name in enumerate(frame.columns)]
    if len(frame) and not (named and has_stamps(named[0][1])):
        named.insert(0, (str(frame.index.name or "date"), frame.index.tolist()))
        if not has_stamps(named[0][1]):
            raise BadRow("Neither the first column of the DataFrame nor its index has dates.")
    names = [name for name, _ in named]
    if len(set(names)) < len(names):
        raise BadRow(f"Two columns have the same name: {', '.join(names)}.")
    return dict(named)


def dict_cells(returned: Any) -> Cells:
    """The columns of dicts; those of the first one are those of all."""
    if isinstance(returned, Mapping | str) or not isinstance(returned, Iterable):
        raise TypeError(f"A function must return a DataFrame or a list of dicts, not {returned!r:.50}.")
    rows = list(islice(returned, MAX_ROWS + 1))
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise TypeError(f"Row {number} must be a dict, not {row!r:.50}.")
        if row.keys() != rows[0].keys():
            raise BadRow(f"Row {number} has other columns than row 1: {', '.join(map(str, row))}.")
    return {str(name): [row[name] for row in rows] for name in (rows[0] if rows else ())}


def has_stamps(cells: list[Any]) -> bool:
    return any(moment_of(cell) is not None for cell in cells)


def stamp_texts(cells: list[Any]) -> tuple[Literal["date", "moment"], list[Any]]:
    """ISO 8601 texts, all of days or all of moments in UTC. A cell that is neither becomes an empty text."""
    moments = [moment_of(cell) for cell in cells]
    if all(moment is None or is_day(moment) for moment in moments):
        return "date", [moment.date().isoformat() if moment else "" for moment in moments]
    in_utc = [moment and moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC) for moment in moments]
    # The same digits in all rows: their texts are ordered as their moments are.
    digits = "microseconds" if any(moment and moment.microsecond for moment in in_utc) else "seconds"
    return "moment", [
        moment.isoformat(timespec=digits).replace("+00:00", "Z") if moment else "" for moment in in_utc
    ]


def is_day(moment: datetime) -> bool:
    return moment.tzinfo is None and moment.time() == time()


def moment_of(cell: Any) -> datetime | None:
    """A date, a moment or its ISO 8601 text as a datetime; None for everything else."""
    if isinstance(cell, np.datetime64):
        return cell.astype("datetime64[us]").item()
    if isinstance(cell, str):
        try:
            return datetime.fromisoformat(cell)
        except ValueError:
            return None
    if isinstance(cell, datetime):
        # pandas' NaT is a datetime that differs from itself; its Timestamp becomes a plain datetime.
        return datetime.combine(cell.date(), cell.time(), cell.tzinfo) if cell == cell else None  # noqa: PLR0124
    return datetime.combine(cell, time()) if isinstance(cell, date) else None


def unwrapped(cell: Any) -> Any:
    """A number of numpy as one of Python."""
    return cell.item() if isinstance(cell, np.generic) else cell
