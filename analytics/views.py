import json
from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from analytics.asking import ask_for_analysis
from analytics.forms import FleetForm, PeriodForm
from analytics.models import Analysis
from devices import store
from devices.forms import ExclusionForm
from devices.models import Device, Exclusion
from devices.periods import Period
from devices.serializers import is_online, reading_body, stamp_text
from devices.store import StoredReading
from devices.views import channel_values

LATEST_READINGS = 20
LATEST_ANALYSES = 10
LATEST_EXCLUSIONS = 5
# That touch the readings in the table: each reading could have its own, and more than one.
MOST_COVERING = 1000
PAGE_SIZE = 50
# Of an analysis as a row of a list: not the result, which may be large.
TARGET = ("device", "user", "asked_by")


@require_http_methods(["GET", "POST"])
def device(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """One device: channels, latest readings, a chart, its analyses; a POST asks for an analysis."""
    device = get_object_or_404(Device.objects.visible_to(request.user).with_channels(), uuid=uuid)
    now = timezone.now()
    form = PeriodForm(request.POST or None, zone=device.zone, now=now)
    if request.method == "POST" and form.is_valid():
        return ask_and_show(request, device, form.period)
    readings = store.page([device.pk], Period(), limit=LATEST_READINGS)
    latest = readings[0] if readings else None
    shown = Period(readings[-1].time) if readings else Period()
    covering = list(device.exclusions.in_force().touching(shown)[:MOST_COVERING])
    context = {
        "device": device,
        "latest": latest,
        "values": channel_values(device, latest),
        "readings": [reading_row(device, reading, covering) for reading in readings],
        "is_online": is_online(latest),
        "analyses": device.analyses.select_related(*TARGET)[:LATEST_ANALYSES],
        "form": form,
        "zone": device.zone,
        "exclusions": device.exclusions.all()[:LATEST_EXCLUSIONS],
        "exclude_form": ExclusionForm(device=device, auto_id="exclude_%s"),
        "feed": feed(device, covering),
        "labels": labels([device]),
    }
    return render(request, "analytics/device.html", context)


@require_http_methods(["GET", "POST"])
def analysis_list(request: HttpRequest) -> HttpResponse:
    """Analyses, newest first; a POST asks for one of all devices of a user."""
    zone = timezone.get_default_timezone()
    form = FleetForm(request.POST or None, zone=zone, now=timezone.now(), asker=request.user)
    if request.method == "POST" and form.is_valid():
        return ask_and_show(request, form.cleaned_data["user"], form.period)
    analyses = Analysis.objects.visible_to(request.user).select_related(*TARGET)
    page = Paginator(analyses, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "form": form,
        "can_ask": form.fields["user"].queryset.exists(),
        "zone": zone,
    }
    return render(request, "analytics/analysis_list.html", context)


def analysis(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One analysis; while it is open a script waits for its result."""
    analysis = get_object_or_404(Analysis.objects.visible_to(request.user).with_target(), pk=pk)
    result = analysis.result
    described = labels(measured_devices(analysis))
    context = {
        "analysis": analysis,
        "parts": parts(result, described) if result else [],
        "used": bounds(result) if result else None,
        "labels": described,
        "zone": zone(analysis),
    }
    return render(request, "analytics/analysis.html", context)


def ask_and_show(request: HttpRequest, target: object, period: Period) -> HttpResponse:
    asked = ask_for_analysis(target, period, asked_by=request.user, now=timezone.now())
    return redirect("analytics:analysis", pk=asked.pk)


def zone(analysis: Analysis) -> tzinfo:
    """Where its stamps are shown: devices of a fleet may lie in several zones."""
    return analysis.device.zone if analysis.device else timezone.get_default_timezone()


def measured_devices(analysis: Analysis) -> Iterable[Device]:
    return [analysis.device] if analysis.device else analysis.user.devices.with_channels()


def reading_row(device: Device, reading: StoredReading, exclusions: list[Exclusion]) -> dict[str, Any]:
    """A reading of a table; `as_json` names it to the page where it is excluded."""
    return {
        "reading": reading,
        "is_excluded": any(exclusion.covers(reading) for exclusion in exclusions),
        "as_json": json.dumps(reading_body(reading, device)),
    }


def feed(device: Device, exclusions: list[Exclusion]) -> dict[str, Any]:
    """What the page's scripts need to follow the device's readings, and to mark those that are excluded."""
    return {
        "exclusions": [
            {"start": stamp_text(each.start_time), "end": stamp_text(each.end_time), "values": each.values}
            for each in exclusions
        ],
        "channels": [{"name": channel.name, "unit": channel.unit} for channel in device.channels],
        "zone": device.time_zone,
        "online_seconds": settings.DEVICE_ONLINE_SECONDS,
    }


def labels(devices: Iterable[Device]) -> dict[str, dict[str, Any]]:
    """What a result does not say: by device id the device's name and its channels' units."""
    return {
        str(device.uuid): {
            "name": str(device),
            "units": {channel.name: channel.unit for channel in device.channels},
        }
        for device in devices
    }


def bounds(result: dict) -> dict[str, datetime | None]:
    """The bounds that the result was computed over."""
    return {name: result[name] and datetime.fromisoformat(result[name]) for name in ("start", "end")}


def parts(result: dict, labels: dict[str, dict]) -> list[dict[str, Any]]:
    """A result as parts of a table, {title, rows}: the aggregate first, then each device. A row is a channel.

    analysis.js does the same with a result that arrives while the page is open.
    """
    units = {name: unit for label in labels.values() for name, unit in label["units"].items()}
    if "devices" not in result:
        channels = {name: summary for name, summary in result.items() if isinstance(summary, dict)}
        return [{"title": "", "rows": rows(channels, units)}]
    unknown: dict[str, Any] = {"units": {}}
    each = [(uuid, channels, labels.get(uuid, unknown)) for uuid, channels in result["devices"].items()]
    return [
        {"title": "All devices together", "rows": rows(result["aggregate"], units)},
        *(
            {"title": of.get("name", uuid), "rows": rows(channels, of["units"])}
            for uuid, channels, of in each
        ),
    ]


def rows(channels: dict[str, dict], units: dict[str, str]) -> list[dict[str, Any]]:
    return [{"channel": name, "unit": units.get(name, ""), **summary} for name, summary in channels.items()]
