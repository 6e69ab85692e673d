from django.core.exceptions import PermissionDenied
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods

from devices import importer, store
from devices.filters import DeviceFilter
from devices.forms import ImportForm
from devices.importer import CannotImport
from devices.models import Device
from devices.serializers import is_online

PAGE_SIZE = 50


def device_list(request: HttpRequest) -> HttpResponse:
    """Devices with search, online or not, and the last reading of each."""
    search = DeviceFilter(request.GET, Device.objects.visible_to(request.user).with_channels())
    page = Paginator(search.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    latest = store.latest([device.pk for device in page])
    rows = [
        {"device": device, "reading": reading, "is_online": is_online(reading)}
        for device in page
        for reading in [latest.get(device.pk)]
    ]
    return render(request, "devices/device_list.html", {"rows": rows, "page": page, "form": search.form})


# The check is `import_page`'s: it reads the body, which is large, and not everybody's.
@csrf_exempt
@require_http_methods(["GET", "POST"])
def import_readings(request: HttpRequest) -> HttpResponse:
    """Staff upload a file of readings; the answer comes when it is stored."""
    if not request.user.is_staff:
        raise PermissionDenied
    request.upload_handlers = [TemporaryFileUploadHandler(request)]
    return import_page(request)


@csrf_protect
def import_page(request: HttpRequest) -> HttpResponse:
    form = ImportForm(request.POST, request.FILES) if request.method == "POST" else ImportForm()
    outcome = None
    if form.is_valid():
        options = {"dry_run": form.cleaned_data["dry_run"], "skip_bad": form.cleaned_data["partial"]}
        try:
            outcome = importer.run(form.job, timezone.now(), **options)
        except CannotImport as error:
            form.add_error("file", str(error))
    return render(request, "devices/import.html", {"form": form, "outcome": outcome})
