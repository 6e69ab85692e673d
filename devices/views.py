from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from devices import exclusions, storage
from devices.filters import DeviceFilter
from devices.forms import ExclusionForm
from devices.models import Channel, Device
from devices.serializers import is_online
from devices.storage.interface import StoredReading
from users.permissions import signed_in

PAGE_SIZE = 50


def device_list(request: HttpRequest) -> HttpResponse:
    """List devices with search, their state and their last readings."""
    search = DeviceFilter(request.GET, Device.objects.visible_to(request.user).with_channels())
    page = Paginator(search.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    latest = storage.current().latest([device.pk for device in page])
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
    """Pair each channel with its value, or with None if there is no reading."""
    channels = device.channels
    return list(zip(channels, reading.values if reading else [None] * len(channels), strict=True))


@require_http_methods(["GET", "POST"])
def exclusion_list(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """List a device's exclusions; staff also exclude a period, or one reading given by `?reading=`."""
    device = get_object_or_404(Device.objects.visible_to(request.user).with_channels(), uuid=uuid)
    form = ExclusionForm(
        request.POST or None, initial={"reading": request.GET.get("reading", "")}, device=device
    )
    if request.method == "POST":
        require_staff(request)
        if form.is_valid():
            by, reason = signed_in(request).login, form.cleaned_data["reason"]
            exclusions.make(device, form.extent, reason=reason, by=by, now=timezone.now())
            return redirect("devices:exclusion-list", uuid=uuid)
    page = Paginator(device.exclusions.all(), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {"device": device, "form": form, "page": page, "zone": device.zone}
    return render(request, "devices/exclusion_list.html", context)


@require_POST
def lift_exclusion(request: HttpRequest, uuid: UUID, pk: int) -> HttpResponse:
    """Lift an exclusion (staff only): its readings count again, and it stays in the list."""
    device = get_object_or_404(Device.objects.visible_to(request.user), uuid=uuid)
    require_staff(request)
    exclusion = get_object_or_404(device.exclusions, pk=pk)
    exclusions.lift(exclusion, by=signed_in(request).login, now=timezone.now())
    return redirect("devices:exclusion-list", uuid=uuid)


def require_staff(request: HttpRequest) -> None:
    if not request.user.is_staff:
        raise PermissionDenied
