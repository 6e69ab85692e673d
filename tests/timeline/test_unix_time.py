"""Numbers as stamps: each is the nearest microsecond, computed here with exact fractions."""

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devices.timeline.instants import UNIX_EPOCH, from_unix_microseconds, unix_microseconds
from devices.timeline.periods import BadStamp
from devices.timeline.unix_time import FIRST, LAST, PRECISIONS, SECOND, parse_number

units = st.sampled_from(list(PRECISIONS.values()))
# Up to 2242 a double of seconds holds each microsecond.
moments = st.datetimes(datetime(1970, 1, 1), datetime(2242, 1, 1), timezones=st.just(UTC))


@given(st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False), units)
@example(0.0000005, SECOND)
@example(-0.0000015, SECOND)
@example(2.5, 1000)
@example(500, 1)
@example(1500, 1)
@example(-500, 1)
@example(-0.0, SECOND)
@example(5e-324, SECOND)
def test_a_number_is_the_nearest_microsecond_and_of_two_the_even_one(number, unit) -> None:
    exact = round(Fraction(number) * unit / 1000)
    if FIRST <= exact <= LAST:
        assert parse_number(number, unit) == exact
    else:
        with pytest.raises(BadStamp):
            parse_number(number, unit)


@given(moments)
@example(datetime(2024, 11, 27, 9, 33, 20, 123456, tzinfo=UTC))
@example(datetime(1970, 1, 1, tzinfo=UTC))
def test_each_microsecond_written_in_decimals_is_kept(moment) -> None:
    time = unix_microseconds(moment)
    seconds, fraction = divmod(time, 1_000_000)
    written = {"s": f"{seconds}.{fraction:06}", "ms": f"{time // 1000}.{time % 1000:03}", "us": f"{time}"}
    written["ns"] = f"{time * 1000}"
    for name, text in written.items():
        assert parse_number(json.loads(text), PRECISIONS[name]) == time, name


def test_the_bounds_are_those_of_text() -> None:
    assert from_unix_microseconds(FIRST) == datetime.min.replace(tzinfo=UTC)
    assert from_unix_microseconds(LAST) == datetime.max.replace(tzinfo=UTC)
    for time in (FIRST, LAST):
        assert parse_number(time, PRECISIONS["us"]) == time
    for time in (FIRST - 1, LAST + 1, 10**400):
        with pytest.raises(BadStamp, match="year"):
            parse_number(time, PRECISIONS["us"])


def test_zero_is_the_epoch() -> None:
    for unit in PRECISIONS.values():
        assert UNIX_EPOCH + parse_number(0, unit) * timedelta(microseconds=1) == UNIX_EPOCH
