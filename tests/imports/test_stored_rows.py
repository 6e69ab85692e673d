"""The record of what a block stored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from devices.imports import stored_rows
from devices.storage import row_codec
from devices.storage.interface import Rows

DECIMALS = st.builds(
    lambda number, places: number / 10**places, st.integers(-(10**9), 10**9), st.integers(0, 9)
)
DOUBLES = st.one_of(st.floats(allow_nan=False, allow_infinity=False), DECIMALS, st.just(-0.0))
TIMES = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)


def rows_of(count, width, data):
    devices = data.draw(arrays.arrays(np.int64, count, elements=st.integers(1, 2**31 - 1)))
    times = data.draw(arrays.arrays(np.int64, count, elements=TIMES))
    values = data.draw(arrays.arrays(np.float64, (count, width), elements=DOUBLES))
    return row_codec.encode_rows(devices, times, values)


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 4)), max_size=4), st.data())
def test_readings_come_back_to_the_last_bit(shapes, data):
    parts = [rows_of(count, width, data) for count, width in shapes]
    rows = Rows(b"".join(part.payload for part in parts), [time for part in parts for time in part.times])
    found = stored_rows.unpack(stored_rows.pack(rows))
    assert found.payload == rows.payload
    assert list(found.times) == list(rows.times)


@pytest.mark.parametrize("step", [1_000_000, 60_000_000])
def test_it_is_small(step):
    """Readings as a logger has them take a twentieth of the bytes of their rows at most (docs/decisions)."""
    random = np.random.default_rng(7)
    times = 1_790_000_000_000_000 + np.arange(5000) * step
    values = np.round(np.cumsum(random.normal(0, 0.1, (5000, 3)), axis=0) + 20, 2)
    rows = row_codec.encode_rows(17, times, values)
    assert len(stored_rows.pack(rows)) < len(rows.payload) / 20
