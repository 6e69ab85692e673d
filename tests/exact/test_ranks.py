import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from devices.exact.keys import concatenate, keys_of
from devices.exact.packing import block_bytes, pack
from devices.exact.ranks import RankSearch, SortedUnion, fraction_of_percentile, interpolate, rank
from tests.exact.doubles import KINDS

reproducible = hypothesis_settings(derandomize=True, deadline=None)
finite = st.floats(allow_nan=False, allow_infinity=False)
SHARES = (0.0, 0.05, 0.25, 0.5, 0.999, 1.0)


def found(arrays: list[np.ndarray], loose: np.ndarray, share: float) -> tuple[int, int, int]:
    """Return the two values at the place of this share of all, and how many blocks were looked into."""
    packed = [pack(array) for array in arrays]
    widths = concatenate([part.widths for part in packed], np.uint8)
    data = np.frombuffer(b"".join(part.data for part in packed), np.uint8)
    ends = np.cumsum(block_bytes(widths))
    union = SortedUnion(
        np.array([len(array) for array in arrays], np.int64),
        concatenate([part.sample for part in packed], np.uint64),
        loose,
    )
    place, looked = rank(share, union.size), 0
    search = RankSearch(union, place.low, place.high)
    while search.answer is None:
        looked += len(search.needed)
        pieces = [data[ends[i] - block_bytes(widths[i : i + 1])[0] : ends[i]] for i in search.needed]
        search.resolve(widths[search.needed], concatenate(pieces, np.uint8))
    return *search.answer, looked


class TestRanks:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("seed", range(12))
    def test_values_are_those_of_the_sorted_union(self, kind, seed):
        random = np.random.default_rng(seed)
        sizes = random.integers(1, 3000, random.integers(0, 7))
        arrays = [np.sort(keys_of(KINDS[kind](random, n))) for n in sizes]
        loose = np.sort(keys_of(KINDS[kind](random, random.integers(1, 500))))
        everything = np.sort(np.concatenate([*arrays, loose]))
        for share in (*SHARES, random.random()):
            place = rank(share, len(everything))
            assert found(arrays, loose, share)[:2] == (everything[place.low], everything[place.high])

    def test_arrays_that_do_not_resemble_each_other_are_searched_again(self):
        """The guess takes arrays to be alike, and is wrong."""
        random = np.random.default_rng(1)
        arrays = [np.sort(keys_of(random.normal(i, 1e-9, 700))) for i in range(40)]
        everything = np.sort(np.concatenate(arrays))
        for share in SHARES:
            place = rank(share, len(everything))
            low, high, _ = found(arrays, np.empty(0, np.uint64), share)
            assert (low, high) == (everything[place.low], everything[place.high])

    def test_few_blocks_are_looked_into(self):
        random = np.random.default_rng(1)
        arrays = [np.sort(keys_of(random.normal(20, 5, 20_000))) for _ in range(20)]
        assert found(arrays, np.empty(0, np.uint64), 0.5)[2] < 60

    def test_arrays_of_one_value_need_no_block(self):
        arrays = [np.full(20_000, 7, np.uint64) for _ in range(20)]
        assert found(arrays, np.empty(0, np.uint64), 0.5) == (7, 7, 0)

    @pytest.mark.parametrize(
        ("text", "share"), [("5", 0.05), (5, 0.05), ("99.9", 0.999), (0.1, 0.001), ("100", 1.0)]
    )
    def test_a_percentile_is_the_fraction_that_its_text_means(self, text, share):
        assert fraction_of_percentile(text) == share

    @reproducible
    @given(finite, finite, st.floats(0, 1))
    @example(-1.7976931348623157e308, 1.7976931348623157e308, 0.5)
    def test_interpolation_stays_between_the_two_values(self, a, b, part):
        low, high = min(a, b), max(a, b)
        value = interpolate(low, high, part)
        assert math.isfinite(value)
        assert value == pytest.approx(
            low * (1 - part) + high * part, rel=1e-9, abs=1e-300 + 1e-9 * abs(high) + 1e-9 * abs(low)
        )
