import csv
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from analytics import runs
from analytics.analyses.forms import FleetForm, QuestionForm
from analytics.analyses.presentation import (
    BUCKET_BOUNDS,
    MOST_COVERING,
    STATISTICS,
    bounds,
    bucket_parts,
    channels_of,
    facts,
    feed,
    labels,
    parts,
    reading_row,
    zone,
)
from analytics.analyses.question import BadQuestion
from analytics.analyses.request import ask_for_analysis, is_stale
from analytics.models import Analysis
from devices.forms import ExclusionForm
from devices.models import Device
from devices.serializers import is_online
from devices.timeline.periods import Period
from devices.views import channel_values
from users.models import User

LATEST_READINGS = 20
LATEST_ANALYSES = 10
LATEST_EXCLUSIONS = 5
PAGE_SIZE = 50
BUCKETS_A_PAGE = 100


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
    readings = device.newest_readings(LATEST_READINGS)
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
    runs.cancel(analysis)
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
