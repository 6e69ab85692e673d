"""Stamps as people write them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.imports.cells import stamps
from devices.imports.cells.stamps import guess_order, guess_unit, is_stamp, parse, parse_usual
from devices.timeline.instants import from_unix_microseconds
from devices.timeline.periods import BadStamp

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
CLOCKS = {
    "": "00:00:00", " 14:05": "14:05:00", " 4:05": "04:05:00", " 14:05:06": "14:05:06",
    "T14:05:06": "14:05:06",
    ", 14:05": "14:05:00", " 14:05:06.5": "14:05:06.500000", " 14:05:06,25": "14:05:06.250000",
    " 14:05:06.123456": "14:05:06.123456", " 14:05:06.123456789": "14:05:06.123456", " 2:05 PM": "14:05:00",
    " 2:05:06 pm": "14:05:06", " 12:00 AM": "00:00:00", " 12:00 PM": "12:00:00", " 11:59 p.m.": "23:59:00",
    " 14:05Z": "14:05:00", " 14:05 UTC": "14:05:00", " 14:05 GMT": "14:05:00", " 14:05+00:00": "14:05:00",
    " 16:05+02": "14:05:00", " 16:05:06+0200": "14:05:06", " 12:05 -02:00": "14:05:00",
}  # fmt: skip
DATES = {
    "year": ("2026-03-04", "2026/03/04", "2026.03.04", "2026-3-4", "2026/3/4"),
    "day": (
        "04.03.2026",
        "4.3.2026",
        "04/03/2026",
        "4/3/2026",
        "04-03-2026",
        "04.03.26",
        "2026-03-04",
        "2026/3/4",
    ),
    "month": ("03/04/2026", "3/4/2026", "03-04-2026", "03.04.2026", "3/4/26", "2026-03-04", "2026/3/4"),
}
CASES = [
    (order, date + clock, f"2026-03-04T{time}")
    for order, dates in DATES.items()
    for date in dates
    for clock, time in CLOCKS.items()
]
BAD = (
    "", "x", "31.02.2026", "32.01.2026", "00.01.2026", "1.13.2026", "04.03.2026 24:00", "04.03.2026 25:00",
    "04.03.2026 12:60", "04.03.2026 13:05 PM", "04.03.2026 0:05 AM", "04.03/2026", "4.3.226", "04.03.2026 12",
    "04.03.2026  x", "04.03.2026 12:00 CET", "2026-13-01", "2026-02-29", "12:30", "04032026x",
    "2026-03-04 1:2",
    "04.03.2026 12:00:00.", "٠٤.٠٣.٢٠٢٦", "2026-03", "March 4, 2026", "04.03.2026" + " " * 60 + "12:00",
)  # fmt: skip


def read(text, order="day", unit="s", zone=UTC):
    time, is_naive = parse(text, order, unit, zone)
    return from_unix_microseconds(time), is_naive


@pytest.mark.parametrize(("order", "text", "expected"), CASES)
def test_dates_of_each_order_with_each_clock(order, text, expected):
    assert read(text, order)[0] == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_stamp(text):
    with pytest.raises(BadStamp):
        read(text)


def test_year_first_takes_no_other_order():
    with pytest.raises(BadStamp, match="Year first"):
        read("04.03.2026", "year")


@pytest.mark.parametrize(
    ("text", "zone", "expected", "is_naive"),
    [
        ("01.07.2026 12:00", BERLIN, "2026-07-01T10:00", True),
        ("01.01.2026 12:00", BERLIN, "2026-01-01T11:00", True),
        ("01.07.2026 12:00", NEW_YORK, "2026-07-01T16:00", True),
        ("01.07.2026 12:00Z", BERLIN, "2026-07-01T12:00", False),
        ("01.07.2026 12:00+05:30", BERLIN, "2026-07-01T06:30", False),
        # The hour that happens twice: the first time, as everywhere in the portal.
        ("25.10.2026 02:30", BERLIN, "2026-10-25T00:30", True),
    ],
)
def test_zones(text, zone, expected, is_naive):
    assert read(text, zone=zone) == (datetime.fromisoformat(expected).replace(tzinfo=UTC), is_naive)


@pytest.mark.parametrize(
    ("text", "year"), [("01.01.00", 2000), ("01.01.68", 2068), ("01.01.69", 1969), ("1.1.99", 1999)]
)
def test_years_of_two_digits(text, year):
    assert read(text)[0].year == year


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("0", "s", "1970-01-01T00:00"),
        ("1772628300", "s", "2026-03-04T12:45"),
        ("1772628300.5", "s", "2026-03-04T12:45:00.500000"),
        ("1772628300,25", "s", "2026-03-04T12:45:00.250000"),
        ("-1", "s", "1969-12-31T23:59:59"),
        ("1772628300123", "ms", "2026-03-04T12:45:00.123000"),
        ("1772628300123456", "us", "2026-03-04T12:45:00.123456"),
        ("1772628300123456789", "ns", "2026-03-04T12:45:00.123457"),
        ("46085.5", "excel", "2026-03-04T12:00"),
        ("46085", "excel", "2026-03-04T00:00"),
        ("46085,53125", "excel", "2026-03-04T12:45"),
        ("20260304T124500", "s", "2026-03-04T12:45"),
        ("20260304T124500Z", "s", "2026-03-04T12:45"),
    ],
)
def test_numbers_and_compact_stamps(text, unit, expected):
    assert read(text, unit=unit)[0] == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(("text", "unit"), [("9" * 25, "s"), ("9" * 25, "excel"), ("-" + "9" * 20, "ms")])
def test_numbers_beyond_the_calendar(text, unit):
    with pytest.raises(BadStamp, match="year"):
        read(text, unit=unit)


FORMATS = {
    "year": ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"),
    "day": ("%d.%m.%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d-%m-%YT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S"),
    "month": ("%m/%d/%Y %H:%M:%S", "%m-%d-%Y %H:%M", "%m/%d/%Y %H:%M:%S.%f"),
}
TIMES = st.datetimes(datetime(1972, 1, 2), datetime(2099, 12, 31))


@given(
    st.sampled_from([(order, form) for order, forms in FORMATS.items() for form in forms]),
    st.lists(TIMES, min_size=1, max_size=20),
    st.sampled_from([UTC, BERLIN, NEW_YORK, ZoneInfo("Asia/Kathmandu"), ZoneInfo("Australia/Lord_Howe")]),
)
def test_a_column_read_at_once_has_the_same_times(form, times, zone):
    order, pattern = form
    texts = [f"{time:{pattern}}" for time in times]
    usual = parse_usual(texts, order, zone)
    assert usual is not None
    assert usual[0].tolist() == [parse(text, order, "s", zone)[0] for text in texts]
    assert usual[1] is True


@given(
    st.lists(
        st.one_of(
            st.sampled_from([text for _, text, _ in CASES[::7]]), st.sampled_from(BAD), st.text(max_size=20)
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(list(FORMATS)),
)
def test_what_a_column_gives_at_once_a_cell_gives_as_well(texts, order):
    usual = parse_usual(texts, order, BERLIN)
    if usual is not None:
        assert usual[0].tolist() == [parse(text, order, "s", BERLIN)[0] for text in texts]


@given(st.text(max_size=30), st.sampled_from(list(FORMATS)), st.sampled_from(list(stamps.UNITS)))
def test_any_text_is_an_instant_or_refused(text, order, unit):
    try:
        time, _ = parse(text, order, unit, BERLIN)
    except BadStamp:
        assert parse_usual([text], order, BERLIN) is None
    else:
        assert from_unix_microseconds(time) - timedelta(0)


@pytest.mark.parametrize(
    ("texts", "order", "is_open"),
    [
        (["2026-03-04"], "year", False),
        (["31.12.2026 14:05"], "day", False),
        (["01.02.2026", "31.12.2026"], "day", False),
        (["12/31/2026"], "month", False),
        (["01/02/2026", "12/31/2026"], "month", False),
        (["31/12/2026"], "day", False),
        (["01.02.2026"], "day", False),
        (["01/02/2026"], "day", True),
        (["01/02/2026 2:05 PM"], "month", True),
        (["1772628300"], "year", False),
        ([], "year", False),
        (["x", "", "13/01/2026"], "day", False),
    ],
)
def test_the_order_is_guessed(texts, order, is_open):
    assert guess_order(texts) == (order, is_open)


@pytest.mark.parametrize(
    ("texts", "unit"),
    [
        (["1772628300"], "s"),
        (["0", "1", "2"], "s"),
        (["1772628300.5"], "s"),
        (["1772628300123"], "ms"),
        (["1772628300123456"], "us"),
        (["1772628300123456789"], "ns"),
        (["46085.5", "46086"], "excel"),
        (["2026-03-04"], "s"),
        ([], "s"),
    ],
)
def test_the_unit_is_guessed_by_size(texts, unit):
    assert guess_unit(texts) == unit


@pytest.mark.parametrize(
    "text", ["2026-03-04", "04.03.2026 12:00", "3/4/26", "20260304T1245", "2026-03-04T12:45:00Z"]
)
def test_stamps_are_known(text):
    assert is_stamp(text)


@pytest.mark.parametrize("text", ["", "12", "1.5", "12:45", "x", "1772628300"])
def test_numbers_and_text_are_none(text):
    assert not is_stamp(text)
