"""Segments of readings as they are stored: found, used, and built anew from rows."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from devices import store
from devices.columns import Column
from devices.segments import exact_sum, keys_of
from devices.store import Span

Bounds = tuple[int, int]


@dataclass
class Part:
    """What is at hand to answer a question about one span."""

    columns: list[Column]
    intervals: Column
    readings: int
    excluded: int
    first: int
    last: int
    longest: Bounds
    rows_read: int
    segments_used: int


def gather(spans: Sequence[Span], widths: Sequence[int]) -> list[Part]:
    """`widths`: how many channels each has."""
    rows = read_rows(spans, widths)
    return [part_of(*r) for r in rows]


def part_of(times: np.ndarray, values: np.ndarray, excluded: int) -> Part:
    columns = []
    for v in values:
        columns.append(
            Column(
                *(np.empty(0, t) for t in (np.int64, np.uint64, np.uint8, np.int64, np.int64)),
                loose=keys_of(v),
                total=exact_sum(v),
                low=float(v.min()) if len(v) else None,
                high=float(v.max()) if len(v) else None,
            )
        )
    steps = np.diff(times)
    longest = int(steps.argmax()) if len(steps) else None
    return Part(
        columns,
        Column(
            *(np.empty(0, t) for t in (np.int64, np.uint64, np.uint8, np.int64, np.int64)),
            loose=steps[steps > 0].astype(np.uint64),
        ),
        len(times),
        excluded,
        int(times[0]) if len(times) else 0,
        int(times[-1]) if len(times) else 0,
        (0, 0) if longest is None else (int(times[longest]), int(times[longest + 1])),
        len(times) + excluded,
        0,
    )


def long_intervals(parts: Sequence[Part], limits: Sequence[float | None]) -> list[tuple[int, int]]:
    """How many intervals of each part are longer than its limit, in microseconds, and their total length."""
    found = []
    for part, limit in zip(parts, limits, strict=True):
        long = part.intervals.loose[part.intervals.loose > limit] if limit is not None else []
        found.append((len(long), int(np.sum(long))))
    return found


def read_rows(spans: Sequence[Span], widths: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Times, values and the number of excluded readings of each span, in the order of time."""
    by_width: dict[int, list[int]] = defaultdict(list)
    for i, width in enumerate(widths):
        by_width[width].append(i)
    rows = {}
    rules = store.exclusions(spans)
    for width, chosen in by_width.items():
        for i, (times, values) in zip(chosen, store.read([spans[i] for i in chosen], width), strict=True):
            kept = rules.kept(spans[i].device_id, times, values)
            rows[i] = (times[kept], values[:, kept], len(times) - len(times[kept]))
    return [rows[i] for i in range(len(spans))]


def counts(spans: Sequence[Span]) -> list[int]:
    return store.counts(spans)
