import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from devices.templatetags import figures

# A number, its text, the muted end of the text, and the digits before the decimal point.
NUMBERS = [
    (0.0, "0", "", 1),
    (-0.0, "-0", "", 1),
    (1.0, "1", "", 1),
    (-12.5, "-12.5", "", 2),
    (19.03485671234568, "19.03485671234568", "5671234568", 2),
    (1234567.891, "1234567.891", "891", 7),
    (0.000123456789, "0.000123456789", "789", 1),
    (0.1 + 0.2, "0.30000000000000004", "00000000004", 1),
    (9999999999999998.0, "9999999999999998", "", 16),
    (1e16, "1e+16", "", 1),
    (1.5e-7, "1.5e-7", "", 1),
    (-1.7976931348623157e308, "-1.7976931348623157e+308", "", 1),
    (5e-324, "5e-324", "", 1),
    (41200, "41200", "", 5),
]
BERLIN, NEW_YORK, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), ZoneInfo("UTC")
STAMPS = [
    (datetime(2026, 11, 21, 9, 30, tzinfo=UTC), UTC_ZONE, "2026-11-21 09:30:00", ""),
    (datetime(2026, 11, 21, 9, 30, 0, 1, tzinfo=UTC), BERLIN, "2026-11-21 10:30:00.000001", "+01:00"),
    (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), BERLIN, "2026-10-25 02:30:00", "+02:00"),
    (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), BERLIN, "2026-10-25 02:30:00", "+01:00"),
    (datetime(2026, 3, 8, 7, 0, tzinfo=UTC), NEW_YORK, "2026-03-08 03:00:00", "-04:00"),
    (datetime(1, 1, 1, tzinfo=UTC), NEW_YORK, "0001-01-01 00:00:00", "+00:00"),
]


@pytest.mark.parametrize(("value", "text", "tail", "places"), NUMBERS)
def test_number_shows_every_digit(value: float, text: str, tail: str, places: int) -> None:
    assert float(text) == value
    assert math.copysign(1, float(text)) == math.copysign(1, value)
    assert figures.number(value) == (
        f'<data class="number" value="{text}" data-places="{places}">'
        f'{text.removesuffix(tail)}<span class="tail">{tail}</span></data>'
    )


def test_no_number_is_a_dash() -> None:
    assert figures.number(None) == "—"


@pytest.mark.parametrize(("time", "zone", "text", "offset"), STAMPS)
def test_stamp_names_its_offset(time: datetime, zone: ZoneInfo, text: str, offset: str) -> None:
    machine = time.isoformat().replace("+00:00", "Z")
    suffix = f' <span class="offset">{offset}</span>' if offset else ""
    assert figures.stamp(time, zone) == f'<time datetime="{machine}" title="{machine}">{text}{suffix}</time>'


def test_moment_drops_fractions_but_keeps_them_in_the_attribute() -> None:
    shown = figures.moment(datetime(2026, 11, 21, 9, 30, 5, 999_999, tzinfo=UTC), UTC_ZONE)
    assert ">2026-11-21 09:30:05<" in shown
    assert 'datetime="2026-11-21T09:30:05.999999Z"' in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0.9, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "1 h"), (86_400 * 400, "400 d")],
)
def test_age_is_rounded_down(seconds: float, text: str) -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    assert figures.age(now - timedelta(seconds=seconds), now) == text
