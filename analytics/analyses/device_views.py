"""The page of one device: channels, chart, latest readings, analyses and exclusions."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from analytics.analyses.forms import QuestionForm
from analytics.analyses.views import request_and_redirect
from devices.forms import ExclusionForm
from devices.models import Device, Exclusion
from devices.rhythm.habits import Habits, habits_of, state_of
from devices.rhythm.state import next_change
from devices.serializers import reading_body
from devices.storage.interface import StoredReading
from devices.timeline.periods import Period
from devices.views import channel_values

LATEST_READINGS = 20
LATEST_ANALYSES = 10
LATEST_EXCLUSIONS = 5
# Exclusions that touch the readings in the table: each reading may have several.
MOST_COVERING = 1000


@require_http_methods(["GET", "POST"])
def device(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The page; a POST requests an analysis."""
    device = visible_device(request, uuid)
    form = QuestionForm(request.POST or None, zone=device.zone, now=timezone.now())
    if request.method == "POST" and form.is_valid():
        response = request_and_redirect(request, form, device)
        if response is not None:
            return response
    parts = latest(device, timezone.now())
    context = parts | {
        "analyses": device.analyses.as_rows()[:LATEST_ANALYSES],
        "form": form,
        "exclusions": device.exclusions.all()[:LATEST_EXCLUSIONS],
        "exclude_form": ExclusionForm(device=device, auto_id="exclude_%s"),
        "chart": {
            "channels": [
                {"name": channel.name, "unit": channel.unit, "decimals": decimals}
                for channel, _, decimals in parts["values"]
            ],
            "zone": device.time_zone,
        },
    }
    return render(request, "analytics/device.html", context)


def device_latest(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The parts of the page that change with each reading; devices/latest_readings.js puts them in."""
    return render(
        request, "analytics/device_latest.html", latest(visible_device(request, uuid), timezone.now())
    )


def visible_device(request: HttpRequest, uuid: UUID) -> Device:
    return get_object_or_404(Device.objects.visible_to(request.user).with_channels(), uuid=uuid)


def latest(device: Device, now: datetime) -> dict[str, Any]:
    """Context of the parts that show the device's latest readings."""
    readings = device.newest_readings(LATEST_READINGS)
    newest = readings[0] if readings else None
    period = Period(readings[-1].time) if readings else Period()
    covering = list(device.exclusions.in_force().touching(period)[:MOST_COVERING])
    known = habits_of([device])
    habits = known[device.pk]
    return {
        "device": device,
        "now": now,
        "zone": device.zone,
        "latest": newest,
        "values": channel_values(device, newest, habits),
        "readings": [reading_row(device, reading, habits, covering) for reading in readings],
        "state": state_of(device, newest, known, now),
        "state_seconds": seconds_to_next_state(newest, habits, now),
        "interval_seconds": habits.interval_seconds,
    }


def seconds_to_next_state(newest: StoredReading | None, habits: Habits, now: datetime) -> float | None:
    """Seconds until the state changes if no further reading comes; None if it will not."""
    change = newest and next_change(newest.time, habits.interval_seconds, now)
    return (change - now).total_seconds() if change else None


def reading_row(
    device: Device, reading: StoredReading, habits: Habits, exclusions: list[Exclusion]
) -> dict[str, Any]:
    """A row of the table; `as_json` names the reading to the page that excludes it."""
    return {
        "reading": reading,
        "values": list(zip(reading.values, habits.decimals, strict=True)),
        "is_excluded": any(exclusion.covers(reading) for exclusion in exclusions),
        "as_json": json.dumps(reading_body(reading, device)),
    }
