from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
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
from devices.rhythm.habits import Habits, habits_of, state_of
from devices.storage.interface import StoredReading
from devices.timeline.periods import BadPeriod
from devices.timeline.time_ranges import LAST, local_text, parse_time_range
from users.limits import LimitReached
from users.permissions import signed_in

PAGE_SIZE = 50


def device_list(request: HttpRequest) -> HttpResponse:
    """List devices with search, their state and their last readings."""
    search = DeviceFilter(request.GET, Device.objects.visible_to(request.user).with_channels())
    page = Paginator(search.qs, PAGE_SIZE).get_page(request.GET.get("page"))
    latest = storage.current().latest([device.pk for device in page])
    habits = habits_of(page)
    now = timezone.now()
    context = {
        "rows": [device_row(device, latest.get(device.pk), habits, now) for device in page],
        "page": page,
        "form": search.form,
        "now": now,
    }
    return render(request, "devices/device_list.html", context)


def device_row(
    device: Device, reading: StoredReading | None, habits: Mapping[int, Habits], now: datetime
) -> dict[str, Any]:
    return {
        "device": device,
        "reading": reading,
        "values": channel_values(device, reading, habits[device.pk]),
        "state": state_of(device, reading, habits, now),
    }


class ChannelValue(NamedTuple):
    channel: Channel
    value: float | None
    decimals: int | None


def channel_values(device: Device, reading: StoredReading | None, habits: Habits) -> list[ChannelValue]:
    """Each channel with its value, None if there is no reading, and the decimals to show."""
    channels = device.channels
    values = reading.values if reading else [None] * len(channels)
    return [ChannelValue(*each) for each in zip(channels, values, habits.decimals, strict=True)]


@require_http_methods(["GET", "POST"])
def exclusion_list(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """List a device's exclusions; staff also exclude a period, or one reading given by `?reading=`."""
    device = get_object_or_404(Device.objects.visible_to(request.user).with_channels(), uuid=uuid)
    initial = {"reading": request.GET.get("reading", "")} | asked_bounds(request, device)
    form = ExclusionForm(request.POST or None, initial=initial, device=device)
    if request.method == "POST":
        require_staff(request)
        if form.is_valid():
            by, reason = signed_in(request).login, form.cleaned_data["reason"]
            try:
                exclusions.make(device, form.extent, reason=reason, by=by, now=timezone.now())
                return redirect("devices:exclusion-list", uuid=uuid)
            except LimitReached as error:
                form.add_error(None, str(error))
    page = Paginator(device.exclusions.all(), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {"device": device, "form": form, "page": page, "zone": device.zone}
    return render(request, "devices/exclusion_list.html", context)


def asked_bounds(request: HttpRequest, device: Device) -> dict[str, str]:
    """Bounds of the form: whole seconds around the time range in the address, if there is one."""
    try:
        found = parse_time_range(request.GET.dict(), device.zone, timezone.now())
    except BadPeriod:
        return {}
    start, end = (found.period.start, found.period.end) if found else (None, None)
    # LAST has no second after its own day.
    bounds = {"start": start, "end": end and min(end, LAST) + timedelta(seconds=1, microseconds=-1)}
    return {name: local_text(time, device.zone) for name, time in bounds.items() if time}


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
