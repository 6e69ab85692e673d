"""Logs in PostgreSQL: every query about a user is answered from the index `log_of_user` alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import InterfaceError, OperationalError, ProgrammingError, connections

from analytics.activity.events.event import BLOG_ACTIONS, COMMENT, EVENT_KINDS, LOGIN, LOGOUT, Event
from analytics.activity.storage.interface import ActiveDay
from devices.storage.interface import StorageUnavailable
from devices.timeline.periods import Period

ALIAS = "activity"
UNDEFINED_TABLE = "42P01"

APPEND = """
    INSERT INTO activity_log (event_id, user_id, event_type_id, at, object_id)
    SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::smallint[], %s::timestamptz[], %s::bigint[])
    ON CONFLICT (event_id) DO NOTHING
"""
USER_AND_PERIOD = """
    user_id = %(user)s
    AND at >= coalesce(%(start)s::timestamptz, '-infinity')
    AND at < coalesce(%(end)s::timestamptz, 'infinity')
"""
COMMENTS = f"""
    SELECT object_id, count(*) AS total FROM activity_log
    WHERE event_type_id = %(comment)s AND {USER_AND_PERIOD}
    GROUP BY object_id ORDER BY total DESC, object_id
"""
GENERAL = f"""
    SELECT
        (at AT TIME ZONE %(zone)s)::date AS day,
        count(*) FILTER (WHERE event_type_id = %(login)s),
        count(*) FILTER (WHERE event_type_id = %(logout)s),
        count(*) FILTER (WHERE event_type_id = ANY(%(blog_actions)s))
    FROM activity_log WHERE event_type_id = ANY(%(all)s) AND {USER_AND_PERIOD}
    GROUP BY day ORDER BY day
"""
COUNTS = f"""
    SELECT event_type_id, count(*) FROM activity_log
    WHERE event_type_id = ANY(%(all)s) AND {USER_AND_PERIOD} GROUP BY event_type_id
"""
NUMBERS = {
    "comment": EVENT_KINDS[COMMENT].number,
    "login": EVENT_KINDS[LOGIN].number,
    "logout": EVENT_KINDS[LOGOUT].number,
    "blog_actions": [EVENT_KINDS[name].number for name in BLOG_ACTIONS],
    # With all types listed, the index also serves the bounds of the period.
    "all": [kind.number for kind in EVENT_KINDS.values()],
}
NAMES = {kind.number: name for name, kind in EVENT_KINDS.items()}


class PostgreSQLActivity:
    """Logs in Django's database `activity`; the URL is not used."""

    def __init__(self, url: str) -> None:
        self.url = url

    def append(self, events: Sequence[Event]) -> int:
        if not events:
            return 0
        # Sorted to exclude a deadlock between two who store the same events at the same time.
        rows = sorted(events, key=lambda event: event.id)
        columns = [
            [event.id for event in rows],
            [event.user_id for event in rows],
            [EVENT_KINDS[event.name].number for event in rows],
            [event.at for event in rows],
            [event.object_id for event in rows],
        ]
        with cursor() as activity:
            activity.execute(APPEND, columns)
            return activity.rowcount

    def comments(self, user_id: int, period: Period) -> list[tuple[int, int]]:
        return self.rows(COMMENTS, user_id, period)

    def general(self, user_id: int, period: Period, zone: str) -> list[ActiveDay]:
        return [ActiveDay(*row) for row in self.rows(GENERAL, user_id, period, zone=zone)]

    def counts(self, user_id: int, period: Period) -> dict[str, int]:
        return {NAMES[number]: count for number, count in self.rows(COUNTS, user_id, period)}

    def rows(self, statement: str, user_id: int, period: Period, **others: Any) -> list[tuple]:
        bounds = {"user": user_id, "start": period.start, "end": period.end}
        with cursor() as activity:
            activity.execute(statement, NUMBERS | bounds | others)
            return activity.fetchall()


@contextmanager
def cursor() -> Iterator[Any]:
    """A cursor on the activity database. Raises StorageUnavailable."""
    try:
        with connections[ALIAS].cursor() as activity:
            yield activity
    except (OperationalError, InterfaceError) as error:
        raise StorageUnavailable(f"The activity database does not answer: {error}") from error
    except ProgrammingError as error:
        if getattr(error.__cause__, "pgcode", None) != UNDEFINED_TABLE:
            raise
        raise StorageUnavailable("The activity database is not migrated.") from error
