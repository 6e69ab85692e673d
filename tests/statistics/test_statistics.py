import math
import struct
import sys
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from random import Random
from statistics import median_high, median_low

import numpy as np
import pytest
from django.db import connection
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from devices import statistics
from devices.statistics import ChannelStatistics
from devices.storage.interface import MEDIAN
from devices.storage.postgresql import span_data
from devices.storage.postgresql.figures import channel_figures
from devices.storage.postgresql.quantiles import find_quantiles
from devices.storage.postgresql.span_data import SpanData
from devices.timeline.periods import Period
from tests.support import factories

SETS = 1000
LARGEST = sys.float_info.max
SMALLEST = 5e-324
SIZES = (0, 1, 2, 3, 4, 5, 8, 13, 40, 101)
reproducible = hypothesis_settings(derandomize=True, deadline=None)


def any_bits(random: Random) -> float:
    """Any finite double, each exponent as likely as the others."""
    number = struct.unpack("d", random.randbytes(8))[0]
    return number if math.isfinite(number) else any_bits(random)


KINDS: tuple[Callable[[Random], float], ...] = (
    any_bits,
    lambda random: round(random.uniform(-50, 50), 2),
    lambda random: random.gauss(1e6, 1e-3),
    lambda random: random.choice((1.0, 2.5, 2.5, -3.0)),
    lambda random: random.choice((-1, 1)) * random.uniform(0.5, 1) * LARGEST,
    lambda random: random.choice((LARGEST, -LARGEST, 1.7e308, -1.7e308, 1.0, SMALLEST)),
    lambda random: random.randint(-1000, 1000) * SMALLEST,
    lambda random: random.choice((0.0, -0.0)),
    lambda _: -0.0,
    lambda random: float(random.randint(-(2**64), 2**64)),
)


@cache
def sets() -> tuple[list[float], ...]:
    """The same sets in every run: each kind of number in each size, and again."""
    random = Random(2)
    return tuple(
        [KINDS[i % len(KINDS)](random) for _ in range(SIZES[i // len(KINDS) % len(SIZES)])]
        for i in range(SETS)
    )


def exact_sum(numbers: list[float]) -> Fraction:
    return sum(map(Fraction, numbers), Fraction())


def rounded(exact: Fraction) -> float | None:
    """The nearest double; None beyond the largest."""
    try:
        return float(exact)
    except OverflowError:
        return None


def neighbours(number: float) -> tuple[float, float, float]:
    return math.nextafter(number, -math.inf), number, math.nextafter(number, math.inf)


def bits(number: float, numbers: list[float]) -> bytes:
    """Bits of a double; among zeros of both signs, where the sign is arbitrary, those of +0."""
    zeros = {math.copysign(1, other) for other in numbers if other == 0}
    return struct.pack("d", abs(number) if number == 0 and len(zeros) == 2 else number)


def summarize(values: np.ndarray) -> ChannelStatistics:
    """Statistics of a device with one channel."""
    part = SpanData(span_data.NO_SEGMENTS, np.arange(len(values)), values[None, :], len(values))
    [column] = part.channels
    return statistics.channel_statistics(channel_figures(column, find_quantiles([column], [[MEDIAN]])[0]), {})


def test_of_no_values_count_and_sum_are_zero_and_the_rest_is_null():
    assert summarize(np.array([])) == ChannelStatistics(0, None, None, 0.0, None, None)


@pytest.mark.parametrize(
    ("numbers", "median"),
    [
        ([3.0], 3.0),
        ([3.0, 1.0], 2.0),
        ([9.0, 1.0, 2.0], 2.0),
        ([4.0, 1.0, 3.0, 2.0], 2.5),
        ([LARGEST, LARGEST], LARGEST),
        ([-LARGEST, LARGEST], 0.0),
        ([SMALLEST, 3 * SMALLEST], 2 * SMALLEST),
        ([2.0**53, 2.0**53 + 2], 2.0**53 + 1),
    ],
)
def test_the_median_is_the_middle_value_or_halfway_between_the_middle_two(numbers, median):
    assert summarize(np.array(numbers)).median == median


def test_a_thousand_sets_agree_with_python():
    for numbers in filter(None, sets()):
        summary = summarize(np.array(numbers))
        assert summary.count == len(numbers)
        assert (summary.min, summary.max) == (min(numbers), max(numbers)), numbers
        middle = {median_low(numbers), median_high(numbers)}
        error = abs(Fraction(summary.median) - exact_sum(list(middle)) / len(middle))
        assert error <= Fraction(math.ulp(max(map(abs, middle)))) * (len(middle) > 1), numbers


def test_a_thousand_sums_and_means_are_those_of_exact_fractions():
    for numbers in filter(None, sets()):
        summary = summarize(np.array(numbers))
        exact = exact_sum(numbers)
        assert summary.sum == rounded(exact), numbers
        assert summary.avg in neighbours(float(exact / len(numbers))), numbers


@reproducible
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
@example([LARGEST, LARGEST, -LARGEST])
@example([LARGEST, LARGEST, -LARGEST, -LARGEST, SMALLEST])
@example([LARGEST, LARGEST, 1.0, -LARGEST, -LARGEST])
@example([LARGEST, 2.0**969])
def test_any_sum_is_correctly_rounded_though_its_parts_overflow(numbers):
    assert summarize(np.array(numbers)).sum == rounded(exact_sum(numbers))


@pytest.mark.parametrize("numbers", [[LARGEST, LARGEST], [-LARGEST, -LARGEST, 1.0], [LARGEST, 2.0**970]])
def test_only_a_sum_beyond_the_largest_double_is_null(numbers):
    summary = summarize(np.array(numbers))
    assert summary.sum is None
    assert summary.avg in neighbours(float(exact_sum(numbers) / len(numbers)))


@pytest.mark.django_db
def test_a_thousand_stored_sets_agree_with_postgresql_to_the_last_bit():
    factories.append((i, factories.NOON, [number]) for i in range(SETS) for number in sets()[i])
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT device_id, min(v), max(v), count(v), percentile_cont(0.5) WITHIN GROUP (ORDER BY v)
            FROM (SELECT device_id, values[1] AS v FROM devices_reading) AS r GROUP BY device_id
            """
        )
        answers = {row[0]: row[1:] for row in cursor.fetchall()}
    assert len(answers) == sum(map(bool, sets()))
    for i, (low, high, count, median) in answers.items():
        numbers = sets()[i]
        summary = summarize(factories.stored_values(i, Period(), 1)[0])
        expected = median if math.isfinite(median) else halfway_beyond_postgresql(numbers)
        assert summary.count == count
        for name, answer in (("min", low), ("max", high), ("median", expected)):
            assert bits(getattr(summary, name), numbers) == bits(answer, numbers), (name, numbers)


def halfway_beyond_postgresql(numbers: list[float]) -> float:
    """Values for which PostgreSQL's high − low overflows, and its median with it."""
    return float((Fraction(median_low(numbers)) + Fraction(median_high(numbers))) / 2)
