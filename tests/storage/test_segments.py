import math
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from devices.exact.keys import LARGEST_KEY, concatenate, keys_of, value_of, values_of
from devices.exact.packing import BLOCK, block_bytes, pack, unpack
from devices.exact.ranks import RankSearch, SortedUnion, fraction_of_percentile, interpolate, rank
from devices.exact.sums import UNITS, exact_sum, exact_sums, pack_sum, rounded, unpack_sum

reproducible = hypothesis_settings(derandomize=True, deadline=None)
finite = st.floats(allow_nan=False, allow_infinity=False)
SHARES = (0.0, 0.05, 0.25, 0.5, 0.999, 1.0)


def any_doubles(random: np.random.Generator, n: int) -> np.ndarray:
    bits = random.integers(0, 2**64, n, dtype=np.uint64)
    # Exponents of 2047 are infinite or no numbers.
    return np.where((bits >> np.uint64(52)) & np.uint64(2047) == 2047, bits >> np.uint64(2), bits).view(
        np.float64
    )


# Each makes numbers of another kind: spread, rounded, of few values, of any size, all the same.
KINDS = {
    "spread": lambda random, n: random.normal(20, 5, n),
    "rounded": lambda random, n: np.round(random.normal(0, 1, n), 1) + 0.0,
    "of few values": lambda random, n: random.integers(0, 3, n).astype(np.float64),
    "of any size": any_doubles,
    "the same": lambda _, n: np.full(n, 3.5),
}


class TestKeys:
    @reproducible
    @given(st.lists(finite))
    @example([0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, -1.7976931348623157e308])
    def test_they_keep_every_bit_and_the_order(self, numbers):
        keys = keys_of(np.array(numbers, np.float64))
        assert values_of(keys).tobytes() == struct.pack(f"{len(numbers)}d", *numbers)
        assert values_of(np.sort(keys)).tolist() == sorted(numbers)
        assert struct.pack(f"{len(numbers)}d", *map(value_of, keys.tolist())) == values_of(keys).tobytes()

    def test_negative_zero_comes_first(self):
        below, above = keys_of(np.array([-0.0, 0.0]))
        assert below + np.uint64(1) == above


class TestSums:
    @reproducible
    @given(st.lists(finite))
    @example([1.7976931348623157e308] * 3 + [5e-324])
    @example([1e308, -1e308, 5e-324])
    @example([5e-324] * 7 + [2.2250738585072014e-308, -2.225073858507201e-308])
    def test_they_are_exact(self, numbers):
        total = exact_sum(np.array(numbers, np.float64))
        assert Fraction(total, UNITS) == sum(map(Fraction, numbers), Fraction())

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("size", [0, 1, 7, 1000, 1024, 1025])
    def test_those_of_a_table_are_exact(self, kind, size):
        table = np.stack([KINDS[kind](np.random.default_rng(seed), size) for seed in range(3)])
        assert exact_sums(table) == [exact_sum(row) for row in table]

    def test_the_largest_shifts_do_not_overflow(self):
        table = np.array([[(2 - 2**-52) * 2.0**26] * 1023 + [1.0]] * 2) * np.array([[1], [-1]])
        assert exact_sums(table) == [exact_sum(row) for row in table]

    @reproducible
    @given(st.lists(finite), st.binary(max_size=5))
    def test_they_come_back_from_their_bytes(self, numbers, before):
        total = exact_sum(np.array(numbers, np.float64))
        data = pack_sum(total)
        assert unpack_sum(before + data, len(before)) == (total, len(before) + len(data))

    def test_numbers_of_similar_size_need_few_bytes(self):
        total = exact_sum(np.random.default_rng(1).normal(20, 5, 8192))
        assert len(pack_sum(total)) < 20

    def test_only_one_beyond_the_largest_double_has_no_double(self):
        largest = exact_sum(np.array([1.7976931348623157e308]))
        assert rounded(largest) == 1.7976931348623157e308
        assert rounded(2 * largest) is None
        assert rounded(2 * largest, 2) == 1.7976931348623157e308


class TestPacking:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("size", [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2000])
    def test_what_is_packed_comes_back(self, kind, size):
        keys = np.sort(keys_of(KINDS[kind](np.random.default_rng(size), size)))
        packed = pack(keys)
        table = unpack(packed.sample, packed.widths, np.frombuffer(packed.data, np.uint8))
        assert table.ravel()[:size].tolist() == keys.tolist()
        assert packed.sample.tolist() == keys[::BLOCK].tolist()
        assert block_bytes(packed.widths).sum() == len(packed.data)

    def test_the_widest_steps_are_kept(self):
        keys = np.array([0, LARGEST_KEY, LARGEST_KEY], np.uint64)
        packed = pack(keys)
        assert packed.widths.tolist() == [8]
        assert (
            unpack(packed.sample, packed.widths, np.frombuffer(packed.data, np.uint8))[0, :3].tolist()
            == keys.tolist()
        )

    def test_equal_values_need_no_bytes(self):
        assert pack(np.full(1000, 5, np.uint64)).data == b""

    def test_some_blocks_are_read_without_the_others(self):
        keys = np.sort(keys_of(np.random.default_rng(1).normal(20, 5, 5000)))
        packed = pack(keys)
        ends = np.cumsum(block_bytes(packed.widths))
        data = np.frombuffer(packed.data, np.uint8)
        chosen = [0, 3, 4, 11]
        pieces = [data[ends[i] - block_bytes(packed.widths[i : i + 1])[0] : ends[i]] for i in chosen]
        table = unpack(packed.sample[chosen], packed.widths[chosen], np.concatenate(pieces))
        assert table.tolist() == keys[: 19 * BLOCK].reshape(-1, BLOCK)[chosen].tolist()


def found(arrays: list[np.ndarray], loose: np.ndarray, share: float) -> tuple[int, int, int]:
    """The two values at the place of this share of all, and how many blocks were looked into."""
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
    def test_they_are_those_of_the_sorted_union(self, kind, seed):
        random = np.random.default_rng(seed)
        sizes = random.integers(1, 3000, random.integers(0, 7))
        arrays = [np.sort(keys_of(KINDS[kind](random, n))) for n in sizes]
        loose = np.sort(keys_of(KINDS[kind](random, random.integers(1, 500))))
        everything = np.sort(np.concatenate([*arrays, loose]))
        for share in (*SHARES, random.random()):
            place = rank(share, len(everything))
            assert found(arrays, loose, share)[:2] == (everything[place.low], everything[place.high])

    def test_arrays_that_do_not_resemble_each_other_are_searched_again(self):
        """What is guessed from all of them alike is wrong."""
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

    def test_of_one_value_none_is_looked_into(self):
        arrays = [np.full(20_000, 7, np.uint64) for _ in range(20)]
        assert found(arrays, np.empty(0, np.uint64), 0.5) == (7, 7, 0)

    @pytest.mark.parametrize(
        ("text", "share"), [("5", 0.05), (5, 0.05), ("99.9", 0.999), (0.1, 0.001), ("100", 1.0)]
    )
    def test_a_percentile_is_the_share_that_its_text_means(self, text, share):
        assert fraction_of_percentile(text) == share

    @reproducible
    @given(finite, finite, st.floats(0, 1))
    @example(-1.7976931348623157e308, 1.7976931348623157e308, 0.5)
    def test_between_two_values_is_between_them(self, a, b, part):
        low, high = min(a, b), max(a, b)
        value = interpolate(low, high, part)
        assert math.isfinite(value)
        assert value == pytest.approx(
            low * (1 - part) + high * part, rel=1e-9, abs=1e-300 + 1e-9 * abs(high) + 1e-9 * abs(low)
        )
