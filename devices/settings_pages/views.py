"""Pages: the settings of a device, its keys, its deletion into the bin, and the bin."""

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from devices import statistics, storage
from devices.maintenance import BIN_KEPT
from devices.models import Device, DeviceQuerySet, Erasure
from devices.onboarding.forms import NewKeyForm
from devices.onboarding.views import visible_device
from devices.settings_pages.forms import DeletionForm, DeviceSettingsForm
from devices.timeline.periods import Period
from users.permissions import signed_in

PAGE_SIZE = 50
MOST_ERASURES = 50


@require_http_methods(["GET", "POST"])
def device_settings(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show and change the settings of a device; its keys stand below."""
    user = signed_in(request)
    form = DeviceSettingsForm(instance=visible_device(request, uuid), user=user)
    if request.method == "POST":
        with transaction.atomic():
            form = DeviceSettingsForm(
                request.POST, instance=locked(Device.objects.all(), request, uuid), user=user
            )
            if form.is_valid():
                form.save()
                messages.success(request, "The settings are saved.")
                return redirect("devices:settings", uuid=uuid)
    shown = visible_device(request, uuid)
    context = {"device": shown, "form": form, "keys": shown.keys.all(), "new_key": NewKeyForm()}
    return render(request, "devices/device_settings.html", context | {"now": timezone.now()})


@require_POST
def revoke_key(request: HttpRequest, uuid: UUID, prefix: str) -> HttpResponse:
    device = visible_device(request, uuid)
    get_object_or_404(device.keys, prefix=prefix).revoke(timezone.now())
    messages.success(request, f"The key {prefix} no longer works.")
    return redirect("devices:settings", uuid=uuid)


@require_http_methods(["GET", "POST"])
def delete_device(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Put a device into the bin, once its name is typed."""
    device = visible_device(request, uuid)
    form = DeletionForm(request.POST or None, device=device)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            locked(Device.objects.all(), request, uuid).put_into_bin(timezone.now())
        messages.success(request, f"“{device}” is in the bin, from which it can be brought back.")
        return redirect("devices:bin")
    last = storage.current().latest([device.pk]).get(device.pk)
    context = {
        "device": device,
        "form": form,
        "readings": storage.current().counts([device.pk], Period())[device.pk],
        "first": statistics.first_reading_time([device.pk]),
        "last": last and last.time,
        "days": BIN_KEPT.days,
    }
    return render(request, "devices/device_delete.html", context)


def bin_list(request: HttpRequest) -> HttpResponse:
    """Devices that can be brought back, and those whose readings are being deleted."""
    devices = in_bin().visible_to(request.user).select_related("owner")
    page = Paginator(devices.order_by("-binned_at", "-id"), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "rows": [(device, device.binned_at + BIN_KEPT) for device in page if device.binned_at],
        "erasures": Erasure.objects.visible_to(request.user).order_by("-asked_at")[:MOST_ERASURES],
        "now": timezone.now(),
        "days": BIN_KEPT.days,
    }
    return render(request, "devices/bin.html", context)


@require_POST
def bring_back(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Take a device out of the bin, with its readings and keys."""
    try:
        with transaction.atomic():
            device = locked(in_bin(), request, uuid)
            device.bring_back()
    except IntegrityError:
        messages.error(request, f"Another device has the external id of “{device}” by now.")
        return redirect("devices:bin")
    messages.success(request, f"“{device}” is back.")
    return redirect("devices:settings", uuid=uuid)


@require_POST
def erase_device(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Erase a device that is in the bin at once; its readings go in the background."""
    with transaction.atomic():
        device = locked(in_bin(), request, uuid)
        device.erase()
    messages.success(request, f"“{device}” is erased. Its readings are being deleted.")
    return redirect("devices:bin")


def in_bin() -> DeviceQuerySet:
    return Device.everything.exclude(binned_at=None)


def locked(devices: DeviceQuerySet, request: HttpRequest, uuid: UUID) -> Device:
    """Find a device and keep others from changing it until the transaction ends.

    A request that waited for another sees what came of it. Raises Http404.
    """
    return get_object_or_404(devices.visible_to(request.user).select_for_update(of=("self",)), uuid=uuid)
