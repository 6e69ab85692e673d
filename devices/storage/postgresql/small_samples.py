"""Figures of few readings in plain Python: for so few each call of numpy costs more than its work.

The figures are the same, to the last bit, as those of `quantiles`.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import copysign, fsum

import numpy as np

from devices.exact.ranks import interpolate, rank
from devices.exact.sums import UNITS, exact_sum
from devices.storage.interface import MEDIAN, NO_FIGURES, ChannelFigures, Figures
from devices.timeline.instants import PgMicroseconds

# For more than MAX_READINGS numpy is faster.
MAX_READINGS = 256
# Takes the median interval, returns the longest interval that is no gap, both in microseconds.
GapLimit = Callable[[float | None], float | None]


def figures_of_sample(
    times: Sequence[PgMicroseconds],
    columns: Sequence[Sequence[float]],
    shares: Sequence[float],
    gap_limit: GapLimit,
) -> Figures:
    """Compute figures of readings in the order of time, none of which is excluded."""
    if not times:
        return Figures([NO_FIGURES] * len(columns), 0, 0, None, None, None, 0, 0, None, 0, 0)
    steps = [after - before for before, after in pairwise(times)]
    lengths = sorted(steps)
    lengths = lengths[bisect_right(lengths, 0) :]
    interval = quantile(lengths, MEDIAN) if lengths else None
    limit = gap_limit(interval)
    gaps = [] if limit is None else [step for step in steps if step > limit]
    longest = steps.index(max(steps)) if steps else 0
    return Figures(
        channels=[channel_figures(column, shares) for column in columns],
        readings=len(times),
        excluded=0,
        first=times[0],
        last=times[-1],
        interval=interval,
        gaps=len(gaps),
        gap_length=sum(gaps),
        longest=(times[longest], times[longest + 1] if steps else times[0]),
        rows_read=len(times),
        segments_used=0,
    )


def channel_figures(values: Sequence[float], shares: Sequence[float]) -> ChannelFigures:
    ordered = sorted(values)
    if 0.0 in ordered:
        # -0.0 comes before 0.0, as keys have it.
        ordered.sort(key=lambda value: (value, copysign(1.0, value)))
    quantiles = [quantile(ordered, share) for share in shares]
    return ChannelFigures(len(ordered), ordered[0], ordered[-1], total(values), quantiles)


def quantile(ordered: Sequence[float], share: float) -> float:
    place = rank(share, len(ordered))
    low, high = ordered[place.low], ordered[place.high]
    # Interpolating from -0.0 to -0.0 would give 0.0.
    return low if place.low == place.high else interpolate(low, high, place.part)


def total(values: Sequence[float]) -> int:
    """Return the exact sum in units of the smallest double."""
    units, rest = 0, list(values)
    try:
        # fsum rounds the sum once; the error is what is left to be summed in the next round.
        while part := fsum(rest):
            numerator, denominator = part.as_integer_ratio()
            units += numerator * (UNITS // denominator)
            rest.append(-part)
    except OverflowError:
        return exact_sum(np.array(values))
    return units
