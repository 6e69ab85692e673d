"""Instants as whole microseconds, counted from one of two epochs, each with a type of its own.

PostgreSQL keeps a timestamptz in microseconds since 2000: spans, segments and rows read from the table use
`PgMicroseconds`. Readings on their way in, and ClickHouse, count from 1970: `UnixMicroseconds`.
"""

from datetime import UTC, datetime, timedelta
from typing import NewType

PgMicroseconds = NewType("PgMicroseconds", int)
UnixMicroseconds = NewType("UnixMicroseconds", int)

MICROSECOND = timedelta(microseconds=1)
MICROSECONDS_PER_SECOND = 1_000_000
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PG_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
# Add it to PgMicroseconds for UnixMicroseconds.
PG_EPOCH_IN_UNIX = (PG_EPOCH - UNIX_EPOCH) // MICROSECOND
# Bounds of spans that are open.
INFINITY = PgMicroseconds(2**63 - 1)
MINUS_INFINITY = PgMicroseconds(-(2**63))


def unix_microseconds(time: datetime) -> UnixMicroseconds:
    return UnixMicroseconds((time - UNIX_EPOCH) // MICROSECOND)


def from_unix_microseconds(microseconds: int) -> datetime:
    """Return the instant in UTC."""
    return UNIX_EPOCH + microseconds * MICROSECOND


def pg_microseconds(time: datetime) -> PgMicroseconds:
    return PgMicroseconds((time - PG_EPOCH) // MICROSECOND)


LAST_PG_TIME = pg_microseconds(datetime.max.replace(tzinfo=UTC))


def from_pg_microseconds(time: int) -> datetime:
    """Return the instant in UTC."""
    return PG_EPOCH + time * MICROSECOND


def pg_to_unix(time: PgMicroseconds) -> UnixMicroseconds:
    return UnixMicroseconds(time + PG_EPOCH_IN_UNIX)


def unix_to_pg(time: UnixMicroseconds) -> PgMicroseconds:
    return PgMicroseconds(time - PG_EPOCH_IN_UNIX)


def pg_literal(time: int) -> str:
    """Write the instant as SQL reads a timestamptz."""
    # The last day of year 9999 ends beyond what datetime holds.
    if time > LAST_PG_TIME:
        return "infinity"
    if time == MINUS_INFINITY:
        return "-infinity"
    return from_pg_microseconds(time).isoformat()
