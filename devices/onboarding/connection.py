"""What the Connect page says of a device: what came last, and why the last refused post was refused."""

from datetime import datetime, timedelta
from typing import NamedTuple

from devices.ingestion import refusals
from devices.ingestion.checks import TOO_FAR_AHEAD
from devices.ingestion.refusals import RefusedPost
from devices.models import Device
from devices.onboarding import trial
from devices.storage.interface import StoredReading

# Enough to find the device's own reading among test readings.
NEWEST = 10
# A reading just sent with an older stamp means a wrong clock, or one that is sent late on purpose.
FRESH = timedelta(minutes=5)
HINTS = {
    401: "The key is wrong, expired or revoked. Copy it again, or make a new one.",
    403: "The device is inactive, or the token lacks the scope to post readings.",
    404: "The key or token is valid, but belongs to another device or user: keys and ids go in pairs.",
    413: "Send smaller batches.",
    415: "Send JSON, with the header Content-Type: application/json.",
    429: "It posts too often. Wait as long as the header Retry-After of the answer says.",
}
CLOCK_HINT = (
    "The device’s clock or its time zone is wrong. Leave the timestamp out to store the time of arrival, or"
    " send it with its offset: one without is read in the device’s time zone, {zone}."
)


class Connection(NamedTuple):
    """`reading` is the newest one that the device itself sent, `refused` a post that was refused
    after its timestamp: when a reading arrived is not stored."""

    reading: StoredReading | None
    is_stale: bool
    has_trial: bool
    refused: RefusedPost | None
    hint: str


def connection_of(device: Device, now: datetime) -> Connection:
    newest = device.newest_readings(NEWEST)
    reading = trial.own_reading(device, newest)
    refused = refusals.last_refusal(device.pk)
    if refused is not None and reading is not None and refused.at <= reading.time:
        refused = None
    return Connection(
        reading,
        is_stale=reading is not None and reading.time < now - FRESH,
        has_trial=bool(newest) and newest[0] is not reading,
        refused=refused,
        hint=hint(refused, device) if refused else "",
    )


def hint(refused: RefusedPost, device: Device) -> str:
    """What to do about a refusal; empty if its reason says all."""
    if TOO_FAR_AHEAD in refused.reason:
        return CLOCK_HINT.format(zone=device.time_zone)
    return HINTS.get(refused.status, "")
