"""Stretches of a device's time in whole microseconds since 2000, as PostgreSQL keeps stamps."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from devices.timeline.instants import (
    INFINITY,
    MINUS_INFINITY,
    pg_literal,
    pg_microseconds,
)
from devices.timeline.periods import Period


class Span(NamedTuple):
    """Half open, and of one device."""

    device_id: int
    start: int
    end: int

    @classmethod
    def of(cls, device_id: int, period: Period) -> "Span":
        return cls(
            device_id,
            MINUS_INFINITY if period.start is None else pg_microseconds(period.start),
            INFINITY if period.end is None else pg_microseconds(period.end),
        )


def array_literal(items: Iterable[object]) -> str:
    """As SQL reads an array of numbers or `literal` stamps: far less to parse than ARRAY[…]."""
    return f"{{{','.join(map(str, items))}}}"


def span_arrays(spans: Sequence[Span]) -> list[str]:
    """Device ids, starts and ends for `unnest(%s::int[], %s::timestamptz[], %s::timestamptz[])`."""
    return [
        array_literal(span.device_id for span in spans),
        array_literal(pg_literal(span.start) for span in spans),
        array_literal(pg_literal(span.end) for span in spans),
    ]
