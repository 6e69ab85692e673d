"""Stretches of a device's time in whole microseconds since 2000, as PostgreSQL keeps stamps."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from devices.periods import Period

START = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
INFINITY = 2**63 - 1
MINUS_INFINITY = -(2**63)


class Span(NamedTuple):
    """Half open, and of one device."""

    device_id: int
    start: int
    end: int

    @classmethod
    def of(cls, device_id: int, period: Period) -> "Span":
        return cls(
            device_id,
            MINUS_INFINITY if period.start is None else microseconds(period.start),
            INFINITY if period.end is None else microseconds(period.end),
        )


def microseconds(time: datetime) -> int:
    return (time - START) // MICROSECOND


LAST = microseconds(datetime.max.replace(tzinfo=UTC))


def stamp(time: int) -> datetime:
    """In UTC."""
    return START + time * MICROSECOND


def literal(time: int) -> str:
    """As SQL reads a timestamptz."""
    # Also where the last day of year 9999 ends.
    if time > LAST:
        return "infinity"
    if time == MINUS_INFINITY:
        return "-infinity"
    return stamp(time).isoformat()


def array(items: Iterable[object]) -> str:
    """As SQL reads an array of numbers or `literal` stamps: far less to parse than ARRAY[…]."""
    return f"{{{','.join(map(str, items))}}}"


def arrays(spans: Sequence[Span]) -> list[str]:
    """Device ids, starts and ends for `unnest(%s::int[], %s::timestamptz[], %s::timestamptz[])`."""
    return [
        array(span.device_id for span in spans),
        array(literal(span.start) for span in spans),
        array(literal(span.end) for span in spans),
    ]
