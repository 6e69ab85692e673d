"""Exact statistics of a set of numbers: only arithmetic, no database and no clock."""

import math
from typing import TypedDict

import numpy as np

# A power of two: scaling by it is exact, and keeps the sum of any 2**60 doubles finite.
SCALE = 2.0**-64


class Summary(TypedDict):
    count: int
    min: float | None
    max: float | None
    sum: float | None
    avg: float | None
    median: float | None


def summarize(values: np.ndarray) -> Summary:
    """Statistics of finite float64 values of shape (n,), in any order.

    Of no values the count and the sum are 0 and the rest None. The sum is correctly rounded whatever the
    order (math.fsum, after Shewchuk 1997), and None where it exceeds the largest double.
    """
    count = len(values)
    if count == 0:
        return Summary(count=0, min=None, max=None, sum=0.0, avg=None, median=None)
    total, mean = sum_and_mean(values)
    return Summary(
        count=count,
        min=float(values.min()),
        max=float(values.max()),
        sum=total,
        avg=mean,
        median=median(values),
    )


def sum_and_mean(values: np.ndarray) -> tuple[float | None, float]:
    try:
        total = math.fsum(values)
    except OverflowError:
        scaled = math.fsum(values * SCALE)
        total = scaled / SCALE if abs(scaled) <= np.finfo(float).max * SCALE else None
        return total, scaled / len(values) / SCALE
    return total, total / len(values)


def median(values: np.ndarray) -> float:
    """The middle value, or halfway between the middle two, as PostgreSQL's percentile_cont(0.5) has it."""
    low, high = (len(values) - 1) // 2, len(values) // 2
    ordered = np.partition(values, [low, high])
    return halfway(float(ordered[low]), float(ordered[high]))


def halfway(low: float, high: float) -> float:
    """low + 0.5·(high − low) as float8_lerp in PostgreSQL; halved first where the difference overflows."""
    gap = high - low
    return low + 0.5 * gap if math.isfinite(gap) else 0.5 * low + 0.5 * high
