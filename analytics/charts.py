"""What charts draw: a period in columns, each with minimum, mean and maximum."""

from datetime import datetime
from typing import Any

import numpy as np

from analytics.analyses import stamp
from devices import spans, store
from devices.models import Device
from devices.periods import Period
from devices.spans import Span


def series_body(device: Device, period: Period, points: int, now: datetime) -> dict[str, Any]:
    """{device_id, start, end, points, starts, ends: [stamp], count: [int], channels: {CHANNEL: {min, mean,
    max: [float]}}}: the columns that have readings, in order. Open bounds are the first reading and `now`.
    """
    period = Period(period.start or store.first_time([device.pk]), period.end or now)
    names = [channel.name for channel in device.channels]
    body = {
        "device_id": str(device.uuid),
        "start": stamp(period.start),
        "end": stamp(period.end),
        "points": points,
    }
    if period.start is None or period.start >= period.end:
        nothing = {"min": [], "mean": [], "max": []}
        return body | {"starts": [], "ends": [], "count": [], "channels": dict.fromkeys(names, nothing)}
    span = Span.of(device.pk, period)
    [(times, values)] = store.read([span], len(names))
    kept = store.exclusions([device.pk]).kept(device.pk, times, values)
    times, values = times[kept], values[:, kept]
    columns = (times - span.start) * points // (span.end - span.start)
    firsts = np.flatnonzero(np.diff(columns, prepend=-1))
    chosen = columns[firsts].tolist()
    edges = [span.start + (span.end - span.start) * column // points for column in range(points + 1)]
    counts = np.diff(firsts, append=len(times))
    return body | {
        "starts": [stamp(spans.stamp(edges[column])) for column in chosen],
        "ends": [stamp(spans.stamp(edges[column + 1])) for column in chosen],
        "count": counts.tolist(),
        "channels": {
            name: {
                "min": np.minimum.reduceat(row, firsts).tolist() if len(firsts) else [],
                "mean": (np.add.reduceat(row, firsts) / counts).tolist() if len(firsts) else [],
                "max": np.maximum.reduceat(row, firsts).tolist() if len(firsts) else [],
            }
            for name, row in zip(names, values, strict=True)
        },
    }
