from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from devices import store
from devices.filters import DeviceFilter
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
