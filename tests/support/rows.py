"""Rows of readings for the flow tests, one a second."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from tests.support.portal import Portal, Sender

XYZ = ("x", "y", "z")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
# In the partition for times before 2000, into which `Portal.load` writes.
LONG_AGO = datetime(1999, 5, 17, 8, tzinfo=UTC)


def stamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def post_rows(
    portal: Portal, device: Sender, rows: Iterable[Sequence[float]], start: datetime = NOON
) -> None:
    """Post a reading for each second."""
    for second, row in enumerate(rows):
        time = stamp(start + timedelta(seconds=second))
        portal.post_reading(device, **dict(zip(XYZ, row, strict=True)), timestamp=time)
