"""Instants as whole microseconds, counted from one of two epochs, each epoch with types of its own.

PostgreSQL stores a timestamptz in microseconds since 2000: spans, segments and rows read from the table use
`PgMicroseconds`, arrays of them `PgTimes`. Incoming readings and ClickHouse count from 1970:
`UnixMicroseconds`, `UnixTimes`. A type checker finds a mix-up, as only this module converts between them.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, NewType, overload

import numpy as np
import numpy.typing as npt

PgMicroseconds = NewType("PgMicroseconds", int)
UnixMicroseconds = NewType("UnixMicroseconds", int)
# int64 of shape (n,).
PgTimes = NewType("PgTimes", npt.NDArray[np.int64])
UnixTimes = NewType("UnixTimes", npt.NDArray[np.int64])

MICROSECOND = timedelta(microseconds=1)
MICROSECONDS_PER_SECOND = 1_000_000
MICROSECONDS_PER_HOUR = 3600 * MICROSECONDS_PER_SECOND
MICROSECONDS_PER_DAY = 24 * MICROSECONDS_PER_HOUR

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PG_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
PG_EPOCH_IN_UNIX = UnixMicroseconds((PG_EPOCH - UNIX_EPOCH) // MICROSECOND)
PG_EPOCH_DAY = PG_EPOCH_IN_UNIX // MICROSECONDS_PER_DAY

# Bounds of an open span.
INFINITY = PgMicroseconds(2**63 - 1)
MINUS_INFINITY = PgMicroseconds(-(2**63))


# --- Between the epochs


@overload
def pg_to_unix(time: PgMicroseconds) -> UnixMicroseconds: ...
@overload
def pg_to_unix(time: PgTimes) -> UnixTimes: ...
def pg_to_unix(time: Any) -> Any:
    return time + PG_EPOCH_IN_UNIX


@overload
def unix_to_pg(time: UnixMicroseconds) -> PgMicroseconds: ...
@overload
def unix_to_pg(time: UnixTimes) -> PgTimes: ...
def unix_to_pg(time: Any) -> Any:
    return time - PG_EPOCH_IN_UNIX


# --- From and to datetime, SQL and bytes


def unix_microseconds(time: datetime) -> UnixMicroseconds:
    return UnixMicroseconds((time - UNIX_EPOCH) // MICROSECOND)


def from_unix_microseconds(time: UnixMicroseconds) -> datetime:
    """Return the instant in UTC."""
    return UNIX_EPOCH + time * MICROSECOND


def pg_microseconds(time: datetime) -> PgMicroseconds:
    return PgMicroseconds((time - PG_EPOCH) // MICROSECOND)


def from_pg_microseconds(time: PgMicroseconds) -> datetime:
    """Return the instant in UTC."""
    return PG_EPOCH + time * MICROSECOND


LAST_PG_TIME = pg_microseconds(datetime.max.replace(tzinfo=UTC))


def pg_literal(time: PgMicroseconds) -> str:
    """Write the instant as SQL reads a timestamptz."""
    # The last day of the year 9999 ends beyond the last instant of datetime.
    if time > LAST_PG_TIME:
        return "infinity"
    if time == MINUS_INFINITY:
        return "-infinity"
    return from_pg_microseconds(time).isoformat()


def pg_from_bytes(data: bytes | memoryview) -> PgMicroseconds:
    """Read an instant that PostgreSQL's timestamptz_send wrote."""
    return PgMicroseconds(int.from_bytes(data, "big", signed=True))


def unix_day_start(day: int) -> PgMicroseconds:
    """Return where a day in UTC begins; `day` counts from 1970-01-01."""
    return PgMicroseconds((day - PG_EPOCH_DAY) * MICROSECONDS_PER_DAY)
