"""One suite for every storage of logs: the same cases, the same answers. tests/logs.py has the storages."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest

from analytics.activity.events.event import (
    COMMENT,
    CREATE_POST,
    DELETE_POST,
    EVENT_KINDS,
    LATEST,
    LOGIN,
    LOGOUT,
    Event,
)
from analytics.activity.storage.interface import ActiveDay
from devices.timeline.periods import Period
from tests.support.concurrency import at_the_same_time
from tests.support.factories import NOON

pytestmark = [pytest.mark.integration, pytest.mark.django_db(databases=["default", "activity"])]
ADA, GRACE = 7, 8
HOUR = timedelta(hours=1)
EVER = Period()
MICROSECOND = timedelta(microseconds=1)


def event(name: str = LOGIN, at: datetime = NOON, of: int | None = None, user: int = ADA) -> Event:
    return Event(uuid4(), user, name, at, of)


class TestAppend:
    def test_nothing(self, logs):
        assert logs.append([]) == 0

    def test_each_is_stored_once_by_its_id(self, logs):
        events = [event(at=NOON + number * HOUR) for number in range(3)]
        assert logs.append(events[:2]) == 2
        assert logs.append(events) == 1
        assert logs.append(events) == 0
        assert logs.counts(ADA, EVER) == {LOGIN: 3}

    def test_also_within_one_batch_where_the_first_counts(self, logs):
        first = event()
        again = first._replace(at=NOON + 48 * HOUR, name=LOGOUT)
        assert logs.append([event(), first, again, first]) == 2
        assert logs.general(ADA, EVER, "UTC") == [ActiveDay(NOON.date(), 2, 0, 0)]

    def test_the_first_to_come_stays_as_it_is(self, logs):
        first = event()
        logs.append([first])
        assert logs.append([first._replace(user_id=GRACE), first._replace(name=LOGOUT)]) == 0
        assert (logs.counts(ADA, EVER), logs.counts(GRACE, EVER)) == ({LOGIN: 1}, {})

    def test_equal_events_with_ids_of_their_own_are_two(self, logs):
        assert logs.append([event(), event()]) == 2
        assert logs.counts(ADA, EVER) == {LOGIN: 2}

    def test_a_large_batch(self, logs):
        events = [event(COMMENT, NOON - number * HOUR, of=number % 7 + 1) for number in range(10_000)]
        assert logs.append(events) == 10_000
        assert sum(count for _, count in logs.comments(ADA, EVER)) == 10_000

    def test_ends_of_what_can_be_kept(self, logs):
        for at in (datetime(1970, 1, 1, tzinfo=UTC), LATEST - MICROSECOND):
            logs.append([event(at=at)])
        days = [date(1970, 1, 1), date(2199, 12, 31)]
        assert [day.date for day in logs.general(ADA, EVER, "UTC")] == days


class TestComments:
    def test_most_first_then_by_post(self, logs):
        logs.append([event(COMMENT, of=post) for post in (30, 10, 10, 20, 40, 40, 40)])
        logs.append([event(COMMENT, of=30, user=GRACE), event(CREATE_POST, of=30), event()])
        assert logs.comments(ADA, EVER) == [(40, 3), (10, 2), (20, 1), (30, 1)]

    def test_of_nobody(self, logs):
        assert logs.comments(987_654_321, EVER) == []

    def test_bounds_are_half_open_to_the_microsecond(self, logs):
        logs.append(
            [
                event(COMMENT, NOON + shift, of=1)
                for shift in (-MICROSECOND, 0 * HOUR, HOUR - MICROSECOND, HOUR)
            ]
        )
        assert logs.comments(ADA, Period(NOON, NOON + HOUR)) == [(1, 2)]
        assert logs.comments(ADA, Period(NOON, None)) == [(1, 3)]
        assert logs.comments(ADA, Period(None, NOON)) == [(1, 1)]

    def test_bounds_may_lie_anywhere(self, logs):
        logs.append([event(COMMENT, of=1)])
        ages = Period(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, tzinfo=UTC))
        assert logs.comments(ADA, ages) == [(1, 1)]


class TestGeneral:
    def test_days_ascend_and_count_each_kind(self, logs):
        of = {name: 5 for name, kind in EVENT_KINDS.items() if kind.space != "global"}
        for number, name in enumerate(EVENT_KINDS):
            logs.append([event(name, NOON - number * 24 * HOUR, of.get(name)) for _ in range(number + 1)])
        logs.append([event(user=GRACE)])
        assert logs.general(ADA, EVER, "UTC") == [
            ActiveDay(date(2026, 11, 17), 0, 0, 0),
            ActiveDay(date(2026, 11, 18), 0, 0, 4),
            ActiveDay(date(2026, 11, 19), 0, 0, 3),
            ActiveDay(date(2026, 11, 20), 0, 2, 0),
            ActiveDay(date(2026, 11, 21), 1, 0, 0),
        ]

    @pytest.mark.parametrize(
        ("zone", "at", "day"),
        [
            ("UTC", "2026-11-21T23:59:59.999999Z", date(2026, 11, 21)),
            ("Europe/Berlin", "2026-11-21T22:59:59.999999Z", date(2026, 11, 21)),
            ("Europe/Berlin", "2026-11-21T23:00:00Z", date(2026, 11, 22)),
            ("Europe/Berlin", "2026-06-21T21:59:59.999999Z", date(2026, 6, 21)),
            ("Europe/Berlin", "2026-06-21T22:00:00Z", date(2026, 6, 22)),
            # The days on which clocks change.
            ("Europe/Berlin", "2026-03-28T23:00:00Z", date(2026, 3, 29)),
            ("Europe/Berlin", "2026-03-29T21:59:59Z", date(2026, 3, 29)),
            ("Europe/Berlin", "2026-03-29T22:00:00Z", date(2026, 3, 30)),
            ("Europe/Berlin", "2026-10-25T22:59:59Z", date(2026, 10, 25)),
            ("Europe/Berlin", "2026-10-25T23:00:00Z", date(2026, 10, 26)),
            ("Asia/Kathmandu", "2026-11-21T18:14:59Z", date(2026, 11, 21)),
            ("Asia/Kathmandu", "2026-11-21T18:15:00Z", date(2026, 11, 22)),
            ("America/Havana", "2026-11-01T04:30:00Z", date(2026, 11, 1)),
            ("America/Havana", "2026-11-01T05:30:00Z", date(2026, 11, 1)),
        ],
    )
    def test_a_day_is_one_of_the_zone(self, logs, zone, at, day):
        logs.append([event(at=datetime.fromisoformat(at))])
        assert logs.general(ADA, EVER, zone) == [ActiveDay(day, 1, 0, 0)]

    def test_bounds_are_half_open(self, logs):
        logs.append([event(at=NOON + number * HOUR) for number in range(3)])
        assert logs.general(ADA, Period(NOON, NOON + 2 * HOUR), "UTC") == [ActiveDay(NOON.date(), 2, 0, 0)]
        assert logs.general(ADA, Period(NOON + 3 * HOUR), "UTC") == []


class TestCounts:
    def test_only_of_what_occurs(self, logs):
        logs.append(
            [event(), event(), event(LOGOUT, NOON + HOUR), event(DELETE_POST, of=3), event(user=GRACE)]
        )
        assert logs.counts(ADA, EVER) == {LOGIN: 2, LOGOUT: 1, DELETE_POST: 1}
        assert logs.counts(ADA, Period(NOON + HOUR)) == {LOGOUT: 1}


@pytest.mark.django_db(transaction=True, databases=["default", "activity"])
def test_concurrent_senders_of_the_same_events_store_each_once(logs):
    events = [event(COMMENT, NOON + number * HOUR, of=number % 5 + 1) for number in range(200)]
    orders = iter([events, events[::-1], events[100:] + events[:100], events[::2] + events[1::2]])
    new = at_the_same_time(lambda: logs.append(next(orders)), times=4)
    assert sum(new) == 200
    assert logs.counts(ADA, EVER) == {COMMENT: 200}
