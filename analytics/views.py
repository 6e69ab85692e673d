import csv
import json
import math
from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from analytics import queue
from analytics.asking import ask_for_analysis, is_stale
from analytics.forms import FleetForm, QuestionForm
from analytics.models import Analysis
from analytics.questions import BadQuestion
from devices import storage
from devices.forms import ExclusionForm
from devices.models import Device, Exclusion
from devices.periods import Period
from devices.serializers import is_online, reading_body, stamp_text
from devices.storage import StoredReading
from devices.templatetags.figures import duration, exact
from devices.views import channel_values
from users.models import User

LATEST_READINGS = 20
LATEST_ANALYSES = 10
LATEST_EXCLUSIONS = 5
# That touch the readings in the table: each reading could have its own, and more than one.
MOST_COVERING = 1000
PAGE_SIZE = 50
BUCKETS_A_PAGE = 100
BUCKET_BOUNDS = ("start", "end", "seconds")
STATISTICS = ("count", "min", "max", "sum", "avg", "median")


@require_http_methods(["GET", "POST"])
def device(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """One device: channels, latest readings, a chart, its analyses; a POST asks for an analysis."""
    device = get_object_or_404(Device.objects.visible_to(request.user).with_channels(), uuid=uuid)
    now = timezone.now()
    form = QuestionForm(request.POST or None, zone=device.zone, now=now)
    if request.method == "POST" and form.is_valid():
        asked = ask_and_show(request, form, device)
        if asked is not None:
            return asked
    readings = storage.current().page([device.pk], Period(), limit=LATEST_READINGS)
    latest = readings[0] if readings else None
    shown = Period(readings[-1].time) if readings else Period()
    covering = list(device.exclusions.in_force().touching(shown)[:MOST_COVERING])
    context = {
        "device": device,
        "latest": latest,
        "values": channel_values(device, latest),
        "readings": [reading_row(device, reading, covering) for reading in readings],
        "is_online": is_online(latest),
        "analyses": device.analyses.as_rows()[:LATEST_ANALYSES],
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
        asked = ask_and_show(request, form, form.cleaned_data["user"])
        if asked is not None:
            return asked
    analyses = Analysis.objects.visible_to(request.user).as_rows()
    page = Paginator(analyses, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "form": form,
        "can_ask": form.fields["user"].queryset.exists(),
        "zone": zone,
    }
    return render(request, "analytics/analysis_list.html", context)


@require_http_methods(["GET", "POST"])
def analysis(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One analysis; a script waits for its result and tells when that is stale. A POST asks again."""
    analysis = get_object_or_404(Analysis.objects.visible_to(request.user).with_target(), pk=pk)
    now = timezone.now()
    refusal = ""
    if request.method == "POST":
        try:
            asked = ask_for_analysis(analysis.target, analysis.question, asked_by=request.user, now=now)
            return redirect("analytics:analysis", pk=asked.pk)
        except BadQuestion as error:
            refusal = str(error)
    result = analysis.result
    page = Paginator((result or {}).get("buckets", []), BUCKETS_A_PAGE).get_page(request.GET.get("page"))
    described = labels(analysis.devices.with_channels())
    context = {
        "analysis": analysis,
        "is_stale": is_stale(analysis, now),
        "refusal": refusal,
        "parts": parts(result, described) if result else [],
        "facts": facts(result) if result else None,
        "page": page,
        "buckets": bucket_parts(page, described),
        "bucket_zone": ZoneInfo(analysis.time_zone) if analysis.time_zone else None,
        "percentiles": list(analysis.question.fractions()),
        "used": bounds(result) if result else None,
        "labels": described,
        "zone": zone(analysis),
    }
    return render(request, "analytics/analysis.html", context)


def stale_analyses(request: HttpRequest) -> JsonResponse:
    """{stale: [id]}: those of the analyses named by `id`, again and again, whose results no longer hold."""
    try:
        ids = [UUID(text) for text in request.GET.getlist("id")[:PAGE_SIZE]]
    except ValueError as error:
        raise BadRequest from error
    now = timezone.now()
    # Each asks the database: too long for a list to wait for.
    found = Analysis.objects.visible_to(request.user).filter(pk__in=ids)
    return JsonResponse({"stale": [str(analysis.pk) for analysis in found if is_stale(analysis, now)]})


@require_POST
def cancel_analysis(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One that is over stays as it is, and its page says so."""
    analysis = get_object_or_404(Analysis.objects.visible_to(request.user), pk=pk)
    queue.cancel(analysis)
    return redirect("analytics:analysis", pk=analysis.pk)


def bucket_file(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The buckets of an analysis as CSV: a line for each bucket and channel."""
    analysis = get_object_or_404(Analysis.objects.visible_to(request.user).with_target(), pk=pk)
    result = analysis.result
    if result is None or "buckets" not in result:
        raise Http404
    percentiles = list(analysis.question.fractions())
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="analysis-{analysis.pk}.csv"'
    file = csv.writer(response)
    file.writerow([*BUCKET_BOUNDS, "channel", *STATISTICS, *(f"p{text}" for text in percentiles)])
    for bucket in result["buckets"]:
        for name, summary in channels_of(bucket).items():
            figures = [summary[statistic] for statistic in STATISTICS]
            figures += [summary["percentiles"][text] for text in percentiles]
            file.writerow([*(bucket[bound] for bound in BUCKET_BOUNDS), name, *figures])
    return response


def ask_and_show(request: HttpRequest, form: QuestionForm, target: Device | User) -> HttpResponse | None:
    """None: the form then says what is wrong with the question."""
    try:
        asked = ask_for_analysis(target, form.question, asked_by=request.user, now=timezone.now())
    except BadQuestion as error:
        form.add_error(error.field, str(error))
        return None
    return redirect("analytics:analysis", pk=asked.pk)


def zone(analysis: Analysis) -> tzinfo:
    """Where its stamps are shown: devices of a fleet may lie in several zones."""
    return analysis.device.zone if analysis.device else timezone.get_default_timezone()


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
    return {name: moment(result[name]) for name in ("start", "end")}


def moment(stamp: str | None) -> datetime | None:
    return stamp and datetime.fromisoformat(stamp)


def facts(result: dict) -> dict[str, Any]:
    """What a result says about itself."""
    found = {name: moment(result.get(name)) for name in ("first", "last")}
    return found | {
        "note": note(result),
        "rows_read": result.get("rows_read"),
        "segments_used": result.get("segments_used"),
    }


def parts(result: dict, labels: dict[str, dict]) -> list[dict[str, Any]]:
    """A result as parts of a table, {title, note, rows}: the aggregate first, then each device. A row is a
    channel.

    analysis.js does the same with a result that arrives while the page is open.
    """
    units = all_units(labels)
    if "devices" not in result:
        return [{"title": "", "rows": rows(channels_of(result), units)}]
    unknown: dict[str, Any] = {"units": {}}
    details = result.get("details", {})
    each = [(uuid, channels, labels.get(uuid, unknown)) for uuid, channels in result["devices"].items()]
    return [
        {"title": "All devices together", "rows": rows(result["aggregate"], units)},
        *(
            {
                "title": of.get("name", uuid),
                "note": note(details.get(uuid, {})),
                "rows": rows(channels, of["units"]),
            }
            for uuid, channels, of in each
        ),
    ]


def bucket_parts(buckets: Iterable[dict], labels: dict[str, dict]) -> list[dict[str, Any]]:
    """Likewise."""
    units = all_units(labels)
    return [
        {
            "start": moment(bucket["start"]),
            "note": f"{exact(math.floor(bucket['seconds'] / 360 + 0.5) / 10)} h",
            "rows": rows(channels_of(bucket), units),
        }
        for bucket in buckets
    ]


def all_units(labels: dict[str, dict]) -> dict[str, str]:
    return {name: unit for label in labels.values() for name, unit in label["units"].items()}


def channels_of(result: dict) -> dict[str, dict]:
    """Of what stands beside them nothing has a median."""
    return {name: part for name, part in result.items() if isinstance(part, dict) and "median" in part}


def rows(channels: dict[str, dict], units: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "channel": name,
            "unit": units.get(name, ""),
            **summary,
            "percentiles": list(summary.get("percentiles", {}).items()),
        }
        for name, summary in channels.items()
    ]


def note(details: dict[str, Any]) -> str:
    """Coverage and exclusions in words; figures.js writes the same."""
    words = []
    coverage = details.get("coverage") or {}
    if coverage.get("percent") is not None:
        # Rounded down: what lacks a reading is not covered by 100 %.
        words.append(f"{exact(math.floor(coverage['percent'] * 10) / 10)} % covered")
    if coverage.get("expected_seconds") is not None:
        words.append(f"one reading in {exact(coverage['expected_seconds'])} s expected")
    if coverage.get("gaps"):
        gaps, longest = coverage["gaps"], duration(timedelta(seconds=coverage["longest_gap"]["seconds"]))
        words.append(f"a gap of {longest}" if gaps == 1 else f"{gaps} gaps, the longest of {longest}")
    if details.get("excluded"):
        words.append(f"{details['excluded']} excluded")
    return ", ".join(words)
