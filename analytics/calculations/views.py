"""Pages of calculations."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST
from rest_framework.exceptions import ValidationError

from analytics import runs
from analytics.calculations import compare, compute, stored_rows, thinning
from analytics.calculations.api import CalculationFilter
from analytics.calculations.forms import CalculationForm
from analytics.calculations.request import Conflict, queue_calculation, repeated_calculation
from analytics.calculations.serializers import DEFAULT_KERNEL
from analytics.kernels import KERNELS
from analytics.kernels.declaration import Kernel
from analytics.models import Calculation, Status
from analytics.runs import cancel
from devices.templatetags.figures import span

PAGE_SIZE = 20
ROWS_A_PAGE = 50
MOST_FOLLOWED = 100
# What one can compare with: the latest of the same kernel.
MOST_OTHERS = 50


def calculation_list(request: HttpRequest) -> HttpResponse:
    """Calculations, newest first; a script follows the open ones."""
    visible = Calculation.objects.visible_to(request.user).newest().select_related("asked_by")
    search = CalculationFilter(request.GET, visible)
    page = Paginator(search.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    of_page = states(page)
    context = {
        "page": page,
        "rows": [(run, of_page[run.pk]) for run in page],
        "form": search.form,
        "kernels": KERNELS.values(),
        "zone": timezone.get_default_timezone(),
    }
    return render(request, "analytics/calculation_list.html", context)


def calculation_states(request: HttpRequest) -> JsonResponse:
    """Of the calculations named by `id`, again and again, what may have changed."""
    try:
        ids = [UUID(text) for text in request.GET.getlist("id")[:MOST_FOLLOWED]]
    except ValueError as error:
        raise BadRequest from error
    found = Calculation.objects.visible_to(request.user).filter(pk__in=ids)
    return JsonResponse({str(pk): state for pk, state in states(found).items()})


def states(found: Any) -> dict[UUID, dict[str, Any]]:
    """By id {status, label, progress, note}: what a row of the list shows of one."""
    now = timezone.now()
    listed = list(found)
    waits = any(run.status == Status.QUEUED for run in listed)
    positions = runs.positions(Calculation) if waits else {}
    return {
        run.pk: {
            "status": run.status,
            "label": run.get_status_display(),
            "progress": run.progress,
            "note": note(run, positions.get(run.pk), now),
        }
        for run in listed
    }


def note(run: Calculation, position: int | None, now: Any) -> str:
    """How long it took, how long it will take, or how many are before it."""
    if run.status == Status.QUEUED:
        return "next" if position == 1 else f"number {position} in the queue"
    elapsed = compute.elapsed_seconds(run, now)
    if elapsed is None:
        return ""
    remaining = compute.remaining_seconds(run, now)
    ahead = "" if remaining is None else f", about {span(remaining)} to go"
    return f"{span(elapsed)}{ahead}"


@require_http_methods(["GET", "POST"])
def new_calculation(request: HttpRequest) -> HttpResponse:
    """The form of a kernel, with the inputs of the calculation `like` if there is one; a POST asks for it."""
    like = liked(request)
    kernel = KERNELS.get(request.GET.get("kernel") or (like.kernel if like else DEFAULT_KERNEL))
    if kernel is None:
        raise Http404
    initial = {"name": like.name, "seed": like.seed, **like.parameters} if like else {}
    form = CalculationForm(request.POST or None, kernel=kernel, asker=request.user, initial=initial)
    if request.method == "POST" and form.is_valid():
        return redirect("analytics:calculation", pk=queue_calculation(form.calculation).pk)
    context = {"form": form, "kernel": kernel, "kernels": KERNELS.values(), "like": like}
    return render(request, "analytics/calculation_new.html", context)


def liked(request: HttpRequest) -> Calculation | None:
    text = request.GET.get("like")
    return found(request, text) if text else None


def found(request: HttpRequest, text: str | UUID) -> Calculation:
    """One that the asker may see; an id that is none is not found either."""
    try:
        pk = text if isinstance(text, UUID) else UUID(text)
    except ValueError as error:
        raise Http404 from error
    visible = Calculation.objects.visible_to(request.user).select_related("asked_by", "rerun_of")
    return get_object_or_404(visible, pk=pk)


def calculation(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One calculation: inputs, chart, a page of its rows; while it is open a script follows it."""
    run = found(request, pk)
    kernel = KERNELS.get(run.kernel)
    has_rows = run.status == Status.FINISHED and kernel is not None
    page = Paginator(range(run.row_count), ROWS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "run": run,
        "state": states([run])[run.pk],
        "kernel": kernel,
        "inputs": inputs(run, request.user),
        "columns": kernel.columns_of(run.parameters) if kernel else (),
        "page": page,
        "rows": rows_of_page(run, page) if has_rows else [],
        "has_rows": has_rows,
        "others": others(request, run) if has_rows else [],
        "zone": timezone.get_default_timezone(),
    }
    return render(request, "analytics/calculation.html", context)


def rows_of_page(run: Calculation, page: Any) -> list[list[Any]]:
    if not run.row_count:
        return []
    return [
        list(row.values()) for row in stored_rows.row_slice(run, page.start_index() - 1, page.end_index())
    ]


def inputs(run: Calculation, asker: Any) -> list[tuple[str, Any, str]]:
    """Label, value and unit of each parameter, in the kernel's order; then those that it no longer has."""
    kernel = KERNELS.get(run.kernel)
    declared = kernel.parameters if kernel else ()
    stored = run.parameters
    known = [(p.label, p.shown(stored[p.name], asker), p.unit) for p in declared if p.name in stored]
    names = {parameter.name for parameter in declared}
    return known + [(name, value, "") for name, value in stored.items() if name not in names]


def others(request: HttpRequest, run: Calculation) -> list[Calculation]:
    same = Calculation.objects.visible_to(request.user).filter(kernel=run.kernel, status=Status.FINISHED)
    return list(same.exclude(pk=run.pk).newest()[:MOST_OTHERS])


def calculation_chart(request: HttpRequest, pk: UUID) -> JsonResponse:
    """The thinned columns of one that is finished."""
    run = found(request, pk)
    if run.status != Status.FINISHED or run.kernel not in KERNELS:
        raise Http404
    return JsonResponse(thinning.of_calculation(run))


@require_POST
def cancel_calculation(request: HttpRequest, pk: UUID) -> HttpResponse:
    run = found(request, pk)
    if not cancel(run):
        messages.info(request, "It was over already.")
    return redirect("analytics:calculation", pk=run.pk)


@require_POST
def rerun_calculation(request: HttpRequest, pk: UUID) -> HttpResponse:
    run = found(request, pk)
    try:
        return redirect(
            "analytics:calculation", pk=queue_calculation(repeated_calculation(run, request.user)).pk
        )
    except (ValidationError, Conflict) as error:
        messages.error(request, f"It can't be run again: {reason(error)}")
        return redirect("analytics:calculation", pk=run.pk)


def reason(error: ValidationError | Conflict) -> str:
    if not isinstance(error.detail, dict):
        return str(error.detail)
    return " ".join(f"{name}: {' '.join(map(str, texts))}" for name, texts in error.detail.items())


def compare_calculations(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Two of one kernel, the other by `with`: what differs, and both lines in one chart.

    Of two that can't be compared the first one's page says why.
    """
    first, second = found(request, pk), found(request, request.GET.get("with", ""))
    obstacle = not_comparable(first, second)
    if obstacle:
        messages.error(request, f"They can't be compared: {obstacle}")
        return redirect("analytics:calculation", pk=first.pk)
    number = int(text) if (text := request.GET.get("page", "1")).isdecimal() and len(text) < 7 else 1
    start = max(0, number - 1) * ROWS_A_PAGE
    compared = compare.compare_calculations(first, second, start, start + ROWS_A_PAGE)
    context = {
        "first": first,
        "second": second,
        "columns": KERNELS[first.kernel].columns_of(first.parameters),
        "comparison": compared,
        "inputs": labelled(compared.inputs, KERNELS[first.kernel], request.user),
        "page": Paginator(range(compared.differences), ROWS_A_PAGE).get_page(number),
        "pairs": [cells(pair, KERNELS[first.kernel].columns) for pair in compared.shown],
        "zone": timezone.get_default_timezone(),
    }
    return render(request, "analytics/calculation_compare.html", context)


def not_comparable(first: Calculation, second: Calculation) -> str:
    """Why not; empty if they can be compared."""
    for run in (first, second):
        if run.status != Status.FINISHED:
            return f"{run} is {run.status} and has no rows."
        if run.kernel not in KERNELS:
            return f"the kernel {run.kernel} is no more."
    if first.kernel != second.kernel:
        return f"{first} is of the kernel {first.kernel}, {second} of {second.kernel}."
    return ""


def labelled(inputs: dict[str, tuple[Any, Any]], kernel: Kernel, asker: Any) -> list[tuple[str, Any, Any]]:
    """What went into both, as the kernel's form names it and in its order; then the rest."""
    declared = [parameter for parameter in kernel.parameters if parameter.name in inputs]
    known = [
        (
            f"{parameter.label}, {parameter.unit}" if parameter.unit else parameter.label,
            *(parameter.shown(value, asker) for value in inputs[parameter.name]),
        )
        for parameter in declared
    ]
    names = {parameter.name for parameter in declared}
    return known + [(name, *values) for name, values in inputs.items() if name not in names]


def cells(pair: compare.Pair, columns: Any) -> tuple[str, list[tuple[Any, Any, bool]]]:
    """The date or moment of a pair, and of each further column both values and whether they differ."""
    one, other = pair
    head, *rest = columns
    both = [((one or {}).get(column.name), (other or {}).get(column.name)) for column in rest]
    return (one or other)[head.name], [(mine, theirs, mine != theirs) for mine, theirs in both]
