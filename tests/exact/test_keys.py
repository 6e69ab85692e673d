import struct

import numpy as np
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from devices.exact.keys import keys_of, value_of, values_of

reproducible = hypothesis_settings(derandomize=True, deadline=None)
finite = st.floats(allow_nan=False, allow_infinity=False)


class TestKeys:
    @reproducible
    @given(st.lists(finite))
    @example([0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, -1.7976931348623157e308])
    def test_keys_preserve_every_bit_and_the_order(self, numbers):
        keys = keys_of(np.array(numbers, np.float64))
        assert values_of(keys).tobytes() == struct.pack(f"{len(numbers)}d", *numbers)
        assert values_of(np.sort(keys)).tolist() == sorted(numbers)
        assert struct.pack(f"{len(numbers)}d", *map(value_of, keys.tolist())) == values_of(keys).tobytes()

    def test_negative_zero_comes_first(self):
        below, above = keys_of(np.array([-0.0, 0.0]))
        assert below + np.uint64(1) == above
