"""The state of a device as a pure function."""

from datetime import UTC, datetime, timedelta

import pytest

from devices.rhythm.state import State, device_state, late_after_seconds, next_change

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE, DAY = 60.0, 86_400.0


def state(silence_seconds: float | None, interval: float, *, is_active: bool = True) -> State:
    newest = None if silence_seconds is None else NOW - timedelta(seconds=silence_seconds)
    return device_state(is_active=is_active, newest=newest, interval_seconds=interval, now=NOW)


@pytest.mark.parametrize(
    ("interval", "late_after"),
    # A half more, but at least ten seconds and at most an hour.
    [(1.0, 11.0), (20.0, 30.0), (MINUTE, 90.0), (5 * MINUTE, 450.0), (DAY, DAY + 3600)],
)
def test_grace_grows_with_the_interval(interval: float, late_after: float) -> None:
    assert late_after_seconds(interval) == late_after


@pytest.mark.parametrize(
    ("silence", "interval", "expected"),
    [
        (None, MINUTE, State.NEW),
        (0, MINUTE, State.ON_TIME),
        (90, MINUTE, State.ON_TIME),
        (90.001, MINUTE, State.LATE),
        (450, MINUTE, State.LATE),
        (450.001, MINUTE, State.SILENT),
        (25 * 3600, DAY, State.ON_TIME),
        (30 * 3600, DAY, State.LATE),
        (6 * DAY, DAY, State.SILENT),
        (5, 0.1, State.ON_TIME),
        (11, 0.1, State.LATE),
        (-3600, MINUTE, State.ON_TIME),  # a forecast
    ],
)
def test_state_follows_the_interval(silence: float | None, interval: float, expected: State) -> None:
    assert state(silence, interval) == expected


@pytest.mark.parametrize("silence", [None, 0, 1e6])
def test_inactive_device_is_disabled(silence: float | None) -> None:
    assert state(silence, MINUTE, is_active=False) == State.DISABLED


def test_next_change_is_when_the_state_changes() -> None:
    newest = NOW - timedelta(seconds=10)
    late = next_change(newest, MINUTE, NOW)
    assert late == NOW + timedelta(seconds=80)
    just_after = late + timedelta(milliseconds=1)
    assert device_state(is_active=True, newest=newest, interval_seconds=MINUTE, now=just_after) == State.LATE
    assert next_change(newest, MINUTE, just_after) == newest + timedelta(seconds=450)
    assert next_change(newest, MINUTE, NOW + timedelta(hours=1)) is None


def test_states_are_words() -> None:
    assert [each.label for each in State] == ["New", "On time", "Late", "Silent", "Disabled"]
    assert all(each.explanation.endswith(".") for each in State)
