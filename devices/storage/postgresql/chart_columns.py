"""A device's readings thinned for a chart: minimum, mean and maximum of a bounded number of columns.

A segment has runs of readings, each with its minimum, mean and maximum. Columns are equally wide, but each
run is whole in one column, that of its first reading.
"""

import numpy as np
import numpy.typing as npt

from devices.storage import change_log, exclusion_rules
from devices.storage.interface import ChartSeries
from devices.storage.postgresql import segment_lookup
from devices.storage.postgresql.segment_contents import run_type
from devices.timeline.instants import MICROSECONDS_PER_SECOND, PgTimes
from devices.timeline.periods import Period
from devices.timeline.spans import Span

# A condition on a segment `s`: its runs are no longer than a column, on average. A gap within a run makes its
# column wider, and the column's bounds say so. Where runs are too long, rows are read.
FINE_ENOUGH = """
    CASE WHEN s.count = 0 THEN true ELSE
        extract(epoch FROM s.last_time - s.first_time) * {run_bytes} <= {seconds!r} * octet_length(s.runs)
    END
"""


def series(device_id: int, channels: int, period: Period, points: int) -> ChartSeries:
    span = Span.of(device_id, period)
    run = run_type(channels)
    seconds = (span.end - span.start) / points / MICROSECONDS_PER_SECOND
    with change_log.repeatable_read():
        fine_enough = FINE_ENOUGH.format(run_bytes=run.itemsize, seconds=seconds)
        segments, segment_runs = segment_lookup.find_runs(span, fine_enough)
        holes = segments.holes(span)
        pieces = segment_lookup.counted_rows(holes, [channels] * len(holes))
    runs = np.concatenate(
        [np.frombuffer(segment_runs, run), *(single_runs(piece, channels) for piece in pieces)]
    )
    runs = runs[np.argsort(runs["first"], kind="stable")]
    return in_columns(runs, span, points)


def single_runs(counted: exclusion_rules.CountedReadings, channels: int) -> np.ndarray:
    """Make each reading a run of its own."""
    runs = np.empty(len(counted.times), run_type(channels))
    runs["first"], runs["last"], runs["count"] = counted.times, counted.times, 1
    for name in ("low", "high", "mean"):
        runs["channels"][name] = counted.values.T
    return runs


def in_columns(runs: np.ndarray, span: Span, points: int) -> ChartSeries:
    """Join runs, which are in the order of time, to columns."""
    width = (span.end - span.start) / points
    columns = np.minimum((runs["first"] - span.start) // width, points - 1)
    first = np.flatnonzero(np.diff(columns, prepend=-1))
    if not len(first):
        return no_columns(runs["channels"].shape[1])
    last = np.append(first[1:], len(runs)) - 1
    counts = np.add.reduceat(runs["count"], first)
    shares = runs["count"] / np.repeat(counts, last - first + 1)
    channels = runs["channels"]
    return ChartSeries(
        starts=PgTimes(runs["first"][first]),
        ends=PgTimes(np.maximum.reduceat(runs["last"], first)),
        counts=counts,
        lows=np.minimum.reduceat(channels["low"], first).T,
        # A sum of weighted means cannot exceed the largest double; a sum of values can.
        means=np.add.reduceat(channels["mean"] * shares[:, None], first).T,
        highs=np.maximum.reduceat(channels["high"], first).T,
    )


def no_columns(channels: int) -> ChartSeries:
    no_times: npt.NDArray[np.int64] = np.empty(0, np.int64)
    nothing = np.empty((channels, 0))
    return ChartSeries(PgTimes(no_times), PgTimes(no_times), no_times, nothing, nothing, nothing)
