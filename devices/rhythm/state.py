"""The state of a device by its rhythm: a pure function, without database or clock."""

from datetime import datetime, timedelta
from enum import StrEnum

# Allowed beyond the expected interval: a half of it, within these bounds.
GRACE_SHARE = 0.5
SHORTEST_GRACE_SECONDS, LONGEST_GRACE_SECONDS = 10.0, 3600.0
# A device is silent after so many times the time after which it is late.
SILENT_FACTOR = 5


class State(StrEnum):
    NEW = "new"
    ON_TIME = "on_time"
    LATE = "late"
    SILENT = "silent"
    DISABLED = "disabled"

    @property
    def label(self) -> str:
        return self.replace("_", " ").capitalize()

    @property
    def explanation(self) -> str:
        return EXPLANATIONS[self]


EXPLANATIONS = {
    State.NEW: "No reading has come yet.",
    State.ON_TIME: "The next reading is not due yet, or within its grace.",
    State.LATE: "The next reading is overdue.",
    State.SILENT: "Several readings in a row are missing.",
    State.DISABLED: "An inactive device may not post.",
}


def late_after_seconds(interval_seconds: float) -> float:
    """Seconds after a reading from which the device is late: the expected interval and a grace."""
    grace = min(max(GRACE_SHARE * interval_seconds, SHORTEST_GRACE_SECONDS), LONGEST_GRACE_SECONDS)
    return interval_seconds + grace


def device_state(
    *, is_active: bool, newest: datetime | None, interval_seconds: float, now: datetime
) -> State:
    """The state at `now` of a device whose newest reading and expected interval these are."""
    if not is_active:
        return State.DISABLED
    if newest is None:
        return State.NEW
    return state_after((now - newest).total_seconds(), interval_seconds)


def state_after(silence_seconds: float, interval_seconds: float) -> State:
    """The state of an active device that has been silent for so long."""
    late_after = late_after_seconds(interval_seconds)
    if silence_seconds <= late_after:
        return State.ON_TIME
    return State.LATE if silence_seconds <= SILENT_FACTOR * late_after else State.SILENT


def next_change(newest: datetime, interval_seconds: float, now: datetime) -> datetime | None:
    """When the state changes next if no reading comes; None if it will not."""
    late_after = late_after_seconds(interval_seconds)
    changes = [newest + timedelta(seconds=factor * late_after) for factor in (1, SILENT_FACTOR)]
    return next((change for change in changes if change > now), None)
