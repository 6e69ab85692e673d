"""The pages of one device: chart, readings, statistics and runs. Each is a tab under the same head."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods
from rest_framework.exceptions import ValidationError

from analytics.analyses.forms import QuestionForm
from analytics.analyses.views import request_and_redirect
from analytics.device_pages.stretch import stretch
from analytics.device_pages.time_bar import COMPARISONS, ZONES, TimeBar, chosen_zone, read_time_bar
from analytics.models import Calculation
from devices.models import Device, Exclusion
from devices.readings_api import decode_cursor, encode_cursor
from devices.rhythm.habits import Habits, habits_of, state_of
from devices.rhythm.state import next_change
from devices.serializers import reading_body
from devices.storage.interface import Position, StoredReading
from devices.timeline.periods import Period
from devices.timeline.time_ranges import TimeRange, stamp_text
from devices.views import channel_values
from users.permissions import signed_in

LATEST_READINGS = 20
LATEST_ANALYSES = 10
READINGS_A_PAGE = 200
RUNS_A_PAGE = 50
# Exclusions that touch the readings in the table: each reading may have several.
MOST_COVERING = 1000


def device(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The chart of a time range or, without one, of the latest readings, with its statistics."""
    device = visible_device(request, uuid)
    bar = time_bar(request, device)
    context = latest(device, bar.now)
    context |= {"bar": bar, "zones": ZONES, "zone": bar.zone, "comparisons": COMPARISONS, "tab": "chart"}
    context["chart"] = chart(device, context["habits"], bar)
    return render(request, "analytics/device.html", context)


def device_stretch(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The time bar and the statistics of a time range; devices/device_chart.js puts them in."""
    device = visible_device(request, uuid)
    bar = time_bar(request, device)
    context = {"device": device, "bar": bar, "zones": ZONES, "comparisons": COMPARISONS, "zone": bar.zone}
    habits = habits_of([device])[device.pk]
    return render(request, "analytics/device_stretch.html", context | stretch(device, habits, bar))


def device_latest(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The parts of the page that change with each reading; devices/latest_readings.js puts them in."""
    device = visible_device(request, uuid)
    context = latest(device, timezone.now()) | {"zone": chosen_zone(request.GET.get("zone", ""), device)}
    return render(request, "analytics/device_latest.html", context)


def device_readings(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Readings of a time range, newest first; `after` says where a page begins."""
    device = visible_device(request, uuid)
    bar = time_bar(request, device)
    period = bar.range.period if bar.range else Period()
    readings = device.newest_readings(READINGS_A_PAGE + 1, period=period, after=position(request))
    shown = readings[:READINGS_A_PAGE]
    following = encode_cursor(shown[-1].position) if len(readings) > READINGS_A_PAGE else None
    context = head(device, bar.now)
    context |= {"bar": bar, "zones": ZONES, "zone": bar.zone, "tab": "readings", "following": following}
    context["readings"] = reading_rows(device, context["habits"], shown)
    return render(request, "analytics/device_readings.html", context)


def position(request: HttpRequest) -> Position | None:
    """Raises BadRequest."""
    text = request.GET.get("after")
    try:
        return decode_cursor(text) if text else None
    except ValidationError as error:
        raise BadRequest from error


@require_http_methods(["GET", "POST"])
def device_statistics(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The latest analyses of the device; a POST requests one."""
    device = visible_device(request, uuid)
    bar = time_bar(request, device)
    initial = {"start": bar.start_input, "end": bar.end_input}
    form = QuestionForm(request.POST or None, initial=initial, zone=device.zone, now=timezone.now())
    if request.method == "POST" and form.is_valid():
        response = request_and_redirect(request, form, device)
        if response is not None:
            return response
    context = {"analyses": device.analyses.as_rows()[:LATEST_ANALYSES], "form": form, "tab": "statistics"}
    return render(request, "analytics/device_statistics.html", head(device, bar.now) | context)


def device_runs(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """All analyses of the device, and the calculations that read it."""
    device = visible_device(request, uuid)
    page = Paginator(device.analyses.as_rows(), RUNS_A_PAGE).get_page(request.GET.get("page"))
    own = Calculation.objects.visible_to(request.user).filter(parameters__device=str(device.uuid))
    context = {"page": page, "calculations": own.newest()[:RUNS_A_PAGE], "tab": "runs"}
    return render(request, "analytics/device_runs.html", head(device, timezone.now()) | context)


def visible_device(request: HttpRequest, uuid: UUID) -> Device:
    return get_object_or_404(Device.objects.visible_to(request.user).with_channels(), uuid=uuid)


def time_bar(request: HttpRequest, device: Device) -> TimeBar:
    return read_time_bar(request.GET.dict(), device, signed_in(request), timezone.now())


def chart(device: Device, habits: Habits, bar: TimeBar) -> dict[str, Any]:
    """What devices/device_chart.js draws; `range` is None while it follows the latest readings."""
    return {
        "channels": [
            {"name": channel.name, "unit": channel.unit, "decimals": decimals}
            for channel, decimals in zip(device.channels, habits.decimals, strict=True)
        ],
        "zone": str(bar.zone),
        "range": shown_range(bar.range, bar.now) if bar.range else None,
    }


def shown_range(found: TimeRange, now: datetime) -> dict[str, str | None]:
    """`start` (None: the first reading) and `end` as stamps, and as the address has them."""
    start, end = found.period.start, found.period.end or now
    return {
        "start": stamp_text(start) if start else None,
        "end": stamp_text(end),
        "starts": found.start_text,
        "ends": found.end_text,
    }


def head(device: Device, now: datetime) -> dict[str, Any]:
    """Context of the head that all tabs have."""
    return state(device, next(iter(device.newest_readings(1)), None), now)


def state(device: Device, newest: StoredReading | None, now: datetime) -> dict[str, Any]:
    known = habits_of([device])
    habits = known[device.pk]
    return {
        "device": device,
        "now": now,
        "zone": device.zone,
        "latest": newest,
        "habits": habits,
        "state": state_of(device, newest, known, now),
        "state_seconds": seconds_to_next_state(newest, habits, now),
        "interval_seconds": habits.interval_seconds,
    }


def latest(device: Device, now: datetime) -> dict[str, Any]:
    """Context of the parts that show the device's latest readings."""
    readings = device.newest_readings(LATEST_READINGS)
    newest = readings[0] if readings else None
    context = state(device, newest, now)
    return context | {
        "values": channel_values(device, newest, context["habits"]),
        "readings": reading_rows(device, context["habits"], readings),
    }


def seconds_to_next_state(newest: StoredReading | None, habits: Habits, now: datetime) -> float | None:
    """Seconds until the state changes if no further reading comes; None if it will not."""
    change = newest and next_change(newest.time, habits.interval_seconds, now)
    return (change - now).total_seconds() if change else None


def reading_rows(device: Device, habits: Habits, readings: list[StoredReading]) -> list[dict[str, Any]]:
    """Rows of a table, newest first."""
    if not readings:
        return []
    covering = list(device.exclusions.in_force().touching(Period(readings[-1].time))[:MOST_COVERING])
    return [reading_row(device, reading, habits, covering) for reading in readings]


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
