"""Asking for an analysis: the same question about unchanged data gets the task that it already has."""

from datetime import datetime

from django.db import transaction
from django.shortcuts import get_object_or_404

from analytics import queue
from analytics.models import Analysis, Status
from analytics.tasks import run_analysis
from devices import store
from devices.models import Device
from devices.periods import Period
from users.models import User


@transaction.atomic
def ask_for_analysis(
    target: Device | User, period: Period, *, asked_by: User | None, now: datetime
) -> Analysis:
    """The analysis of a device, or of all devices of a user: a new one, queued, or one that still holds."""
    # Two who ask at the same moment get one task; foreign keys to the row are not held up.
    get_object_or_404(type(target).objects.select_for_update(no_key=True), pk=target.pk)
    of_target = {"device": target} if isinstance(target, Device) else {"user": target}
    devices = [target] if isinstance(target, Device) else list(target.devices.all())
    question = {**of_target, "start": period.start, "end": period.end}
    readings = store.count([device.pk for device in devices], Period(period.start, period.end or now))
    asked = Analysis.objects.with_target().filter(**question).first()
    if asked is not None and still_holds(asked, readings, {str(device.uuid) for device in devices}):
        return asked
    analysis = Analysis(**question, asked_by=asked_by, readings=readings)
    queue.ask(analysis, run_analysis)
    return analysis


def still_holds(analysis: Analysis, readings: int, devices: set[str]) -> bool:
    """Whether it is, or will be, about these devices with so many readings."""
    if analysis.status == Status.QUEUED:
        return True
    if analysis.status == Status.RUNNING:
        return analysis.readings == readings
    if analysis.result is None:
        return False
    # The devices too: a new one may have brought as many readings as an erased one took away.
    return analysis.readings == readings and set(analysis.result.get("devices", devices)) == devices
