"""Time ranges in addresses."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.timeline.periods import BadPeriod, Period
from devices.timeline.time_ranges import FIRST, fixed, local_text, parse_time_range, shifted

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 27, 14, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
TODAY = datetime(2026, 11, 26, 23, tzinfo=UTC)  # midnight in Berlin


@pytest.mark.parametrize(
    ("start", "end", "period", "moves"),
    [
        ("now-24h", "now", (NOW - 24 * HOUR, NOW), True),
        ("now-90s", "now-1m", (NOW - timedelta(seconds=90), NOW - timedelta(minutes=1)), True),
        ("now-7d", "", (NOW - timedelta(days=7), None), True),
        ("now-2w", "now", (NOW - timedelta(days=14), NOW), True),
        ("today", "now", (TODAY, NOW), True),
        ("yesterday", "today", (TODAY - timedelta(days=1), TODAY), True),
        ("2026-11-26", "2026-11-27T14:00", (TODAY - 24 * HOUR, TODAY + 14 * HOUR), False),
        ("2026-11-01T00:00:00Z", "now", (datetime(2026, 11, 1, tzinfo=UTC), NOW), True),
        ("2026-11-01T00:00:00.000001Z", "", (datetime(2026, 11, 1, 0, 0, 0, 1, tzinfo=UTC), None), False),
        ("", "2026-11-01", (None, datetime(2026, 10, 31, 23, tzinfo=UTC)), False),
        ("first", "now", (None, NOW), True),
        ("now-99999w", "now", (NOW - timedelta(weeks=99_999), NOW), True),
    ],
)  # fmt: skip
def test_ranges(start, end, period, moves) -> None:
    found = parse_time_range({"from": start, "to": end}, BERLIN, NOW)
    assert (found.period, found.moves) == (Period(*period), moves)
    assert found.query == {"from": start, "to": end}


def test_a_day_that_clocks_change_has_its_own_length() -> None:
    now = datetime(2026, 10, 26, 12, tzinfo=UTC)
    period = parse_time_range({"from": "yesterday", "to": "today"}, BERLIN, now).period
    assert period.end - period.start == 25 * HOUR


@pytest.mark.parametrize("query", [{}, {"from": ""}, {"from": "", "to": ""}, {"zone": "utc"}])
def test_no_range(query) -> None:
    assert parse_time_range(query, BERLIN, NOW) is None


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        ("now", "now", "from"),
        ("now", "now-1h", "from"),
        ("tomorrow", "", "from"),
        ("now-1y", "now", "from"),
        ("now-123456d", "now", "from"),
        ("now-²h", "now", "from"),
        ("now+1h", "", "from"),
        ("now-1h", "later", "to"),
        ("2026-02-30", "", "from"),
        ("2026-01-01", "2026-13-01", "to"),
        ("12", "", "from"),
    ],
)
def test_bad_ranges_name_the_field(start, end, field) -> None:
    with pytest.raises(BadPeriod) as error:
        parse_time_range({"from": start, "to": end}, BERLIN, NOW)
    assert error.value.field == field


@given(st.datetimes(timezones=st.just(UTC)), st.timedeltas(timedelta(microseconds=1), timedelta(days=4000)))
def test_there_and_back_is_the_same_range(start, length) -> None:
    try:
        period = Period(start, start + length)
    except OverflowError:
        return
    there = shifted(period, -1)
    if there is not None:
        assert there.period.end == start
        assert shifted(there.period, 1) == fixed(period.start, period.end)
        assert parse_time_range(there.query, BERLIN, NOW).period == there.period


def test_open_ranges_do_not_shift() -> None:
    assert shifted(Period(NOW), 1) is None
    assert shifted(Period(None, NOW), -1) is None


@pytest.mark.parametrize(
    ("time", "zone", "text"),
    [
        (FIRST, "America/New_York", "0001-01-01T00:00:00"),
        (FIRST, "UTC", "0001-01-01T00:00:00"),
        (datetime.max.replace(tzinfo=UTC), "Asia/Tokyo", "9999-12-31T23:59:59"),
        (NOW, "Europe/Berlin", "2026-11-27T15:30:00"),
    ],
)
def test_an_input_has_moments_that_the_calendar_of_the_zone_has_not(time, zone, text) -> None:
    assert local_text(time, ZoneInfo(zone)) == text
