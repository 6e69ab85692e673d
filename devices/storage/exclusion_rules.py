"""Exclusions in force, applied to readings as they are read: excluded ones are left out of figures."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from django.db import connection

from devices.timeline.instants import PgMicroseconds, PgTimes, pg_microseconds

# From, until, and the values of a single reading, or None for all readings of that time.
Rule = tuple[PgMicroseconds, PgMicroseconds, list[float] | None]


class CountedReadings(NamedTuple):
    """The readings that count, in the order of time, and the number of excluded ones.

    `values` is float64 of shape (channels, readings).
    """

    times: PgTimes
    values: npt.NDArray[np.float64]
    excluded: int


class ExclusionRules:
    def __init__(self, rules: Iterable[tuple[int, datetime, datetime, list[float] | None]]) -> None:
        self.by_device: dict[int, list[Rule]] = defaultdict(list)
        for device_id, start, end, values in rules:
            self.by_device[device_id].append((pg_microseconds(start), pg_microseconds(end), values))

    def applied(self, device_id: int, times: PgTimes, values: npt.NDArray[np.float64]) -> CountedReadings:
        """Leave out the excluded ones of a device's readings, which are in the order of time."""
        if device_id not in self.by_device:
            return CountedReadings(times, values, 0)
        counts = np.ones(len(times), bool)
        for start, end, only in self.by_device[device_id]:
            first, last = np.searchsorted(times, (start, end))
            if only is None:
                counts[first:last] = False
            elif len(only) == len(values):
                counts[first:last] &= (values[:, first:last] != np.array(only)[:, None]).any(axis=0)
        return CountedReadings(PgTimes(times[counts]), values[:, counts], len(times) - int(counts.sum()))


def rules_in_force(device_ids: Sequence[int]) -> ExclusionRules:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT device_id, start_time, end_time, values FROM devices_exclusion
            WHERE device_id = ANY(%s) AND lifted_at IS NULL
            """,
            [list(device_ids)],
        )
        return ExclusionRules(cursor.fetchall())
