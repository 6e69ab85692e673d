from datetime import UTC, datetime

import numpy as np
import pytest

from devices.timeline import instants
from devices.timeline.instants import INFINITY, MINUS_INFINITY, PgTimes

STAMPS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999_999, UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(2026, 11, 21, 12, 0, 0, 1, UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC),
]


@pytest.mark.parametrize("stamp", STAMPS)
def test_each_epoch_gives_the_instant_back(stamp):
    pg, unix = instants.pg_microseconds(stamp), instants.unix_microseconds(stamp)
    assert instants.from_pg_microseconds(pg) == instants.from_unix_microseconds(unix) == stamp
    assert (instants.pg_to_unix(pg), instants.unix_to_pg(unix)) == (unix, pg)
    assert instants.pg_from_bytes(pg.to_bytes(8, "big", signed=True)) == pg
    assert datetime.fromisoformat(instants.pg_literal(pg)) == stamp


def test_arrays_are_converted_as_single_instants_are():
    pg = PgTimes(np.array([instants.pg_microseconds(stamp) for stamp in STAMPS]))
    unix = instants.pg_to_unix(pg)
    assert unix.tolist() == [instants.unix_microseconds(stamp) for stamp in STAMPS]
    assert instants.unix_to_pg(unix).tolist() == pg.tolist()


def test_open_bounds_are_written_as_infinity():
    assert (instants.pg_literal(INFINITY), instants.pg_literal(MINUS_INFINITY)) == ("infinity", "-infinity")


def test_the_end_of_the_last_day_is_written_as_infinity():
    last = instants.pg_microseconds(STAMPS[-1])
    assert instants.pg_literal(last + 1) == "infinity"


@pytest.mark.parametrize("stamp", STAMPS)
def test_a_day_begins_at_midnight_in_utc(stamp):
    midnight = stamp.replace(hour=0, minute=0, second=0, microsecond=0)
    day = (midnight - instants.UNIX_EPOCH).days
    assert instants.unix_day_start(day) == instants.pg_microseconds(midnight)
