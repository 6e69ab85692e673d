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
    """Authenticates a device by its key, as no user: only endpoints for posting readings accept it."""

    keyword = "Device"
    related = "device"
    credential = DeviceKey

    def principal(self, credential: DeviceKey) -> AnonymousUser:
        return AnonymousUser()


class PostsReadings(BasePermission):
    """Allows a device by its own key, and a user by a token with the scope `ingest`."""

    message = ScopeAllows.message

    def has_permission(self, request: Request, view: Any) -> bool:
        if isinstance(request.auth, DeviceKey | Grant):
            return True
        view.scope = Scope.INGEST
        return ScopeAllows().has_permission(request, view)
