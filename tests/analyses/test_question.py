"""Questions of analyses: validation, canonical form, and the bounds of buckets."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from analytics.analyses.question import (
    BUCKETS,
    EARLIEST,
    LATEST,
    MOST_BUCKETS,
    BadQuestion,
    Question,
    buckets,
    check_size,
    parse_question,
)
from devices.timeline.periods import Period

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)
ZONES = (
    *(
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/St_Johns",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
    ),
    *("America/Havana", "Africa/Casablanca", "Pacific/Apia", "Atlantic/Azores", "Asia/Beirut"),
)


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


# --- Questions


@pytest.mark.parametrize(
    ("asked", "canonical"),
    [
        ("5,25,75,95", "5,25,75,95"),
        ("95, 5", "5,95"),
        ("5.0,5,05", "5"),
        ("0,100,99.9", "0,99.9,100"),
        ("100.000", "100"),
        ([50, 2.5], "2.5,50"),
        ([10, 10.0], "10"),
        ([1e-05, -0.0], "0,0.00001"),
    ],
)
def test_equal_percentiles_are_written_alike(asked: Any, canonical: str) -> None:
    assert parse_question({"percentiles": asked}, UTC) == Question(percentiles=canonical)


def test_percentiles_are_taken_apart() -> None:
    assert Question(percentiles="5,99.9,100").percentile_texts == ["5", "99.9", "100"]
    assert Question().percentile_texts == []


@pytest.mark.parametrize(
    "asked",
    [
        *(
            "",
            ",",
            "5,,6",
            "5,",
            "101",
            "100.1",
            "-1",
            "1e1",
            "NaN",
            "5;6",
            "٥",
            "5_0",
            "0x5",
            "five",
            "1" * 30,
        ),
        *(5, True, {}, ["5"], [None], [True], [-1], [100.5], [1e300], [[5]], list(range(21))),
        ",".join(map(str, range(21))),
    ],
)
def test_bad_percentiles_are_named(asked: Any) -> None:
    with pytest.raises(BadQuestion) as refused:
        parse_question({"percentiles": asked}, UTC)
    assert refused.value.field == "percentiles"


@pytest.mark.parametrize("asked", ["", "year", "Day", "days", 5, True, ["day"], {}])
def test_a_bad_bucket_is_named(asked: Any) -> None:
    with pytest.raises(BadQuestion) as refused:
        parse_question({"bucket": asked}, UTC)
    assert refused.value.field == "bucket"


@pytest.mark.parametrize("asked", ["", "Europe", "Berlin", "../etc/passwd", "+01:00", 5, True, ["UTC"], {}])
def test_a_bad_time_zone_is_named(asked: Any) -> None:
    with pytest.raises(BadQuestion) as refused:
        parse_question({"bucket": "day", "time_zone": asked}, UTC)
    assert refused.value.field == "time_zone"


def test_a_time_zone_without_buckets_is_refused() -> None:
    with pytest.raises(BadQuestion, match="only with bucket"):
        parse_question({"time_zone": "Europe/Berlin"}, UTC)


def test_buckets_begin_in_the_devices_zone_unless_another_is_named() -> None:
    assert parse_question({"bucket": "day"}, BERLIN).time_zone == "Europe/Berlin"
    assert parse_question({"bucket": "day", "time_zone": "Asia/Tokyo"}, BERLIN).time_zone == "Asia/Tokyo"
    assert parse_question({}, BERLIN).time_zone == ""


@pytest.mark.parametrize("bucket", BUCKETS)
def test_too_many_buckets_are_refused(bucket: str) -> None:
    end = at("2026-01-01")
    for start, count in ((end - MOST_BUCKETS * BUCKETS["hour"], MOST_BUCKETS), (None, 0)):
        check_size(Question(Period(start, end), bucket="hour"), None, end)
        assert count in (0, len(buckets(start or end, end, "hour", ZoneInfo("UTC"))))
    early = end - (MOST_BUCKETS + 1) * BUCKETS[bucket]
    for period, first in ((Period(early, end), None), (Period(None, end), early), (Period(early), None)):
        with pytest.raises(BadQuestion, match="ask for longer ones"):
            check_size(Question(period, bucket=bucket), first, end)


# --- Buckets


def hours(found: list[Period]) -> list[float]:
    return [(period.end - period.start) / HOUR for period in found]


@pytest.mark.parametrize(
    ("start", "end", "lengths"),
    [
        ("2026-03-28", "2026-03-31", [24, 23, 24]),
        ("2026-10-24", "2026-10-27", [24, 25, 24]),
    ],
)
def test_days_have_23_or_25_hours_when_clocks_change(start: str, end: str, lengths: list[float]) -> None:
    found = buckets(at(start, "Europe/Berlin"), at(end, "Europe/Berlin"), "day", BERLIN)
    assert hours(found) == lengths
    assert [period.start.astimezone(BERLIN).hour for period in found] == [0, 0, 0]


def test_an_hour_that_comes_twice_is_two_and_one_left_out_is_none() -> None:
    autumn = buckets(at("2026-10-25", "Europe/Berlin"), at("2026-10-26", "Europe/Berlin"), "hour", BERLIN)
    spring = buckets(at("2026-03-29", "Europe/Berlin"), at("2026-03-30", "Europe/Berlin"), "hour", BERLIN)
    assert hours(autumn) == [1] * 25
    assert hours(spring) == [1] * 23


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    start, end = at("2026-10-01", "Europe/Berlin"), at("2026-12-01", "Europe/Berlin")
    weeks = buckets(start, end, "week", BERLIN)
    assert {period.start.astimezone(BERLIN).isoweekday() for period in weeks[1:]} == {1}
    assert hours(weeks)[3] == 7 * 24 + 1
    assert hours(buckets(start, end, "month", BERLIN)) == [31 * 24 + 1, 30 * 24]


def test_clocks_that_change_by_half_an_hour_make_one_of_90_minutes() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    found = buckets(at("2026-04-05", str(zone)), at("2026-04-05T06:00", str(zone)), "hour", zone)
    assert hours(found) == [1, 1.5, 1, 1, 1, 1]


def test_a_day_that_a_zone_left_out_is_left_out() -> None:
    zone = ZoneInfo("Pacific/Apia")
    found = buckets(at("2011-12-29", str(zone)), at("2012-01-01", str(zone)), "day", zone)
    assert hours(found) == [24, 24]


def test_the_first_and_the_last_are_cut_off() -> None:
    start, end = at("2026-07-01T13:30"), at("2026-07-03T01:00")
    found = buckets(start, end, "day", ZoneInfo("UTC"))
    assert found == [
        Period(start, at("2026-07-02")),
        Period(at("2026-07-02"), at("2026-07-03")),
        Period(at("2026-07-03"), end),
    ]
    whole = buckets(start, end, "day", ZoneInfo("UTC"), starts_whole=True)
    assert whole == [Period(at("2026-07-01"), at("2026-07-02")), *found[1:]]


def test_of_an_empty_period_there_are_none() -> None:
    assert buckets(at("2026-07-01"), at("2026-07-01"), "day", BERLIN) == []


@pytest.mark.parametrize("bucket", BUCKETS)
def test_buckets_at_the_ends_of_time_are_refused(bucket: str) -> None:
    hours = timedelta(hours=1)
    for start, is_fine in (
        (datetime(1, 1, 1, tzinfo=UTC), False),
        (datetime(9999, 12, 31, 22, tzinfo=UTC), False),
        (EARLIEST, True),
        (LATEST - hours, True),
    ):
        question = Question(Period(start, start + hours), bucket=bucket)
        if is_fine:
            check_size(question, None, start)
            for zone in ZONES:
                assert buckets(start, start + hours, bucket, ZoneInfo(zone))
        else:
            with pytest.raises(BadQuestion):
                check_size(question, None, start)


@hypothesis_settings(deadline=None, derandomize=True)
@given(
    st.datetimes(datetime(1950, 1, 1), datetime(2050, 1, 1)),
    st.timedeltas(timedelta(microseconds=1), timedelta(days=40)),
    st.sampled_from(sorted(BUCKETS)),
    st.sampled_from(ZONES),
)
def test_buckets_cover_the_period_without_gap_or_overlap_and_end_where_the_clock_says(
    start: datetime, length: timedelta, bucket: str, zone: str
) -> None:
    start = start.replace(tzinfo=UTC)
    end = start + length
    found = buckets(start, end, bucket, ZoneInfo(zone))
    assert (found[0].start, found[-1].end) == (start, end)
    assert all(period.start < period.end for period in found)
    assert all(one.end == other.start for one, other in pairwise(found))
    longest = {"hour": 2 * HOUR, "day": 26 * HOUR, "week": 170 * HOUR, "month": 746 * HOUR}[bucket]
    assert max(hours(found)) <= longest / HOUR


def test_buckets_of_a_large_fleet_are_bounded_by_what_they_cost() -> None:
    period = Period(datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    question = Question(period, percentiles="5,95", bucket="hour")
    check_size(question, None, period.end, devices=11)
    with pytest.raises(BadQuestion, match="12 devices") as refused:
        check_size(question, None, period.end, devices=12)
    assert refused.value.field == "bucket"


@pytest.mark.parametrize("name", ["localtime", "Factory"])
def test_a_zone_that_is_no_place_is_refused(name) -> None:
    with pytest.raises(BadQuestion) as refused:
        parse_question({"bucket": "day", "time_zone": name}, UTC)
    assert refused.value.field == "time_zone"
