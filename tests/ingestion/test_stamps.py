"""The timestamps of a batch are parsed to the same times as one by one, or not at all."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.ingestion.batch_stamps import parse_batch_stamps
from devices.timeline.instants import unix_microseconds
from devices.timeline.periods import BadStamp, parse_stamp

FORMS = (
    *("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ"),
    *("%Y-%m-%dT%H:%M:%S%:z", "%Y-%m-%dT%H:%M:%S.%f%:z"),
)
MINUTE = timedelta(minutes=1)
offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(minutes * MINUTE))
moments = st.datetimes(datetime(2, 1, 2), datetime(9998, 12, 30), timezones=offsets)


def one_by_one(texts: list[str]) -> list[int]:
    return [unix_microseconds(parse_stamp(text, UTC)[0]) for text in texts]


def text(moment: datetime, form: str) -> str:
    offset = moment.strftime("%z")
    written = moment.strftime(form.replace("%:z", f"{offset[:3]}:{offset[3:5]}"))
    # Not every C library fills a year up to four digits.
    return written.rjust(written.index("-") and len(written) + 4 - written.index("-"), "0")


@given(st.lists(moments, min_size=1, max_size=20), st.sampled_from(FORMS))
def test_usual_stamps_are_the_same_times(found, form) -> None:
    texts = [text(moment, form) for moment in found]
    assert parse_batch_stamps(texts).tolist() == one_by_one(texts)


@pytest.mark.parametrize("digits", range(1, 7))
def test_a_fraction_of_any_length_is_taken_or_left(digits) -> None:
    texts = [
        f"2026-02-28T23:59:59.{'987654'[:digits]}+01:30",
        f"2024-02-29T00:00:00.{'000001'[:digits]}-23:59",
    ]
    times = parse_batch_stamps(texts)
    assert times is not None
    assert times.tolist() == one_by_one(texts)


@given(st.text("0123456789-+:.,TZtz \x00é٣", min_size=1, max_size=32))
def test_what_is_taken_is_a_stamp(odd) -> None:
    times = parse_batch_stamps([odd, odd])
    assert times is None or times.tolist() == one_by_one([odd, odd])


GOOD = "2026-11-21T09:30:00.250000+01:00"


@given(st.integers(0, len(GOOD) - 1), st.characters(max_codepoint=0x300))
def test_one_wrong_character_is_seen(place, character) -> None:
    changed = GOOD[:place] + character + GOOD[place + 1 :]
    times = parse_batch_stamps([GOOD, changed])
    if times is not None:
        assert times.tolist() == one_by_one([GOOD, changed])


@pytest.mark.parametrize(
    "odd",
    [
        *("2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z"),
        *("2026-04-31T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z"),
        *("0000-01-01T00:00:00Z", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+00:60"),
    ],
)
def test_what_is_no_time_is_left(odd) -> None:
    assert parse_batch_stamps([odd]) is None
    with pytest.raises(BadStamp):
        parse_stamp(odd, UTC)


@pytest.mark.parametrize(
    "texts",
    [
        *(
            ["2026-11-21"],
            ["2026-11-21T09:30Z"],
            ["2026-11-21T09:30:00"],
            ["2026-11-21 09:30:00Z"],
            [""],
            ["Z"],
        ),
        *(["2026-11-21T09:30:00.Z"], ["2026-11-21T09:30:00.1234567Z"], [GOOD, "2026-11-21T09:30:00Z"]),
    ],
)
def test_other_forms_are_left(texts) -> None:
    assert parse_batch_stamps(texts) is None
