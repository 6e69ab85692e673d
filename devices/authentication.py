from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from devices.access.grants import Grant
from devices.models import DeviceKey
from users.authentication import CredentialAuthentication
from users.models import Scope
from users.permissions import ScopeAllows


class DeviceKeyAuthentication(CredentialAuthentication):
    """A device is nobody: every route but those that take its readings sees no user."""

    keyword = "Device"
    related = "device"
    credential = DeviceKey

    def principal(self, credential: DeviceKey) -> AnonymousUser:
        return AnonymousUser()


class PostsReadings(BasePermission):
    """A device's own key, or a person whose token has the scope `ingest`."""

    message = ScopeAllows.message

    def has_permission(self, request: Request, view: Any) -> bool:
        if isinstance(request.auth, DeviceKey | Grant):
            return True
        view.scope = Scope.INGEST
        return ScopeAllows().has_permission(request, view)
