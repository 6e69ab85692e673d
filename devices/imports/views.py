"""Pages of imports, for staff: to everybody else they do not exist."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.core.exceptions import BadRequest
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from devices.imports import faulty_rows, preview, runs, uploaded_file
from devices.imports.forms import OptionsForm, UploadForm
from devices.imports.models import OVER, Job, Upload, UploadStatus
from devices.imports.options import EXCEL, Options
from devices.imports.tables import workbook
from devices.imports.tables.source_row import CannotRead
from devices.imports.tasks import work_on_uploads
from devices.notation.numbers import count_text
from users.permissions import signed_in

PAGE_SIZE = 50
SHOWN_FAULTS = 100
SHOWN_DEVICES = 20
MOST_FOLLOWED = 100
ACTIONS = ("stop", "continue", "undo", "discard")

View = Callable[..., HttpResponseBase]


def for_staff(view: View) -> View:
    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not request.user.is_staff:
            raise Http404
        return view(request, *args, **kwargs)

    return checked


# --- The list, and uploading


# `upload_page` checks the CSRF token: the check reads the large body, so the permission comes first.
@csrf_exempt
@require_http_methods(["GET", "POST"])
@for_staff
def import_list(request: HttpRequest) -> HttpResponseBase:
    """List imports; take an uploaded file."""
    request.upload_handlers = [TemporaryFileUploadHandler(request)]
    return upload_page(request)


@csrf_protect
def upload_page(request: HttpRequest) -> HttpResponse:
    form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm()
    if form.is_valid():
        file = form.cleaned_data["file"]
        upload = uploaded_file.keep(file.chunks(), name=file.name, by=signed_in(request))
        try:
            preview.guess_all(upload, request.user)
            return redirect("devices:import-detail", pk=upload.pk)
        except CannotRead as error:
            upload.delete()
            form.add_error("file", str(error))
    uploads = Upload.objects.visible_to(request.user).select_related("by", "device")
    page = Paginator(uploads, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {"form": form, "page": page, "most": settings.IMPORT_MEBIBYTES, "days": settings.IMPORT_DAYS}
    return render(request, "devices/import_list.html", context)


# --- One import


def found(request: HttpRequest, pk: UUID) -> Upload:
    uploads = Upload.objects.visible_to(request.user).select_related("by", "device__profile", "device__owner")
    return get_object_or_404(uploads, pk=pk)


@require_http_methods(["GET", "POST"])
@for_staff
def import_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show a draft's first rows, with a form to change how they are read; or an import and its report."""
    upload = found(request, pk)
    if is_draft(upload):
        return change_draft(request, upload) if request.method == "POST" else show_draft(request, upload)
    context = {
        "upload": upload,
        "faults": faulty_rows.first(upload, SHOWN_FAULTS),
        "state": state_of(upload),
    }
    return render(request, "devices/import_run.html", context)


def is_draft(upload: Upload) -> bool:
    """A file that could not be read is a draft again: its reading can be changed."""
    could_not_be_read = (
        upload.status == UploadStatus.FAILED and not upload.is_split and not upload.is_forgotten
    )
    return upload.status == UploadStatus.DRAFT or (could_not_be_read and upload.job == Job.IMPORT)


def options_form(upload: Upload, user: Any, data: Any = None) -> OptionsForm:
    options = Options.of(upload.options)
    is_book = options.kind == EXCEL
    sheets = workbook.sheet_names(uploaded_file.opened(upload)) if is_book else []
    headings, sample = preview.read_sample(upload, options)
    channels = preview.channel_names(upload, options, headings, sample, user)
    # A channel that a column was given stays on its menu.
    channels = list(dict.fromkeys([*channels, *options.channel_columns]))
    roles = preview.role_choices(channels)
    return OptionsForm(data, options=options, sheets=sheets, roles=roles)


def show_draft(request: HttpRequest, upload: Upload, form: OptionsForm | None = None) -> HttpResponse:
    text = request.GET.get("find", "")[:200]
    devices = list(preview.visible_devices(request.user).matching(text)[: SHOWN_DEVICES + 1]) if text else []
    context: dict[str, Any] = {
        "upload": upload,
        "find": text,
        "devices": devices,
        "is_more": len(devices) > SHOWN_DEVICES,
    }
    context["earlier"] = earlier(upload)
    try:
        context["form"] = form or options_form(upload, request.user)
        context["preview"] = preview.of(upload, request.user, timezone.now())
        context["zone"] = timezone.get_current_timezone()
        context["columns"] = list(zip(upload.headings, context["form"].role_fields, strict=False))
    except CannotRead as error:
        context["cannot_read"] = str(error)
    return render(request, "devices/import_preview.html", context)


def earlier(upload: Upload) -> Upload | None:
    """An import of the same file that was not undone."""
    same = Upload.objects.filter(digest=upload.digest, job=Job.IMPORT, stored__gt=0).exclude(pk=upload.pk)
    return same.order_by("-at").first()


def change_draft(request: HttpRequest, upload: Upload) -> HttpResponse:
    try:
        form = options_form(upload, request.user, request.POST)
        if not form.is_valid():
            return show_draft(request, upload, form)
        keep_choice(upload, form, request.user)
        if "start" in request.POST and start(upload, request.user):
            return redirect("devices:import-detail", pk=upload.pk)
    except CannotRead as error:
        form.add_error(None, str(error))
        return show_draft(request, upload, form)
    find = form.cleaned_data["search"] if "find" in request.POST else ""
    query = f"?{urlencode({'find': find})}" if find else ""
    return redirect(reverse("devices:import-detail", args=[upload.pk]) + query)


def keep_choice(upload: Upload, form: OptionsForm, user: Any) -> None:
    """Keep what the form says; a new layout or device is guessed anew. Raises CannotRead."""
    uuid, before = form.cleaned_data["device"], upload.device
    upload.device = preview.visible_devices(user).filter(uuid=uuid).first() if uuid else None
    upload.save(update_fields=("device",))
    if upload.device != before or not form.chosen.is_same_layout(form.options):
        preview.guess_cells(upload, form.chosen, user)
        return
    upload.options = form.chosen.as_json()
    upload.save(update_fields=("options",))


def start(upload: Upload, user: Any) -> bool:
    """Queue the import unless something is missing."""
    if preview.of(upload, user, timezone.now()).problems:
        return False
    after = (UploadStatus.DRAFT, UploadStatus.FAILED)
    return runs.enqueue(upload, Job.IMPORT, work_on_uploads, after=after)


@require_POST
@for_staff
def import_action(request: HttpRequest, pk: UUID, action: str) -> HttpResponse:
    """Stop a job, go on with it, undo an import, or discard a draft."""
    upload = found(request, pk)
    if action not in ACTIONS:
        raise Http404
    if action == "discard" and is_draft(upload):
        upload.delete()
        return redirect("devices:import")
    if action == "stop":
        runs.stop(upload)
    if action == "continue" and upload.may_go_on:
        runs.enqueue(upload, Job(upload.job), work_on_uploads, after=OVER)
    if action == "undo" and upload.may_be_undone:
        runs.enqueue(upload, Job.UNDO, work_on_uploads, after=OVER)
    return redirect("devices:import-detail", pk=pk)


# --- For the page that follows, and for spreadsheets


@require_GET
@for_staff
def import_states(request: HttpRequest) -> JsonResponse:
    """States, by id, of the imports named by the repeated parameter `id`."""
    try:
        ids = [UUID(text) for text in request.GET.getlist("id")[:MOST_FOLLOWED]]
    except ValueError as error:
        raise BadRequest from error
    uploads = Upload.objects.visible_to(request.user).filter(pk__in=ids)
    return JsonResponse({str(upload.pk): state_of(upload) for upload in uploads})


def state_of(upload: Upload) -> dict[str, Any]:
    """What changes while an import is open, as calculations/calculation_runs.js shows it."""
    if upload.job == Job.UNDO:
        note = f"Taken back: {count_text(upload.undone)} of {count_text(upload.stored)} readings."
    elif not upload.is_split:
        note = f"Reading the file: {count_text(upload.rows)} rows so far." if upload.rows else ""
    else:
        done = f"{count_text(upload.rows_done)} of {count_text(upload.rows)} rows."
        note = f"{done} Stored: {count_text(upload.stored)} readings."
    return {"status": upload.status, "label": upload.label, "progress": upload.progress, "note": note}


@require_GET
@for_staff
def import_faulty_rows(request: HttpRequest, pk: UUID) -> StreamingHttpResponse:
    """Send the rows that were not stored as CSV, with the reason in a last column."""
    upload = found(request, pk)
    name = f"faulty rows of {upload.name.rpartition('.')[0] or upload.name}.csv"
    answer = StreamingHttpResponse(faulty_rows.as_file(upload), content_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="{ascii_name(name)}"'
    return answer


def ascii_name(name: str) -> str:
    return "".join(char if char.isascii() and (char.isalnum() or char in " ._-") else "_" for char in name)
