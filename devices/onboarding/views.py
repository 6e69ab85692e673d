"""Pages: add a device, connect it, add a profile. Only the answer to the POST that issues a key shows it.

No redirect, cookie, session or address carries a key: a page that is loaded again does not have it.
"""

from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from devices.ingestion.flusher import NotStored
from devices.models import Device, DeviceKey
from devices.onboarding import trial
from devices.onboarding.connection import connection_of
from devices.onboarding.forms import (
    ChannelRow,
    NewDeviceForm,
    NewKeyForm,
    NewProfileForm,
    rearrange,
    rows_of,
)
from devices.onboarding.snippets import NO_KEY, snippets
from devices.views import require_staff
from users.models import User
from users.permissions import signed_in

MOST_OWNERS = 10
FIRST_ROWS = 2


@require_http_methods(["GET", "POST"])
def add_device(request: HttpRequest) -> HttpResponse:
    """Add a device; the answer is its Connect page with its first key."""
    initial = {"profile": request.GET.get("profile")}
    form = NewDeviceForm(request.POST or None, user=signed_in(request), initial=initial)
    if request.method != "POST" or not form.is_valid():
        return render(request, "devices/device_new.html", {"form": form})
    with transaction.atomic():
        device, is_new = form.add()
        key = DeviceKey.issue(device=device)[1] if is_new else ""
    # The form was sent before: its device is there, and its key was shown then. A stranger's device is none.
    return connect_page(request, device, key) if is_new else redirect("devices:connect", uuid=device.uuid)


@require_http_methods(["GET", "POST"])
def connect(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show how a device posts, and what came of it; a POST issues a new key."""
    device = visible_device(request, uuid)
    form = NewKeyForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return connect_page(request, device, "", form)
    with transaction.atomic():
        locked = get_object_or_404(Device.objects.select_for_update(), pk=device.pk)
        _key, text = locked.rotate_key(overlap=form.overlap)
    return connect_page(request, device, text)


def connect_page(
    request: HttpRequest, device: Device, key: str, form: NewKeyForm | None = None
) -> HttpResponse:
    address = request.build_absolute_uri(reverse("devices:api-device-stats", args=[device.uuid]))
    context = connection_context(device) | {
        "key": key,
        "form": form or NewKeyForm(),
        "address": address,
        "snippets": snippets(device, address=address, key=key or NO_KEY),
    }
    return render(request, "devices/connect.html", context)


@require_GET
def connection(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The part of the Connect page that changes; onboarding/follow_connection.js puts it in."""
    return render(
        request, "devices/connect/_connection.html", connection_context(visible_device(request, uuid))
    )


def connection_context(device: Device) -> dict:
    found = connection_of(device, timezone.now())
    values = zip(device.channels, found.reading.values, strict=True) if found.reading else ()
    return {"device": device, "connection": found, "values": list(values)}


@require_POST
def send_trial(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Store a test reading, and show the Connect page."""
    device = visible_device(request, uuid)
    by, is_excluded = signed_in(request).login, "exclude" in request.POST
    try:
        trial.send(device, by=by, now=timezone.now(), is_excluded=is_excluded)
    except (trial.DeviceInactive, NotStored) as error:
        messages.error(request, str(error))
    else:
        kept = "statistics leave it out" if is_excluded else "statistics count it"
        messages.success(request, f"A test reading is stored; {kept}.")
    return redirect("devices:connect", uuid=uuid)


@require_GET
def owner_search(request: HttpRequest) -> HttpResponse:
    """The first active users that match `?search=` (staff only): owners for a new device."""
    require_staff(request)
    text = request.GET.get("search", "").replace("\0", "")
    users = User.objects.matching(text).filter(is_active=True).order_by("login")
    found = list(users.values("login", "name")[: MOST_OWNERS + 1])
    return JsonResponse({"owners": found[:MOST_OWNERS], "more": len(found) > MOST_OWNERS})


@require_http_methods(["GET", "POST"])
def add_profile(request: HttpRequest) -> HttpResponse:
    """Add a profile (staff only), and go on to add a device of it. Without script, buttons move its rows."""
    require_staff(request)
    rows = rows_of(request.POST) or [ChannelRow() for _ in range(FIRST_ROWS)]
    action = request.POST.get("action")
    if action:
        rows = rearrange(rows, action)
    is_sent = request.method == "POST" and not action
    form = NewProfileForm(request.POST if is_sent else None, initial=request.POST.dict(), rows=rows)
    if is_sent and form.is_valid():
        profile = form.save()
        if profile is not None:
            return redirect(f"{reverse('devices:device-new')}?profile={profile.name}")
    return render(request, "devices/profile_new.html", {"form": form, "empty_row": ChannelRow()})


def visible_device(request: HttpRequest, uuid: UUID) -> Device:
    return get_object_or_404(Device.objects.visible_to(request.user).with_channels(), uuid=uuid)
