"""Stamps as numbers: counts of some unit since 1970."""

from datetime import UTC, datetime
from fractions import Fraction

from devices.timeline.instants import UnixMicroseconds, unix_microseconds
from devices.timeline.periods import BadStamp

SECOND = 1_000_000_000
# Nanoseconds of each unit that a sender may name as its precision.
PRECISIONS = {"s": SECOND, "ms": 1_000_000, "us": 1_000, "ns": 1}
NANOSECONDS_PER_MICROSECOND = 1_000
FIRST, LAST = (unix_microseconds(end.replace(tzinfo=UTC)) for end in (datetime.min, datetime.max))


def parse_number(number: float | Fraction, unit: int) -> UnixMicroseconds:
    """Return the instant `number` units of `unit` nanoseconds after 1970, to the nearest microsecond.

    Halves go to the even one. All of it is integer arithmetic, so that a number of any size is exact: a
    double of seconds keeps each microsecond until 2242. Raises BadStamp.
    """
    numerator, denominator = number.as_integer_ratio()
    denominator *= NANOSECONDS_PER_MICROSECOND
    time, rest = divmod(numerator * unit, denominator)
    time += 2 * rest > denominator or (2 * rest == denominator and time % 2)
    if not FIRST <= time <= LAST:
        raise BadStamp("Not a date and time: the year must be 1 to 9999.")
    return UnixMicroseconds(time)
