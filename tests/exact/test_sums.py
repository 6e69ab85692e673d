from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from devices.exact.sums import UNITS, exact_sum, exact_sums, pack_sum, rounded, unpack_sum
from tests.exact.doubles import KINDS

reproducible = hypothesis_settings(derandomize=True, deadline=None)
finite = st.floats(allow_nan=False, allow_infinity=False)


class TestSums:
    @reproducible
    @given(st.lists(finite))
    @example([1.7976931348623157e308] * 3 + [5e-324])
    @example([1e308, -1e308, 5e-324])
    @example([5e-324] * 7 + [2.2250738585072014e-308, -2.225073858507201e-308])
    def test_a_sum_is_exact(self, numbers):
        total = exact_sum(np.array(numbers, np.float64))
        assert Fraction(total, UNITS) == sum(map(Fraction, numbers), Fraction())

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("size", [0, 1, 7, 1000, 1024, 1025])
    def test_sums_of_a_table_are_exact(self, kind, size):
        table = np.stack([KINDS[kind](np.random.default_rng(seed), size) for seed in range(3)])
        assert exact_sums(table) == [exact_sum(row) for row in table]

    def test_the_largest_shifts_do_not_overflow(self):
        table = np.array([[(2 - 2**-52) * 2.0**26] * 1023 + [1.0]] * 2) * np.array([[1], [-1]])
        assert exact_sums(table) == [exact_sum(row) for row in table]

    @reproducible
    @given(st.lists(finite), st.binary(max_size=5))
    def test_sums_come_back_from_their_bytes(self, numbers, before):
        total = exact_sum(np.array(numbers, np.float64))
        data = pack_sum(total)
        assert unpack_sum(before + data, len(before)) == (total, len(before) + len(data))

    def test_numbers_of_similar_size_need_few_bytes(self):
        total = exact_sum(np.random.default_rng(1).normal(20, 5, 8192))
        assert len(pack_sum(total)) < 20

    def test_only_a_sum_beyond_the_largest_double_has_no_double(self):
        largest = exact_sum(np.array([1.7976931348623157e308]))
        assert rounded(largest) == 1.7976931348623157e308
        assert rounded(2 * largest) is None
        assert rounded(2 * largest, 2) == 1.7976931348623157e308
