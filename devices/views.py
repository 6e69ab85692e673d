from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from devices import store
from devices.filters import DeviceFilter
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
