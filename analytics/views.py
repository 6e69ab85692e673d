from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from analytics.asking import ask_for_analysis
from analytics.forms import FleetForm, PeriodForm
from analytics.models import Analysis
from devices import store
from devices.models import Device
from devices.periods import Period
from devices.serializers import is_online

LATEST = 20
PAGE_SIZE = 50


@require_http_methods(["GET", "POST"])
def device(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """One device: channels, latest readings, a chart, its analyses; a POST asks for an analysis."""
    device = get_object_or_404(Device.objects.visible_to(request.user).with_channels(), uuid=uuid)
    form = PeriodForm(request.POST or None, zone=device.zone)
    if request.method == "POST" and form.is_valid():
        return ask_and_show(request, device, form.period)
    readings = store.page([device.pk], Period(), limit=LATEST)
    context = {
        "device": device,
        "readings": readings,
        "is_online": is_online(readings[0] if readings else None),
        "form": form,
        "analyses": device.analyses.with_target()[:LATEST],
    }
    return render(request, "analytics/device.html", context)


@require_http_methods(["GET", "POST"])
def analysis_list(request: HttpRequest) -> HttpResponse:
    """Analyses, newest first; a POST asks for one of all devices of a user."""
    form = FleetForm(request.POST or None, zone=timezone.get_default_timezone(), asker=request.user)
    if request.method == "POST" and form.is_valid():
        return ask_and_show(request, form.cleaned_data["user"], form.period)
    analyses = Analysis.objects.visible_to(request.user).with_target()
    page = Paginator(analyses, PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "analytics/analysis_list.html", {"page": page, "form": form})


def analysis(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One analysis; while it is open a script waits for its result."""
    analysis = get_object_or_404(Analysis.objects.visible_to(request.user).with_target(), pk=pk)
    return render(
        request, "analytics/analysis.html", {"analysis": analysis, "tables": tables(analysis.result)}
    )


def ask_and_show(request: HttpRequest, target: object, period: Period) -> HttpResponse:
    asked = ask_for_analysis(target, period, asked_by=request.user, now=timezone.now())
    return redirect("analytics:analysis", pk=asked.pk)


def tables(result: dict | None) -> list[dict]:
    """A result as tables of {title, rows}, a row per channel: the aggregate first, then each device."""
    if result is None:
        return []
    if "aggregate" not in result:
        channels = {name: summary for name, summary in result.items() if isinstance(summary, dict)}
        return [{"title": "", "rows": rows(channels)}]
    devices = Device.objects.filter(uuid__in=result["devices"])
    names = {str(device.uuid): str(device) for device in devices}
    return [
        {"title": "All devices together", "rows": rows(result["aggregate"])},
        *(
            {"title": names.get(uuid, uuid), "rows": rows(channels)}
            for uuid, channels in result["devices"].items()
        ),
    ]


def rows(channels: dict[str, dict]) -> list[dict]:
    return [{"channel": name, **summary} for name, summary in channels.items()]
