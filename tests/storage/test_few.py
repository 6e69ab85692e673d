"""Few readings are answered by other arithmetic than many: the figures must be the same to the last bit."""

from functools import partial

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from devices.storage.interface import FiguresQuery
from devices.storage.postgresql import small_samples
from devices.storage.postgresql.figures import figures_of_each, gap_limit
from devices.storage.postgresql.span_data import NO_SEGMENTS, SpanData
from devices.timeline.spans import Span

SHARES = (0.0, 0.05, 0.5, 0.999, 1.0)
finite = st.floats(allow_nan=False, allow_infinity=False)
LARGEST = 1.7976931348623157e308


def assert_same(times: list[int], columns: list[list[float]], expected_seconds: float | None) -> None:
    asked = FiguresQuery(Span(1, 0, 10**12), len(columns), expected_seconds)
    part = SpanData(
        NO_SEGMENTS, np.array(times, np.int64), np.array(columns).reshape(len(columns), -1), len(times)
    )
    [of_many] = figures_of_each([asked], [part], SHARES)
    of_few = small_samples.figures_of_sample(times, columns, SHARES, partial(gap_limit, asked))
    assert of_few == of_many
    # As text -0.0 is not 0.0.
    texts = [[repr(of_one.quantiles) for of_one in found.channels] for found in (of_few, of_many)]
    assert texts[0] == texts[1]


@hypothesis_settings(derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 100), finite), max_size=small_samples.MAX_READINGS),
    st.sampled_from([None, 1e-6, 0.5, 1e9]),
)
@example([(0, 0.0), (0, -0.0), (1, 0.0), (3, -0.0)], None)
@example([(0, -0.0), (0, 0.0)], None)
@example([(0, LARGEST), (1, LARGEST), (5, -5e-324)], None)
@example([(0, 1e308), (9, -1e308), (9, 5e-324)], 1.0)
def test_figures_are_those_of_many(readings: list[tuple[int, float]], expected_seconds: float | None) -> None:
    times = sorted(time for time, _ in readings)
    values = [value for _, value in readings]
    assert_same(times, [values, values[::-1]], expected_seconds)


@pytest.mark.parametrize("size", [0, 1, 2, 3, small_samples.MAX_READINGS])
def test_so_are_those_of_common_readings(size: int) -> None:
    random = np.random.default_rng(size)
    times = np.sort(random.integers(0, 10**9, size)).tolist()
    assert_same(times, random.normal(20, 5, (3, size)).tolist(), None)
