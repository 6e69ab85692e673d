"""Spans: stretches of a device's time, in the microseconds of PostgreSQL."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from devices.timeline.instants import (
    INFINITY,
    MINUS_INFINITY,
    PgMicroseconds,
    pg_literal,
    pg_microseconds,
)
from devices.timeline.periods import Period


class Span(NamedTuple):
    """Half open: `start <= t < end`. An open bound is MINUS_INFINITY or INFINITY."""

    device_id: int
    start: PgMicroseconds
    end: PgMicroseconds

    @classmethod
    def of(cls, device_id: int, period: Period) -> "Span":
        return cls(
            device_id,
            MINUS_INFINITY if period.start is None else pg_microseconds(period.start),
            INFINITY if period.end is None else pg_microseconds(period.end),
        )


def array_literal(items: Iterable[object]) -> str:
    """Write numbers or `pg_literal` instants as an SQL array: far less to parse than ARRAY[…]."""
    return f"{{{','.join(map(str, items))}}}"


def span_arrays(spans: Sequence[Span]) -> list[str]:
    """Return device ids, starts and ends for `unnest(%s::int[], %s::timestamptz[], %s::timestamptz[])`."""
    return [
        array_literal(span.device_id for span in spans),
        array_literal(pg_literal(span.start) for span in spans),
        array_literal(pg_literal(span.end) for span in spans),
    ]
