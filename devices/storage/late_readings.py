"""Late readings, which the change log must name: found among rows, and noted in the transaction that stores
them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from devices.storage import change_log
from devices.storage.interface import Rows
from devices.storage.row_codec import devices_and_times
from devices.timeline.instants import PgTimes, UnixMicroseconds


def with_late_readings(group: Iterable[Rows], before: UnixMicroseconds) -> list[Rows]:
    """Return those of the group that have a time before `before`."""
    return [rows for rows in group if len(rows.times) and earliest(rows) < before]


def earliest(rows: Rows) -> UnixMicroseconds:
    return rows.times.min() if isinstance(rows.times, np.ndarray) else min(rows.times)


def note_late(cursor: Any, group: Sequence[Rows]) -> None:
    """Note all readings of the group, fresh ones among them as well, in the transaction that stores them."""
    if group:
        found = [devices_and_times(rows.payload) for rows in group]
        device_ids, times = (np.concatenate(part) for part in zip(*found, strict=True))
        change_log.note_late_readings(cursor, device_ids, PgTimes(times))


@contextmanager
def noting_late_readings(connection: Any, group: Sequence[Rows]) -> Iterator[Any]:
    """Note the late readings of the group in the transaction that stores it; yields a cursor to store with.

    In autocommit mode a transaction, which costs two round trips, is begun for late readings only.
    """
    with connection.cursor() as cursor:
        late = with_late_readings(group, change_log.late_before(cursor))
        if not late:
            yield cursor
            return
    with connection if connection.autocommit else nullcontext(), connection.cursor() as cursor:
        note_late(cursor, late)
        yield cursor
