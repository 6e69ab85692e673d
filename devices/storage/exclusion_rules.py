from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from django.db import connection

from devices.timeline.instants import pg_microseconds


class CountedReadings(NamedTuple):
    """Readings that count, in the order of time, as `read` has them, and how many are excluded."""

    times: np.ndarray
    values: np.ndarray
    excluded: int


class ExclusionRules:
    """The rules in force by which readings are left out of statistics."""

    def __init__(self, rules: Iterable[tuple[int, datetime, datetime, list[float] | None]]) -> None:
        self.by_device: dict[int, list[tuple[int, int, list[float] | None]]] = defaultdict(list)
        for device_id, start, end, only in rules:
            self.by_device[device_id].append((pg_microseconds(start), pg_microseconds(end), only))

    def applied(self, device_id: int, times: np.ndarray, values: np.ndarray) -> CountedReadings:
        """To readings of a device in the order of time."""
        if device_id not in self.by_device:
            return CountedReadings(times, values, 0)
        kept = np.ones(len(times), bool)
        for start, end, only in self.by_device[device_id]:
            first, last = np.searchsorted(times, (start, end))
            if only is None:
                kept[first:last] = False
            elif len(only) == len(values):
                kept[first:last] &= (values[:, first:last] != np.array(only)[:, None]).any(axis=0)
        return CountedReadings(times[kept], values[:, kept], len(times) - int(kept.sum()))


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
