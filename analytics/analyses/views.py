"""The pages of analyses: the list, one analysis, its chart and its CSV file."""

import csv
from datetime import tzinfo
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from analytics import runs
from analytics.analyses.forms import FleetForm, QuestionForm
from analytics.analyses.presentation import (
    DeviceLabel,
    Result,
    bucket_chart,
    bucket_groups,
    bucket_lines,
    channels_beside,
    computed_period,
    device_labels,
    pooled_channels,
    result_facts,
    statistics_groups,
)
from analytics.analyses.question import BadQuestion
from analytics.analyses.request import TargetErased, request_analysis
from analytics.analyses.staleness import is_stale
from analytics.analyses.stored_result import MOST_WITHIN, shown_result
from analytics.models import Analysis
from devices.models import Device
from users.limits import LimitReached
from users.models import User
from users.permissions import signed_in

PAGE_SIZE = 50
BUCKETS_A_PAGE = 100


@require_http_methods(["GET", "POST"])
def analysis_list(request: HttpRequest) -> HttpResponse:
    """Analyses, newest first; a POST requests one of all devices of a user."""
    zone = timezone.get_current_timezone()
    form = FleetForm(request.POST or None, zone=zone, now=timezone.now(), asker=signed_in(request))
    if request.method == "POST" and form.is_valid():
        response = request_and_redirect(request, form, form.cleaned_data["user"])
        if response is not None:
            return response
    analyses = Analysis.objects.visible_to(request.user).as_rows()
    context = {
        "page": Paginator(analyses, PAGE_SIZE).get_page(request.GET.get("page")),
        "form": form,
        "can_ask": form.users.exists(),
        "zone": zone,
    }
    return render(request, "analytics/analysis_list.html", context)


@require_http_methods(["GET", "POST"])
def analysis(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One analysis; a POST requests the same again.

    Scripts fetch this page too, and put its parts into a page that is open (analyses/analysis_runs.js).
    """
    analysis = visible_analysis(request, pk)
    now = timezone.now()
    refusal = ""
    if request.method == "POST":
        try:
            repeated = request_analysis(
                analysis.target, analysis.question, asked_by=signed_in(request), now=now
            )
            return redirect(repeated_address(repeated, analysis))
        except (BadQuestion, LimitReached) as error:
            refusal = str(error)
        except TargetErased as error:
            raise Http404 from error
    result = shown_result(analysis)
    before = earlier_result(request, analysis)
    page = Paginator((result or {}).get("buckets", []), BUCKETS_A_PAGE).get_page(request.GET.get("page"))
    labels = labels_of(analysis) if result else {}
    context = {
        "analysis": analysis,
        "is_stale": is_stale(analysis, now),
        "refusal": refusal,
        "groups": statistics_groups(result, labels) if result else [],
        "facts": result_facts(result) if result else None,
        "devices_link": (result or {}).get("devices_link"),
        "page": page,
        "bucket_groups": bucket_groups(page, labels),
        "bucket_zone": ZoneInfo(analysis.time_zone) if analysis.time_zone else None,
        "percentiles": analysis.question.percentile_texts,
        "computed": computed_period(result) if result else None,
        "zone": display_zone(analysis),
        "channels": channels_beside(result, before, pooled_channels(labels)) if result and before else [],
    }
    return render(request, "analytics/analysis.html", context)


def labels_of(analysis: Analysis) -> dict[str, DeviceLabel]:
    """Labels of the devices that a result may have, and of enough others to know the channels."""
    return device_labels(analysis.devices.with_channels()[:MOST_WITHIN])


def repeated_address(repeated: Analysis, before: Analysis) -> str:
    """The page of an analysis that was requested again, which shows the earlier result beside the new one."""
    address = reverse("analytics:analysis", args=[repeated.pk])
    return address if repeated == before else f"{address}?before={before.pk}"


def earlier_result(request: HttpRequest, analysis: Analysis) -> Result | None:
    """The result of the analysis that `before` names, if it answers the same question."""
    try:
        pk = UUID(request.GET.get("before", ""))
    except ValueError:
        return None
    before = Analysis.objects.visible_to(request.user).with_target().filter(pk=pk).first()
    if before is None or (before.target, before.question) != (analysis.target, analysis.question):
        return None
    return shown_result(before)


def visible_analysis(request: HttpRequest, pk: UUID) -> Analysis:
    return get_object_or_404(Analysis.objects.visible_to(request.user).with_target(), pk=pk)


def display_zone(analysis: Analysis) -> tzinfo:
    """The device's zone; the viewer's for a fleet, whose devices may lie in several."""
    return analysis.device.zone if analysis.device else timezone.get_current_timezone()


def stale_analyses(request: HttpRequest) -> JsonResponse:
    """{stale: [id]}: which of the analyses named by the repeated parameter `id` are stale."""
    try:
        ids = [UUID(text) for text in request.GET.getlist("id")[:PAGE_SIZE]]
    except ValueError as error:
        raise BadRequest from error
    now = timezone.now()
    # Queries for each analysis: too slow to be part of a list's own page.
    analyses = Analysis.objects.visible_to(request.user).filter(pk__in=ids)
    return JsonResponse({"stale": [str(analysis.pk) for analysis in analyses if is_stale(analysis, now)]})


@require_POST
def cancel_analysis(request: HttpRequest, pk: UUID) -> HttpResponse:
    """An analysis that is over stays as it is, and its page says so."""
    analysis = visible_analysis(request, pk)
    runs.cancel(analysis)
    return redirect("analytics:analysis", pk=analysis.pk)


def analysis_chart(request: HttpRequest, pk: UUID) -> JsonResponse:
    """All buckets as columns of numbers, for analyses/bucket_chart.js."""
    analysis = visible_analysis(request, pk)
    channels = pooled_channels(labels_of(analysis))
    return JsonResponse(bucket_chart(result_with_buckets(analysis), channels))


def bucket_file(request: HttpRequest, pk: UUID) -> HttpResponse:
    """All buckets as a CSV file."""
    analysis = visible_analysis(request, pk)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="analysis-{analysis.pk}.csv"'
    lines = bucket_lines(result_with_buckets(analysis), analysis.question.percentile_texts)
    csv.writer(response).writerows(lines)
    return response


def result_with_buckets(analysis: Analysis) -> dict:
    result = shown_result(analysis)
    if result is None or "buckets" not in result:
        raise Http404
    return result


def request_and_redirect(
    request: HttpRequest, form: QuestionForm, target: Device | User
) -> HttpResponse | None:
    """Redirect to the analysis; None if the question is refused, with the reason in the form's errors."""
    try:
        analysis = request_analysis(target, form.question, asked_by=signed_in(request), now=timezone.now())
    except BadQuestion as error:
        form.add_error(error.field, str(error))
        return None
    except LimitReached as error:
        form.add_error(None, str(error))
        return None
    except TargetErased as error:
        raise Http404 from error
    return redirect("analytics:analysis", pk=analysis.pk)
