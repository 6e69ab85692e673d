"""The pages of calculations."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.core.paginator import Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST
from rest_framework.exceptions import ValidationError

from analytics import runs, turns
from analytics.calculations import compare, stored_rows, thinning
from analytics.calculations.columns import columns_of, decimals_of_columns
from analytics.calculations.forms import CalculationForm
from analytics.calculations.listing import CalculationFilter
from analytics.calculations.presentation import (
    NumberCell,
    compared_inputs,
    difference_cells,
    row_cells,
    shown_inputs,
    time_note,
)
from analytics.calculations.request import KernelGone, queue_calculation, repeated_calculation
from analytics.calculations.serializers import DEFAULT_KERNEL
from analytics.kernels import KERNELS
from analytics.models import Calculation, Status
from users.limits import LimitReached

PAGE_SIZE = 20
ROWS_A_PAGE = 50
MOST_FOLLOWED = 100
MOST_COMPARABLE = 50


def calculation_list(request: HttpRequest) -> HttpResponse:
    """Calculations, newest first; a script follows the open ones."""
    visible = Calculation.objects.visible_to(request.user).newest().select_related("asked_by")
    search = CalculationFilter(request.GET, visible)
    page = Paginator(search.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    states = run_states(list(page))
    context = {
        "page": page,
        "rows": [(run, states[run.pk]) for run in page],
        "form": search.form,
        "kernels": KERNELS.values(),
    }
    return render(request, "analytics/calculation_list.html", context)


def calculation_states(request: HttpRequest) -> JsonResponse:
    """States, by id, of the calculations named by the repeated parameter `id`."""
    try:
        ids = [UUID(text) for text in request.GET.getlist("id")[:MOST_FOLLOWED]]
    except ValueError as error:
        raise BadRequest from error
    listed = list(Calculation.objects.visible_to(request.user).filter(pk__in=ids))
    return JsonResponse({str(pk): state for pk, state in run_states(listed).items()})


def run_states(listed: list[Calculation]) -> dict[UUID, dict[str, Any]]:
    """{status, label, progress, note} by id: what changes while a calculation is open."""
    now = timezone.now()
    is_any_queued = any(run.status == Status.QUEUED for run in listed)
    positions = turns.positions(Calculation) if is_any_queued else {}
    return {
        run.pk: {
            "status": run.status,
            "label": run.get_status_display(),
            "progress": run.progress,
            "note": time_note(run, positions.get(run.pk), now),
        }
        for run in listed
    }


@require_http_methods(["GET", "POST"])
def new_calculation(request: HttpRequest) -> HttpResponse:
    """The form of a kernel, filled with the inputs of the calculation `like` if given; a POST queues one."""
    like = visible_calculation(request, request.GET["like"]) if request.GET.get("like") else None
    kernel = KERNELS.get(request.GET.get("kernel") or (like.kernel if like else DEFAULT_KERNEL))
    if kernel is None:
        raise Http404
    initial = {"name": like.name, "seed": like.seed, **like.parameters} if like else {}
    form = CalculationForm(request.POST or None, kernel=kernel, asker=request.user, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            return redirect("analytics:calculation", pk=queue_calculation(form.calculation).pk)
        except LimitReached as error:
            form.add_error(None, str(error))
    context = {"form": form, "kernel": kernel, "kernels": KERNELS.values(), "like": like}
    return render(request, "analytics/calculation_new.html", context)


def visible_calculation(request: HttpRequest, text: str | UUID) -> Calculation:
    """The calculation with this id; raises Http404 also for a text that is no id."""
    try:
        pk = text if isinstance(text, UUID) else UUID(text)
    except ValueError as error:
        raise Http404 from error
    visible = Calculation.objects.visible_to(request.user).select_related("asked_by", "rerun_of")
    return get_object_or_404(visible, pk=pk)


def calculation(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One calculation: inputs, chart, a page of its rows; while it is open a script follows it."""
    run = visible_calculation(request, pk)
    kernel = KERNELS.get(run.kernel)
    has_rows = run.status == Status.FINISHED
    page = Paginator(range(run.row_count), ROWS_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "run": run,
        "state": run_states([run])[run.pk],
        "kernel": kernel,
        "inputs": shown_inputs(run, request.user),
        "columns": columns_of(run) if has_rows else (),
        "page": page,
        "rows": rows_of_page(run, page) if has_rows else [],
        "has_rows": has_rows,
        "others": comparable_calculations(request, run) if has_rows else [],
    }
    return render(request, "analytics/calculation.html", context)


def rows_of_page(run: Calculation, page: Page) -> list[tuple[Any, list[NumberCell]]]:
    if not run.row_count:
        return []
    rows = stored_rows.row_slice(run, page.start_index() - 1, page.end_index())
    decimals = decimals_of_columns(run)
    return [row_cells(row, decimals) for row in rows]


def comparable_calculations(request: HttpRequest, run: Calculation) -> list[Calculation]:
    same = Calculation.objects.visible_to(request.user).filter(kernel=run.kernel, status=Status.FINISHED)
    return list(same.exclude(pk=run.pk).newest()[:MOST_COMPARABLE])


def calculation_chart(request: HttpRequest, pk: UUID) -> JsonResponse:
    """The thinned columns of a finished calculation, for calculations/result_chart.js."""
    run = visible_calculation(request, pk)
    if run.status != Status.FINISHED:
        raise Http404
    return JsonResponse(thinning.result_chart(run))


@require_POST
def cancel_calculation(request: HttpRequest, pk: UUID) -> HttpResponse:
    run = visible_calculation(request, pk)
    if not runs.cancel(run):
        messages.info(request, "It was over already.")
    return redirect("analytics:calculation", pk=run.pk)


@require_POST
def rerun_calculation(request: HttpRequest, pk: UUID) -> HttpResponse:
    run = visible_calculation(request, pk)
    try:
        copy = queue_calculation(repeated_calculation(run, request.user))
        return redirect("analytics:calculation", pk=copy.pk)
    except ValidationError as error:
        reason = error_text(error)
    except (KernelGone, LimitReached) as error:
        reason = str(error)
    messages.error(request, f"It can’t be run again: {reason}")
    return redirect("analytics:calculation", pk=run.pk)


def error_text(error: ValidationError) -> str:
    if not isinstance(error.detail, dict):
        return str(error.detail)
    return " ".join(f"{name}: {' '.join(map(str, texts))}" for name, texts in error.detail.items())


def compare_calculations(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Two calculations of one kernel, the other named by `with`: differences, and both in one chart.

    If they can't be compared, the first one's page says why.
    """
    first, second = (
        visible_calculation(request, pk),
        visible_calculation(request, request.GET.get("with", "")),
    )
    obstacle = not_comparable(first, second)
    if obstacle:
        messages.error(request, f"They can’t be compared: {obstacle}")
        return redirect("analytics:calculation", pk=first.pk)
    number = int(text) if (text := request.GET.get("page", "1")).isdecimal() and len(text) < 7 else 1
    start = max(0, number - 1) * ROWS_A_PAGE
    comparison = compare.compare_calculations(first, second, start, start + ROWS_A_PAGE)
    kernel = KERNELS[first.kernel]
    columns = compare.common_columns(first, second)
    decimals = decimals_of_columns(first if first.row_count else second)
    context = {
        "first": first,
        "second": second,
        "columns": columns,
        "comparison": comparison,
        "inputs": compared_inputs(comparison.inputs, kernel, request.user),
        "page": Paginator(range(comparison.differences), ROWS_A_PAGE).get_page(number),
        "pairs": [difference_cells(pair, columns, decimals) for pair in comparison.shown],
        "largest": [(name, value, decimals.get(name)) for name, value in comparison.largest.items()],
    }
    return render(request, "analytics/calculation_compare.html", context)


def not_comparable(first: Calculation, second: Calculation) -> str:
    """The reason in words; empty if they can be compared."""
    for run in (first, second):
        if run.status != Status.FINISHED:
            return f"{run} is {run.status} and has no rows."
        if run.kernel not in KERNELS:
            return f"there is no kernel {run.kernel} any more."
    if first.kernel != second.kernel:
        return f"{first} uses the kernel {first.kernel}, {second} uses {second.kernel}."
    names, others = ([column.name for column in columns_of(run)] for run in (first, second))
    if first.row_count and second.row_count and names != others:
        return f"{first} has the columns {', '.join(names)}, {second} has {', '.join(others)}."
    return ""
