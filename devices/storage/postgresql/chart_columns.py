"""A device's readings thinned for a chart: minimum, mean and maximum of so many columns.

Columns are as wide as was asked for, but that a run of a segment is in one whole.
"""

import numpy as np

from devices.storage import change_log, exclusion_rules
from devices.storage.interface import ChartSeries
from devices.storage.postgresql import segment_lookup
from devices.storage.postgresql.segment_contents import run_type
from devices.timeline.periods import Period
from devices.timeline.spans import Span

# Whether a segment's runs are no longer than a column, on average: a gap within one makes its column wider,
# and the column says so. Elsewhere rows are read.
FINE_ENOUGH = """
    CASE WHEN s.count = 0 THEN true ELSE
        extract(epoch FROM s.last_time - s.first_time) * {run_bytes} <= {seconds!r} * octet_length(s.runs)
    END
"""


def series(device_id: int, channels: int, period: Period, points: int) -> ChartSeries:
    """The readings of a period with both bounds in `points` columns at most, without excluded ones."""
    span = Span.of(device_id, period)
    run = run_type(channels)
    seconds = (span.end - span.start) / points / 1_000_000
    with change_log.repeatable_read():
        fine_enough = FINE_ENOUGH.format(run_bytes=run.itemsize, seconds=seconds)
        held, runs_held = segment_lookup.find_runs(span, fine_enough)
        holes = held.holes(span)
        pieces = segment_lookup.counted_rows(holes, [channels] * len(holes))
    runs = np.concatenate(
        [np.frombuffer(runs_held, run), *(single_runs(piece, channels) for piece in pieces)]
    )
    runs = runs[np.argsort(runs["first"], kind="stable")]
    return in_columns(runs, span, points)


def single_runs(counted: exclusion_rules.CountedReadings, channels: int) -> np.ndarray:
    """Of readings, each a run of its own."""
    runs = np.empty(len(counted.times), run_type(channels))
    runs["first"], runs["last"], runs["count"] = counted.times, counted.times, 1
    for name in ("low", "high", "mean"):
        runs["channels"][name] = counted.values.T
    return runs


def in_columns(runs: np.ndarray, span: Span, points: int) -> ChartSeries:
    """`runs` in the order of time."""
    width = (span.end - span.start) / points
    columns = np.minimum((runs["first"] - span.start) // width, points - 1)
    first = np.flatnonzero(np.diff(columns, prepend=-1))
    last = np.append(first[1:], len(runs))[: len(first)] - 1
    if not len(first):
        nothing = np.empty((runs["channels"].shape[1], 0))
        none = np.empty(0, np.int64)
        return ChartSeries(none, none, none, nothing, nothing, nothing)
    counts = np.add.reduceat(runs["count"], first)
    shares = runs["count"] / np.repeat(counts, last - first + 1)
    channels = runs["channels"]
    return ChartSeries(
        starts=runs["first"][first],
        ends=np.maximum.reduceat(runs["last"], first),
        counts=counts,
        lows=np.minimum.reduceat(channels["low"], first).T,
        # Of shares: a sum might exceed the largest double.
        means=np.add.reduceat(channels["mean"] * shares[:, None], first).T,
        highs=np.maximum.reduceat(channels["high"], first).T,
    )
