from datetime import datetime, timedelta, tzinfo

import pytest

from devices.notation.moments import duration_text, moment_text, relative_text, two_units_text
from tests.notation.cases import AGES, NOW, STAMPS, before_now


@pytest.mark.parametrize(("time", "zone", "text", "fraction", "offset"), STAMPS)
def test_moment_is_written_to_the_second(
    time: datetime, zone: tzinfo, text: str, fraction: str, offset: str
) -> None:
    shown = offset or "+00:00"
    assert moment_text(time, zone) == (text, shown)
    assert moment_text(time, zone, to_microsecond=True) == (text + fraction, shown)


@pytest.mark.parametrize(("seconds", "text"), AGES)
def test_relative_time_is_rounded_down(seconds: float, text: str) -> None:
    assert relative_text(before_now(seconds), NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (0.9, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "1 h"), (86_400, "1 d")],
)
def test_duration_has_one_unit(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (60, "1 min"), (3661, "1 h 1 min"), (86_399.7, "1 d")],
)
def test_duration_has_two_units(seconds: float, text: str) -> None:
    assert two_units_text(timedelta(seconds=seconds)) == text
