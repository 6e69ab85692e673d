"""Who may post readings, and which device a request may see."""

from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.shortcuts import get_object_or_404
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from devices.access.grants import Grant
from devices.models import Device, DeviceKey
from users.authentication import CredentialAuthentication
from users.models import Scope
from users.permissions import ScopeAllows, needs


class DeviceKeyAuthentication(CredentialAuthentication):
    """Authenticates a device by its key, as no user: only endpoints for posting readings accept it."""

    keyword = "Device"
    related = "device"
    credential = DeviceKey

    def principal(self, credential: DeviceKey) -> AnonymousUser:
        return AnonymousUser()


class PostsReadings(BasePermission):
    """Allows a device by its own key, and a user by a token with the scope `ingest`."""

    message = needs(Scope.INGEST)

    def has_permission(self, request: Request, view: Any) -> bool:
        if isinstance(request.auth, DeviceKey | Grant):
            return True
        view.scope = Scope.INGEST
        return ScopeAllows().has_permission(request, view)


def visible_device(request: Request, uuid: UUID, *, lock: bool = False) -> Device:
    """Return a device that the user may see, else raise Http404.

    `lock` locks its row until the end of the transaction, so that nobody changes or erases it meanwhile.
    """
    devices = Device.objects.visible_to(request.user).with_channels()
    if lock:
        devices = devices.select_for_update(of=("self",))
    return get_object_or_404(devices, uuid=uuid)
