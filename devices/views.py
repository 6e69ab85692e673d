from typing import Any

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
from devices.models import Channel, Device
from devices.serializers import is_online
from devices.store import StoredReading

PAGE_SIZE = 50


def device_list(request: HttpRequest) -> HttpResponse:
    """Devices with search, online or not, and the last reading of each."""
    search = DeviceFilter(request.GET, Device.objects.visible_to(request.user).with_channels())
    page = Paginator(search.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    latest = store.latest([device.pk for device in page])
    context = {
        "rows": [device_row(device, latest.get(device.pk)) for device in page],
        "page": page,
        "form": search.form,
        "now": timezone.now(),
        "zone": timezone.get_default_timezone(),
    }
    return render(request, "devices/device_list.html", context)


def device_row(device: Device, reading: StoredReading | None) -> dict[str, Any]:
    return {
        "device": device,
        "reading": reading,
        "values": channel_values(device, reading),
        "is_online": is_online(reading),
    }


def channel_values(device: Device, reading: StoredReading | None) -> list[tuple[Channel, float | None]]:
    """Each channel with its value in the reading; None where there is no reading."""
    channels = device.channels
    return list(zip(channels, reading.values if reading else [None] * len(channels), strict=True))


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
