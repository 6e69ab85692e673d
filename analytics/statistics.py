"""Exact statistics of a set of numbers: only arithmetic, no database and no clock."""

import math
from typing import TypedDict

import numpy as np

# Every double is a whole number of the smallest one, which is 1 / UNITS.
UNITS = 2**1074


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
        return sum_and_mean_in_units(values)
    return total, total / len(values)


def sum_and_mean_in_units(values: np.ndarray) -> tuple[float | None, float]:
    """The same in whole numbers: slower, but a sum may pass the largest double on its way."""
    ratios = map(float.as_integer_ratio, values.tolist())
    units = sum(numerator * (UNITS // denominator) for numerator, denominator in ratios)
    # Dividing whole numbers rounds correctly.
    mean = units / (UNITS * len(values))
    try:
        return units / UNITS, mean
    except OverflowError:
        return None, mean


def median(values: np.ndarray) -> float:
    """The middle value, or halfway between the middle two, as PostgreSQL's percentile_cont(0.5) has it."""
    low, high = (len(values) - 1) // 2, len(values) // 2
    ordered = np.partition(values, [low, high])
    # Halfway from -0.0 to itself would be 0.0.
    return float(ordered[low]) if low == high else halfway(float(ordered[low]), float(ordered[high]))


def halfway(low: float, high: float) -> float:
    """low + 0.5·(high − low) as float8_lerp in PostgreSQL; halved first where the difference overflows."""
    gap = high - low
    return low + 0.5 * gap if math.isfinite(gap) else 0.5 * low + 0.5 * high
