from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from devices.timeline.periods import BadPeriod, BadStamp, Period, parse_period, parse_stamp

BERLIN = ZoneInfo("Europe/Berlin")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("2026-11-21T09:30:00Z", utc(2026, 11, 21, 9, 30)),
        ("2026-11-21T09:30:00z", utc(2026, 11, 21, 9, 30)),
        ("2026-11-21 09:30:00Z", utc(2026, 11, 21, 9, 30)),
        ("2026-11-21T09:30Z", utc(2026, 11, 21, 9, 30)),
        ("2026-11-21T09:30:00+02:00", utc(2026, 11, 21, 7, 30)),
        ("2026-11-21T09:30:00+0200", utc(2026, 11, 21, 7, 30)),
        ("2026-11-21T09:30:00-02", utc(2026, 11, 21, 11, 30)),
        ("2026-11-21T00:15:00+05:45", utc(2026, 11, 20, 18, 30)),
        ("2024-02-29T00:00:00Z", utc(2024, 2, 29)),
        ("2026-11-21T09:30:00.5Z", utc(2026, 11, 21, 9, 30, 0, 500_000)),
        ("2026-11-21T09:30:00,25Z", utc(2026, 11, 21, 9, 30, 0, 250_000)),
        ("2026-11-21T09:30:00.000001Z", utc(2026, 11, 21, 9, 30, 0, 1)),
        ("2026-11-21T09:30:00.123456789Z", utc(2026, 11, 21, 9, 30, 0, 123_456)),
        ("0001-01-01T00:00:00Z", utc(1, 1, 1)),
        ("9999-12-31T23:59:59.999999Z", utc(9999, 12, 31, 23, 59, 59, 999_999)),
    ],
)
def test_a_stamp_with_an_offset_is_exact_to_the_microsecond(text, stamp):
    parsed, assumed = parse_stamp(text, BERLIN)
    assert (parsed, parsed.tzinfo, assumed) == (stamp, UTC, False)


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("2026-11-21T09:30:00", utc(2026, 11, 21, 8, 30)),
        ("2026-07-21T09:30:00.25", utc(2026, 7, 21, 7, 30, 0, 250_000)),
        ("2026-11-21 09:30", utc(2026, 11, 21, 8, 30)),
        ("2026-11-21", utc(2026, 11, 20, 23)),
        # Skipped when summer time began: read with the offset before.
        ("2026-03-29T02:30:00", utc(2026, 3, 29, 1, 30)),
        # Twice when it ended: the first time is meant.
        ("2026-10-25T02:30:00", utc(2026, 10, 25, 0, 30)),
    ],
)
def test_a_naive_stamp_is_read_in_the_devices_zone(text, stamp):
    assert parse_stamp(text, BERLIN) == (stamp, True)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "now", "today", "1700000000", "1700000000.5", "-1", "null"),
        *("2026", "2026-11", "20261121", "20261121T093000Z", "2026-W47-6", "2026-325", "21.11.2026"),
        *("2026-11-21T", "2026-11-21T09", "2026-11-21T9:30:00Z", "2026-11-21Z", "09:30:00Z"),
        *("2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-31", "2026-11-00", "0000-01-01"),
        *("2026-11-21T25:00:00Z", "2026-11-21T09:60:00Z", "2026-11-21T09:30:60Z"),
        *("2026-11-21T09:30:00+25:00", "2026-11-21T09:30:00+", "2026-11-21T09:30:00 UTC"),
        *("2026-11-21T09:30:00.Z", "2026-11-21T09:30:00.1234567890Z", "2026-11-21T09:30:00ZZ"),
        *(" 2026-11-21T09:30:00Z", "2026-11-21T09:30:00Z\n", "2026-11-21T09:30:00Z\x00", "+2026-11-21"),
        *("-2026-11-21T09:30:00Z", "12026-11-21T09:30:00Z", "２０２６-11-21T09:30:00Z"),
        *("٢٠٢٦-١١-٢١T٠٩:٣٠:٠٠Z", "2026-11-21T09:30:0٠Z", "2026-11-21T09:30:00+0٢:00", "2026−11−21"),
        # In UTC before the year 1 and after 9999.
        *("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00", "9999-12-31T23:59:59-12:00"),
    ],
)
def test_other_texts_are_refused(text):
    with pytest.raises(BadStamp, match=r"^(Must be|Not a) "):
        parse_stamp(text, BERLIN)


@pytest.mark.parametrize(
    ("query", "period"),
    [
        ({}, Period(None, None)),
        ({"start": "2026-11-21T00:00:00Z"}, Period(utc(2026, 11, 21), None)),
        ({"end": "2026-11-21"}, Period(None, utc(2026, 11, 20, 23))),
        (
            {"start": "2026-11-20T23:00:00Z", "end": "2026-11-21T00:00:00.000001"},
            Period(utc(2026, 11, 20, 23), utc(2026, 11, 20, 23, 0, 0, 1)),
        ),
        # A bare + in a query string arrives as a space.
        ({"start": "2026-11-21T09:30:00 02:00"}, Period(utc(2026, 11, 21, 7, 30), None)),
        ({"start": "2026-11-21T09:30:00.5 0200"}, Period(utc(2026, 11, 21, 7, 30, 0, 500_000), None)),
        ({"start": "2026-11-21 09:30"}, Period(utc(2026, 11, 21, 8, 30), None)),
        ({"limit": "7", "start": "2026-11-21T00:00:00Z"}, Period(utc(2026, 11, 21), None)),
    ],
)
def test_each_bound_of_a_period_is_optional(query, period):
    assert parse_period(query, BERLIN) == period


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"start": "yesterday"}, "start"),
        ({"start": ""}, "start"),
        ({"end": ""}, "end"),
        ({"start": "2026-11-21", "end": "tomorrow"}, "end"),
        ({"start": 1700000000}, "start"),
        ({"end": True}, "end"),
        ({"end": ["2026-11-21"]}, "end"),
        ({"start": "2026-11-21", "end": "2026-11-21"}, "start"),
        ({"start": "2026-11-22", "end": "2026-11-21"}, "start"),
        # The same instant in two zones.
        ({"start": "2026-11-21T01:00:00", "end": "2026-11-21T00:00:00Z"}, "start"),
    ],
)
def test_a_bad_period_names_its_bound(query, field):
    with pytest.raises(BadPeriod) as caught:
        parse_period(query, BERLIN)
    assert caught.value.field == field
