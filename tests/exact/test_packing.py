import numpy as np
import pytest

from devices.exact.keys import LARGEST_KEY, keys_of
from devices.exact.packing import BLOCK, block_bytes, pack, unpack
from tests.exact.doubles import KINDS


class TestPacking:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("size", [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2000])
    def test_packed_keys_come_back(self, kind, size):
        keys = np.sort(keys_of(KINDS[kind](np.random.default_rng(size), size)))
        packed = pack(keys)
        table = unpack(packed.sample, packed.widths, np.frombuffer(packed.data, np.uint8))
        assert table.ravel()[:size].tolist() == keys.tolist()
        assert packed.sample.tolist() == keys[::BLOCK].tolist()
        assert block_bytes(packed.widths).sum() == len(packed.data)

    def test_the_widest_steps_are_preserved(self):
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
