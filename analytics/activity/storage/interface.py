"""Where the logs are kept, behind an interface: nothing above knows whether it is PostgreSQL or ClickHouse.

ACTIVITY_URL chooses. Every storage answers the same; one suite of tests asks all of them.
"""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple, Protocol

from analytics.activity.events.event import Event
from devices.timeline.periods import Period


class ActiveDay(NamedTuple):
    """What somebody did on an active day; one on which they only commented counts zeros."""

    date: date
    logins: int
    logouts: int
    blog_actions: int


class ActivityStorage(Protocol):
    """Each method raises `devices.storage.Unavailable`. Periods are half open; open ends reach to the first
    and last log."""

    def append(self, events: Sequence[Event]) -> int:
        """Store each event once by its id; returns how many are new. Committed when it returns."""

    def comments(self, user_id: int, period: Period) -> list[tuple[int, int]]:
        """Post id and number of the user's comments on it; most first, then by post id."""

    def general(self, user_id: int, period: Period, zone: str) -> list[ActiveDay]:
        """The user's active days, ascending; a day runs from midnight to midnight in the IANA zone."""

    def counts(self, user_id: int, period: Period) -> dict[str, int]:
        """Number of the user's events by name, of those that occur."""
