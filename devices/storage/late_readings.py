from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from devices.storage import change_log
from devices.storage.interface import Rows
from devices.storage.row_codec import devices_and_times


def with_late_readings(group: Iterable[Rows], before: int) -> list[Rows]:
    """Those that have a stamp before this, in microseconds since 1970."""
    return [rows for rows in group if len(rows.times) and min_of(rows.times) < before]


def min_of(times: Sequence[int]) -> int:
    return times.min() if isinstance(times, np.ndarray) else min(times)


def note_late(cursor: Any, group: Sequence[Rows]) -> None:
    """In the transaction that stores these: their late readings, and fresh ones among them as well."""
    if group:
        found = [devices_and_times(rows.payload) for rows in group]
        device_ids, times = (np.concatenate(part) for part in zip(*found, strict=True))
        change_log.note_late_readings(cursor, device_ids, times)


@contextmanager
def noting_late_readings(connection: Any, group: Sequence[Rows]) -> Iterator[Any]:
    """Note the late readings of the group in the transaction that stores it; yields a cursor to do that with.

    In autocommit mode a transaction is begun only for late readings, which cost two round trips more.
    """
    with connection.cursor() as cursor:
        late = with_late_readings(group, change_log.late_before(cursor))
        if not late:
            yield cursor
            return
    with connection if connection.autocommit else nullcontext(), connection.cursor() as cursor:
        note_late(cursor, late)
        yield cursor
