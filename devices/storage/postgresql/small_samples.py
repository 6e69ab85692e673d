"""Figures of few readings by plain Python: of so little each call of numpy costs more than its work.

The same figures, to the last bit, as `quantiles` finds among many: only faster.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import copysign, fsum

import numpy as np

from devices.exact.ranks import interpolate, rank
from devices.exact.sums import UNITS, exact_sum
from devices.storage.interface import MEDIAN, NO_FIGURES, ChannelFigures, Figures

# Of more than these numpy is faster.
MAX_READINGS = 256
# From an interval to the shortest that is too long, in microseconds.
GapLimit = Callable[[float | None], float | None]


def figures_of_sample(
    times: Sequence[int], columns: Sequence[Sequence[float]], shares: Sequence[float], gap_limit: GapLimit
) -> Figures:
    """Of readings in the order of time, none of them excluded."""
    if not times:
        return Figures([NO_FIGURES] * len(columns), 0, 0, None, None, None, 0, 0, None, 0, 0)
    steps = [after - before for before, after in pairwise(times)]
    lengths = sorted(steps)
    lengths = lengths[bisect_right(lengths, 0) :]
    interval = quantile(lengths, MEDIAN) if lengths else None
    limit = gap_limit(interval)
    gaps = [] if limit is None else [step for step in steps if step > limit]
    place = steps.index(max(steps)) if steps else 0
    return Figures(
        channels=[channel_figures(column, shares) for column in columns],
        readings=len(times),
        excluded=0,
        first=times[0],
        last=times[-1],
        interval=interval,
        gaps=len(gaps),
        gap_length=sum(gaps),
        longest=(times[place], times[place + 1] if steps else times[0]),
        rows_read=len(times),
        segments_used=0,
    )


def channel_figures(values: Sequence[float], shares: Sequence[float]) -> ChannelFigures:
    ordered = sorted(values)
    if 0.0 in ordered:
        # -0.0 comes before 0.0, as everywhere.
        ordered.sort(key=lambda value: (value, copysign(1.0, value)))
    quantiles = [quantile(ordered, share) for share in shares]
    return ChannelFigures(len(ordered), ordered[0], ordered[-1], total(values), quantiles)


def quantile(ordered: Sequence[float], share: float) -> float:
    """As PostgreSQL's percentile_cont."""
    place = rank(share, len(ordered))
    low, high = ordered[place.low], ordered[place.high]
    # From -0.0 to itself would be 0.0.
    return low if place.low == place.high else interpolate(low, high, place.part)


def total(values: Sequence[float]) -> int:
    """The exact sum in units of the smallest double."""
    units, rest = 0, list(values)
    try:
        # Each sum is rounded once, and what that has left is summed up in turn.
        while part := fsum(rest):
            numerator, denominator = part.as_integer_ratio()
            units += numerator * (UNITS // denominator)
            rest.append(-part)
    except OverflowError:
        return exact_sum(np.array(values))
    return units
