"""Interface of a storage of logs. All storages give the same answers; one test suite runs on each of them."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple, Protocol

from analytics.activity.events.event import Event
from devices.timeline.periods import Period


class ActiveDay(NamedTuple):
    """Numbers of a person's events on a day with events; a day with comments only has zeros."""

    date: date
    logins: int
    logouts: int
    blog_actions: int


class ActivityStorage(Protocol):
    """Each method raises StorageUnavailable. Periods are half open, or open-ended."""

    def append(self, events: Sequence[Event]) -> int:
        """Store and commit each event once by its id; return how many were new."""

    def comments(self, user_id: int, period: Period) -> list[tuple[int, int]]:
        """Return post ids and numbers of the user's comments, most comments first, then by post id."""

    def general(self, user_id: int, period: Period, zone: str) -> list[ActiveDay]:
        """Return the user's active days, ascending; a day runs from midnight to midnight in the IANA zone."""

    def counts(self, user_id: int, period: Period) -> dict[str, int]:
        """Return the number of the user's events by name; names without events are left out."""
